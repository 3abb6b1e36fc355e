// Makes the JavaScript that `npm start` runs: src/ without its types, in a folder whose name is the hash of what it was made from. So it
// is never of other sources, a process that runs keeps its own, and of two that begin at once none meets half of it.
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { dirname, join, sep } from 'node:path';

const prefix = '.build-';
/** Folders of earlier sources that stay, for processes that still run them. */
const keptMax = 5;

/**
 * @param {string} root the folder of the project
 * @returns {string} the folder that has what src/ is now; undefined where it has not been made
 */
export function findBuilt(root) {
  const folder = folderOf(root);
  if (statSync(folder, { throwIfNoEntry: false }) === undefined) return undefined;
  try {
    utimesSync(folder, new Date(), new Date());
  } catch {
    // Somebody else's: it is not one of those that are counted.
  }
  return folder;
}

/**
 * @param {string} root
 * @param {number} kept how many folders of earlier sources stay
 * @throws where it cannot be written to
 */
export function build(root, kept) {
  const folder = folderOf(root);
  const making = `${folder}.${process.pid}`;
  for (const file of filesOf(root)) {
    const target = join(making, file.slice(0, -'.ts'.length));
    mkdirSync(dirname(target), { recursive: true });
    const name = `src/${file.replaceAll(sep, '/')}`;
    // Types become blanks, so lines and columns stay; the name at the end is what stacks show.
    const text = stripTypeScriptTypes(readFileSync(join(root, 'src', file), 'utf8'), { mode: 'strip', sourceUrl: name });
    writeFileSync(`${target}.js`, text.replace(/((?:\bfrom |\bimport\(|\bnew URL\()'\.\.?\/[^'\n]+)\.ts'/g, "$1.js'"));
  }
  try {
    renameSync(making, folder);
  } catch (error) {
    rmSync(making, { recursive: true, force: true });
    // Another one was faster.
    if (statSync(folder, { throwIfNoEntry: false }) === undefined) throw error;
  }
  const others = readdirSync(root).filter((name) => name.startsWith(prefix) && join(root, name) !== folder);
  const usedAt = new Map(others.map((name) => [name, statSync(join(root, name), { throwIfNoEntry: false })?.mtimeMs ?? 0]));
  for (const name of others.sort((one, other) => usedAt.get(other) - usedAt.get(one)).slice(kept))
    rmSync(join(root, name), { recursive: true, force: true });
}

/** In a package there are no sources, and one folder. */
function folderOf(root) {
  if (statSync(join(root, 'src'), { throwIfNoEntry: false }) === undefined) {
    return join(root, readdirSync(root).find((name) => name.startsWith(prefix)) ?? `${prefix}none`);
  }
  const hash = createHash('sha256').update(readFileSync(new URL(import.meta.url)));
  for (const file of filesOf(root)) hash.update(`\0${file}\0`).update(readFileSync(join(root, 'src', file)));
  return join(root, `${prefix}${hash.digest('hex').slice(0, 12)}`);
}

function filesOf(root) {
  return readdirSync(join(root, 'src'), { recursive: true })
    .filter((name) => name.endsWith('.ts'))
    .sort();
}

// A package gets this one and no other.
if (process.argv[1] === import.meta.filename) build(import.meta.dirname, process.argv[2] === 'alone' ? 0 : keptMax);
