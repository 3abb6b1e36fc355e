// The way in for `npm start`: on a Node that cannot read TypeScript it says what to do instead of failing in the dark, and
// where npm's own Node lacks the security release, the platform's runs the service if it has it.
// Plain JavaScript, so that any Node can run it.
const [major] = process.versions.node.split('.');
if (Number(major) < 24) {
  console.error(
    `Rollcall needs Node 24, and this is ${process.version}: run "npm ci" and then "npm start", which bring and use their own, or install Node 24 (on macOS: brew install node@24).`,
  );
  process.exit(1);
}
const { findSecureNode, hasSecurityRelease } = await import('./src/runtime/node.ts');
// Once only: whatever the other Node says of itself, it is not asked again.
if (!hasSecurityRelease(process.versions.node) && process.env.ROLLCALL_NODE === undefined) {
  const file = findSecureNode(process.env);
  // In place of this process, under the same id: signals and exit code are those of the service.
  if (file !== undefined)
    process.execve(file, [file, ...process.execArgv, ...process.argv.slice(1)], { ...process.env, ROLLCALL_NODE: file });
}
await import('./src/main.ts').catch((error) => {
  if (error.code !== 'ERR_MODULE_NOT_FOUND' || !error.message.startsWith('Cannot find package')) throw error;
  console.error('The packages of Rollcall are not installed, or not all of them: run "npm ci" in its folder.');
  process.exit(1);
});
