// `npm run generate` writes the files that are made from the code; `-- --check` fails where one is not current.
import { readFile, writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { generate } from './generated.ts';

const { values } = parseArgs({ options: { check: { type: 'boolean', default: false } } });
for (const [name, text] of await generate()) {
  const file = new URL(`../${name}`, import.meta.url);
  if (!values.check) {
    await writeFile(file, text);
    console.log(`wrote ${name}`);
  } else if ((await readFile(file, 'utf8').catch(() => '')) === text) {
    console.log(`${name} is current`);
  } else {
    console.error(`${name} is not what the code makes: run "npm run generate" and look at the difference.`);
    process.exitCode = 1;
  }
}
