// The commit-msg hook: Conventional Commits (version 1.0.0), with a subject of at most 72 characters.
import { readFileSync } from 'node:fs';

const subjectMax = 72;
const types = ['build', 'chore', 'ci', 'docs', 'feat', 'fix', 'perf', 'refactor', 'revert', 'style', 'test'];

const [file = ''] = process.argv.slice(2);
const [subject = '', second = ''] = readFileSync(file, 'utf8').split('\n');
const mistakes: string[] = [];
// What git writes itself stays as it is.
if (!/^(Merge|Revert|fixup!|squash!) /.test(subject)) {
  if (!new RegExp(`^(${types.join('|')})(\\([a-z0-9-]+\\))?!?: \\S`).test(subject))
    mistakes.push(`It must begin with a type and a colon, as in "fix: a list ends". Types: ${types.join(', ')}.`);
  if (subject.length > subjectMax) mistakes.push(`It has ${subject.length} characters; at most ${subjectMax} fit into a log.`);
  if (subject.endsWith('.')) mistakes.push('It needs no full stop.');
}
if (second !== '' && !second.startsWith('#')) mistakes.push('A blank line must follow it.');
for (const mistake of mistakes) console.error(`The subject of the commit "${subject}": ${mistake}`);
if (mistakes.length > 0) process.exitCode = 1;
