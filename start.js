// The way in for `npm start` and the commands: on a Node that is too old it says what to do instead of failing in the dark, and where
// npm's own Node lacks the security release, the platform's runs the service if it has it. Then it runs what build.js has made of src/.
// Plain JavaScript, so that any Node can run it.
const commands = { migrate: 'cli/migrate', 'db:setup': 'cli/setup', events: 'cli/events' };
const [major] = process.versions.node.split('.');
if (Number(major) < 24) {
  console.error(
    `Rollcall needs Node 24, and this is ${process.version}: run "npm ci" and then "npm start", which bring and use their own, or install Node 24 (on macOS: brew install node@24).`,
  );
  process.exit(1);
}
const { availableParallelism } = await import('node:os');
// Before anything uses libuv's threads: as many as hash passwords at once, and four for files and names of hosts.
process.env.UV_THREADPOOL_SIZE ??= String(availableParallelism() + 4);
const { spawnSync } = await import('node:child_process');
const { enableCompileCache } = await import('node:module');
const { join } = await import('node:path');
const { pathToFileURL } = await import('node:url');
const { findBuilt } = await import('./build.js');

const root = import.meta.dirname;
let folder = findBuilt(root);
if (folder === undefined) {
  // In a process of its own: what reads TypeScript takes 40 MiB, and would stay.
  const args = ['--disable-warning=ExperimentalWarning', join(root, 'build.js')];
  const { status, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8', env: { ...process.env, NODE_OPTIONS: '' } });
  folder = status === 0 ? findBuilt(root) : undefined;
  if (folder === undefined) {
    const [reason = ''] = /^(?:\w*Error|SyntaxError).*$/m.exec(stderr) ?? [];
    console.error(`src/ runs as TypeScript, which takes more memory, since no JavaScript could be made of it: ${reason}`);
  }
}
// V8 keeps what it compiled beside what it was compiled from; where nothing can be written it compiles each time.
if (folder !== undefined) enableCompileCache(join(folder, 'compiled'));
const load = (name) => import(folder === undefined ? `./src/${name}.ts` : pathToFileURL(join(folder, `${name}.js`)).href);

const { findSecureNode, hasSecurityRelease } = await load('platform/runtime/node');
// Once only: whatever the other Node says of itself, it is not asked again.
if (!hasSecurityRelease(process.versions.node) && process.env.ROLLCALL_NODE === undefined) {
  const file = findSecureNode(process.env);
  // In place of this process, under the same id: signals and exit code are those of the service.
  if (file !== undefined)
    process.execve(file, [file, ...process.execArgv, ...process.argv.slice(1)], { ...process.env, ROLLCALL_NODE: file });
}
const command = process.argv[2];
if (command !== undefined && !Object.hasOwn(commands, command)) {
  console.error(`There is no command "${command}": leave it out to start the service, or name one of ${Object.keys(commands).join(', ')}.`);
  process.exit(1);
}
// What follows is the command's own.
if (command !== undefined) process.argv.splice(2, 1);
await load(command === undefined ? 'main' : commands[command]).catch((error) => {
  if (error.code !== 'ERR_MODULE_NOT_FOUND' || !error.message.startsWith('Cannot find package')) throw error;
  console.error('The packages of Rollcall are not installed, or not all of them: run "npm ci" in its folder.');
  process.exit(1);
});
