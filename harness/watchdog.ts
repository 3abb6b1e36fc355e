// Ends what this program started, and removes where it was, when this program is gone, however it went: even by SIGKILL.
import { spawn } from 'node:child_process';
import { once } from 'node:events';

export type Watchdog = AsyncDisposable & {
  watch(pid: number | undefined): void;
  /** For a process that has ended: its id may soon be somebody else's. */
  forget(pid: number | undefined): void;
};

// Each line holds all ids. The end of the input is the end of this program, or its wish.
const readIds = 'while read -r line; do pids=$line; done';
const endProcesses = '[ -z "$pids" ] || kill -9 $pids';
const removeFolder = `umount --lazy "$1"/* 2>/dev/null
  for try in 1 2 3 4 5 6 7 8 9; do rm -rf "$1" && exit; sleep 0.2; done`;

/** @param folder removed at the end, after the last process, with what is mounted in it */
export function watchFolder(folder: string): Watchdog {
  return startWatchdog([readIds, endProcesses, removeFolder], folder);
}

/** @param id of a container of Docker, removed at the end */
export function watchContainer(id: string): Watchdog {
  return startWatchdog([readIds, 'docker rm --force --volumes "$1"'], id);
}

function startWatchdog(script: readonly string[], argument: string): Watchdog {
  const args = ['-c', script.join('\n'), 'watchdog', argument];
  const child = spawn('/bin/sh', args, { detached: true, stdio: ['pipe', 'ignore', 'ignore'] });
  // A line that comes too late for it is of no use to it.
  child.stdin.on('error', () => {});
  const ended = once(child, 'exit');
  const pids = new Set<number>();
  const tell = () => child.stdin.write(`${[...pids].join(' ')}\n`);
  return {
    watch(pid) {
      if (pid !== undefined) pids.add(pid);
      tell();
    },
    forget(pid) {
      if (pid !== undefined) pids.delete(pid);
      tell();
    },
    async [Symbol.asyncDispose]() {
      child.stdin.end();
      await ended;
    },
  };
}
