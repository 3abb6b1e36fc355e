// Ends what this program started, and removes its folder with what is mounted in it, when this program is gone, however it went: even by SIGKILL.
import { spawn } from 'node:child_process';
import { once } from 'node:events';

export type Watchdog = AsyncDisposable & {
  watch(pid: number): void;
  /** For a process that has ended: its id may soon be somebody else's. */
  forget(pid: number): void;
};

// Each line holds all ids. The end of the input is the end of this program, or its wish.
const script = `
  while read -r line; do pids=$line; done
  [ -z "$pids" ] || kill -9 $pids
  umount --lazy "$1"/* 2>/dev/null
  for try in 1 2 3 4 5 6 7 8 9; do rm -rf "$1" && exit; sleep 0.2; done`;

/** @param folder removed at the end, after the last process */
export function startWatchdog(folder: string): Watchdog {
  const child = spawn('/bin/sh', ['-c', script, 'watchdog', folder], { detached: true, stdio: ['pipe', 'ignore', 'ignore'] });
  child.stdin.on('error', () => {});
  const ended = once(child, 'exit');
  const pids = new Set<number>();
  const tell = () => child.stdin.write(`${[...pids].join(' ')}\n`);
  return {
    watch(pid) {
      pids.add(pid);
      tell();
    },
    forget(pid) {
      pids.delete(pid);
      tell();
    },
    async [Symbol.asyncDispose]() {
      child.stdin.end();
      await ended;
    },
  };
}
