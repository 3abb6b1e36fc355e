// Texts that people take for the same, brought to one form: for keys that must be unique, never for what is shown.
import prototypes from 'unhomoglyph/data.json' with { type: 'json' };

const ignorable = /\p{Default_Ignorable_Code_Point}/gu;

function foldOnce(text: string): string {
  // To upper and back takes in more than either, such as the dotless i. Then what that leaves apart: the capital sharp s, and the
  // sigma at the end of a word, which is written by its place.
  const cased = text.normalize('NFKC').toUpperCase().toLowerCase().replaceAll('\u00df', 'ss').replaceAll('\u03c2', '\u03c3');
  return cased.replace(ignorable, '').normalize('NFKC');
}

/** NFKC, with full case folding, and without code points that nothing shows (Unicode, 3.13 and 5.21). Of a folded text it is the text. */
export function fold(text: string): string {
  let folded = foldOnce(text);
  // A second pass moves few texts, a third none that is known.
  for (let passes = 1; passes < 4; passes += 1) {
    const again = foldOnce(folded);
    if (again === folded) break;
    folded = again;
  }
  return folded;
}

/** confusables.txt of UTS #39, by code point. */
const prototypeOf: Readonly<Record<string, string>> = prototypes;

function prototypesOf(text: string): string {
  return Array.from(text.normalize('NFD').replace(ignorable, ''), (one) => prototypeOf[one] ?? one)
    .join('')
    .normalize('NFD');
}

/**
 * The same for texts that look alike (UTS #39, section 4). As they are typed first, since a capital I looks like an l; then folded,
 * since an m looks like rn.
 */
export function skeleton(text: string): string {
  return fold(prototypesOf(fold(prototypesOf(text.normalize('NFKC')))));
}
