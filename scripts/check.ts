// `npm run check`: every check at once, each failure with what it says and its cure. Two run at a time, as the usual machine has cores.
import { spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';

// The longest first, so that the last one to end is a short one.
const cures: Readonly<Record<string, string>> = {
  'check:generated': 'run "npm run generate" and look at the difference',
  'check:licences': 'take another package, or allow the licence in package.json if it asks for no more than its notice',
  'check:types': 'mend the types',
  'check:unused': 'remove what nobody uses, or name it in knip.json as an entry',
  'check:style': 'run "npm run fix", and mend what is left',
  'check:openapi': 'mend the schemas in src/ and run "npm run generate"; redocly.yaml has the rules',
  'check:architecture': 'move the file or the import; the message names the rule',
  'check:contract': 'keep the old way beside the new one; docs/contract/README.md says how to accept a break',
  'check:lock': 'write the hashes that are named into package-lock.json',
  'check:node': 'take the Node that is named in package.json and Dockerfile',
};

const startedAt = performance.now();
const seconds = (since: number) => `${((performance.now() - since) / 1000).toFixed(1)} s`;
const waiting = Object.entries(cures);
let failed = 0;
await Promise.all(Array.from({ length: Math.max(2, availableParallelism()) }, work));
console.log(
  failed === 0
    ? `All ${Object.keys(cures).length} checks passed in ${seconds(startedAt)}.`
    : `${failed} of ${Object.keys(cures).length} checks failed.`,
);
process.exitCode = failed === 0 ? 0 : 1;

async function work(): Promise<void> {
  for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
    const [name, cure] = next;
    const since = performance.now();
    const { code, output } = await run(name);
    if (code === 0) {
      console.log(`ok      ${name} (${seconds(since)})`);
      continue;
    }
    failed += 1;
    console.log(`FAILED  ${name} (${seconds(since)})\n${output.trimEnd()}\n        To cure it: ${cure}.\n`);
  }
}

function run(name: string): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn('npm', ['run', '--silent', name], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, NO_COLOR: '1', FORCE_COLOR: undefined },
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (piece: string) => {
        output += piece;
      });
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, output }));
  });
}
