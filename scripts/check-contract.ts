// `npm run check:contract`: refuses what would break a client that was generated from the last release (docs/contract/).
import { readFileSync } from 'node:fs';
import { asyncApiBreaks, openApiBreaks } from './contract.ts';

type Exception = { readonly break: string; readonly reason: string };

const read = (name: string) => JSON.parse(readFileSync(new URL(`../${name}`, import.meta.url), 'utf8'));
const breaks = [
  ...openApiBreaks(read('docs/contract/openapi.json'), read('openapi.json')).map((found) => `openapi.json: ${found}`),
  ...asyncApiBreaks(read('docs/contract/asyncapi.json'), read('asyncapi.json')).map((found) => `asyncapi.json: ${found}`),
];
const exceptions: readonly Exception[] = read('docs/contract/exceptions.json');
const refused = breaks.filter((found) => !exceptions.some((exception) => exception.break === found));
const complaints = [
  ...refused.map(
    (found) =>
      `${found}\n  This breaks clients. Keep the old way beside the new one, or write the line with a reason into docs/contract/exceptions.json.`,
  ),
  ...exceptions
    .filter(({ reason }) => !reason?.trim())
    .map((exception) => `docs/contract/exceptions.json: "${exception.break}" has no reason.`),
  ...exceptions
    .filter((exception) => !breaks.includes(exception.break))
    .map((exception) => `docs/contract/exceptions.json: "${exception.break}" does not occur; take it out.`),
];
for (const complaint of complaints) console.error(complaint);
if (complaints.length > 0) process.exitCode = 1;
