// The file `.env`: what it sets, and every line that would be read otherwise than its author meant. A setting that is lost
// without a word starts the service on an empty database of its own.
import { closeSync, constants, fstatSync, lstatSync, openSync, readFileSync } from 'node:fs';
import { parseEnv } from 'node:util';
import { findMeant } from './names.ts';

export type EnvFile = {
  readonly values: ReadonlyMap<string, string>;
  /** A sentence each, with the file and the line; never a value, which may be a password. */
  readonly issues: readonly string[];
};

const bytesMax = 1_048_576;
const issuesMax = 10;

/**
 * @param settings the names that mean something here; others may stand in the file for other programs
 * @param isSet whether the environment, which wins over the file, has a variable
 */
export function readEnvFile(path: string, settings: readonly string[], isSet: (name: string) => boolean): EnvFile {
  try {
    const bytes = readBytes(path);
    if (bytes === undefined) return { values: new Map(), issues: [] };
    const statements = [...split(decode(path, bytes))];
    const assignments = statements.filter((statement): statement is Assignment => statement.name !== undefined);
    const issues: Issue[] = statements.flatMap((statement) => {
      const what = issueOf(statement, settings);
      return what === undefined ? [] : [{ line: statement.line, what }];
    });
    issues.push(...issuesOfNames(assignments, settings, isSet));
    issues.sort((one, other) => one.line - other.line);
    const sentences = issues.slice(0, issuesMax).map(({ line, what }) => `${path} line ${line} ${what}`);
    if (issues.length > issuesMax) sentences.push(`${path} has ${issues.length - issuesMax} more lines that are wrong.`);
    return { values: new Map(assignments.map(({ name, value }) => [name, value])), issues: sentences };
  } catch (error) {
    if (error instanceof Unreadable) return { values: new Map(), issues: [error.message] };
    throw error;
  }
}

class Unreadable extends Error {}

function readBytes(path: string): Buffer | undefined {
  let file: number | undefined;
  try {
    // Without O_NONBLOCK the opening of a FIFO waits until somebody writes to it.
    file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const stats = fstatSync(file);
    if (!stats.isFile()) {
      const what = stats.isDirectory() ? 'a folder' : 'not a regular file';
      throw new Unreadable(`${path} is ${what}: put a file of lines NAME=value there, or remove it.`);
    }
    if (stats.size > bytesMax) throw new Unreadable(`${path} has ${stats.size} bytes, and the limit is ${bytesMax}: is it the right file?`);
    return readFileSync(file);
  } catch (error) {
    if (error instanceof Unreadable) throw error;
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ENOENT') throw new Unreadable(`${path} cannot be read (${code}): let the service's account read it, or remove it.`);
    // A link to a missing file is "no such file" too, and whoever made it meant a file.
    if (lstatSync(path, { throwIfNoEntry: false }) === undefined) return undefined;
    throw new Unreadable(`${path} is a link to a file that does not exist: put the file there, or remove the link.`);
  } finally {
    if (file !== undefined) closeSync(file);
  }
}

/** Lines end in LF afterwards. */
function decode(path: string, bytes: Buffer): string {
  const encoding = encodingOf(bytes);
  const read = (fatal: boolean) => new TextDecoder(encoding, { fatal }).decode(bytes).replaceAll(/\r\n?/g, '\n');
  const lineAt = (text: string, index: number) => text.slice(0, index).split('\n').length;
  let text: string;
  try {
    text = read(true);
  } catch {
    const replaced = read(false);
    throw new Unreadable(`${path} line ${lineAt(replaced, replaced.indexOf('\ufffd'))} is not ${encoding}: save the file as UTF-8.`);
  }
  const zero = text.indexOf('\0');
  if (zero !== -1) throw new Unreadable(`${path} line ${lineAt(text, zero)} holds a NUL character: save the file as UTF-8 text.`);
  return text;
}

/** By the byte order mark; without one, by where the zero bytes of ASCII stand. PowerShell 5 writes UTF-16 for `>`. */
function encodingOf(bytes: Buffer): 'UTF-8' | 'UTF-16LE' | 'UTF-16BE' {
  const mark = bytes.subarray(0, 2).toString('hex');
  if (mark === 'fffe') return 'UTF-16LE';
  if (mark === 'feff') return 'UTF-16BE';
  const zeros = [0, 0];
  for (const [index, byte] of bytes.entries()) if (byte === 0) zeros[index % 2] = (zeros[index % 2] as number) + 1;
  const [even = 0, odd = 0] = zeros;
  if (even === 0 && odd > bytes.length / 4) return 'UTF-16LE';
  if (odd === 0 && even > bytes.length / 4) return 'UTF-16BE';
  return 'UTF-8';
}

/** What stands between two line ends outside of quotes, comments and empty lines left out. */
type Statement = {
  readonly line: number;
  readonly text: string;
  /** Left out where the statement is no assignment. */
  readonly name?: string;
  readonly value: string;
  /** The value as it stands in the file, with quotes and comment. */
  readonly source: string;
};
type Assignment = Statement & { readonly name: string };
type Issue = { readonly line: number; readonly what: string };

/**
 * Values mean what Node's parser says (util.parseEnv, `node --env-file`), and it is asked for one at a time: given the file, it
 * passes over a line that sets nothing, and takes the next line for the value where blanks follow the `=`.
 */
function* split(text: string): Generator<Statement> {
  const lines = text.split('\n');
  for (let index = 0; index < lines.length; index += 1) {
    const line = index + 1;
    // A mark within the text is left of files that were put together.
    const content = (lines[index] as string).replace(/^\ufeff+/, '').trim();
    if (content === '' || content.startsWith('#')) continue;
    const [, name, rest = ''] = /^(?:export\s+)?([A-Za-z_][\w.-]*)\s*=\s*(.*)$/.exec(content) ?? [];
    if (name === undefined) {
      yield { line, text: content, value: '', source: '' };
      continue;
    }
    let source = rest;
    const quote = quoteOf(rest);
    if (quote !== undefined && !rest.includes(quote, 1)) {
      const end = lines.findIndex((candidate, at) => at > index && candidate.includes(quote));
      if (end !== -1) {
        source = [rest, ...lines.slice(index + 1, end + 1)].join('\n');
        index = end;
      }
    }
    yield { line, text: content, name, value: parseEnv(`V=${source}`)['V'] ?? '', source };
  }
}

function quoteOf(source: string): string | undefined {
  return /^["'`]/.exec(source)?.[0];
}

/** What is wrong with a statement by itself, as the rest of a sentence that begins with its line. */
function issueOf({ text, name, value, source }: Statement, settings: readonly string[]): string | undefined {
  if (name === undefined) {
    // In lower case only what cannot be a word of prose.
    const meant = settings.find((setting) => new RegExp(`(?<![\\w.-])${setting}(?![\\w.-])`, setting.includes('_') ? 'i' : '').test(text));
    return meant === undefined
      ? 'sets nothing: write NAME=value, or # before a comment.'
      : `does not set ${meant}: write it as ${meant}=value.`;
  }
  const isSetting = settings.includes(name);
  const quote = quoteOf(source);
  if (quote !== undefined) {
    const end = source.indexOf(quote, 1);
    const endsWell = end !== -1 && /^\s*(#|$)/.test(source.slice(end + 1));
    // Another program's value may have several lines, such as a key. One with a setting in it lost its closing quote.
    const mayRunOn = !isSetting && endsWell && !settings.some((setting) => new RegExp(`\\n\\s*(export\\s+)?${setting}\\s*=`).test(source));
    if (end === -1 || (source.includes('\n') && !mayRunOn))
      return `opens a quote ${quote} and does not close it: close it on the same line.`;
    if (isSetting && !endsWell) return `has more behind the closing quote ${quote} of ${name}: remove it.`;
  } else if (isSetting) {
    const [bare = ''] = source.split('#');
    if (/\S$/.test(bare) && bare !== source)
      return `ends the value of ${name} at a #: write the value in quotes, or a blank before a comment.`;
    if (/["'`]$/.test(value)) return `closes a quote in ${name} that it does not open: remove it, or open it before the value.`;
  }
  if (isSetting && /\$\{.*\}/.test(value)) return `has \${...} in ${name}, which stays as it is: write the value itself.`;
  return undefined;
}

/**
 * A slip in the name of a setting, and a setting that two lines set to different values. A name that is only close to a setting
 * stays where the setting itself is set too: then it is another program's.
 */
function* issuesOfNames(
  assignments: readonly Assignment[],
  settings: readonly string[],
  isSet: (name: string) => boolean,
): Generator<Issue> {
  const firsts = new Map<string, Assignment>();
  for (const assignment of assignments) {
    const { name, value, line } = assignment;
    const first = firsts.get(name);
    if (first === undefined) firsts.set(name, assignment);
    else if (settings.includes(name) && first.value !== value) {
      yield { line, what: `sets ${name} to another value than line ${first.line}: keep one of them.` };
    }
  }
  for (const { name, line } of firsts.values()) {
    const meant = findMeant(name, settings);
    if (meant === undefined || firsts.has(meant) || isSet(meant)) continue;
    yield {
      line,
      what: `sets ${name}, which is no setting: write ${meant}, or, if another program reads ${name}, add a line ${meant}= for the default.`,
    };
  }
}
