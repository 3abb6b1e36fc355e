// The way in for `npm start`: on a Node that cannot read TypeScript it says what to do instead of failing in the dark.
// Plain JavaScript, so that any Node can run it.
const [major] = process.versions.node.split('.');
if (Number(major) < 24) {
  console.error(
    `Rollcall needs Node 24, and this is ${process.version}: run "npm ci" and then "npm start", which bring and use their own, or install Node 24 (on macOS: brew install node@24).`,
  );
  process.exit(1);
}
await import('./src/main.ts');
