// The results, for people and for programs.
import { isMet, type Measurement, median, type Row, ratios, type Unit, type Want } from './row.ts';

/** A measurement by the name that `--only` knows. */
export type Result = { readonly key: string; readonly measurement: Measurement; readonly rows: readonly Row[]; readonly failure?: string };

const header = ['', 'measured', '', 'floor', '', 'ratio', 'min-max', 'want', ''];
const leftAligned: ReadonlySet<number> = new Set([0, 4, 7, 8]);

export function formatTable(results: readonly Result[]): string {
  const rows = results.flatMap((result) => result.rows.map(cells));
  const widths = header.map((_, column) => Math.max(...[header, ...rows].map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]) =>
    row
      .map((cell, column) => (leftAligned.has(column) ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join('  ')
      .trimEnd();
  const failures = results.flatMap(({ key, failure }) => (failure === undefined ? [] : [`${key} was not measured: ${failure}`]));
  const notes = results.map(({ key, measurement }) => note(`${key}:`, measurement.definition));
  return [line(header), ...rows.map(line), ...failures, '', note('', howToRead), ...notes].join('\n');
}

const howToRead =
  'measured, floor: medians of rounds that took turns. ratio: measured / floor within a round; its median, least and greatest.';

function note(label: string, text: string): string {
  const lines = text.match(/\S.{0,109}(?=\s|$)/g) ?? [];
  return lines.map((words, at) => (at === 0 ? label : '').padEnd(9) + words).join('\n');
}

function cells(row: Row): string[] {
  const { what, unit, measured, floor, want } = row;
  const all = ratios(row);
  return [
    what,
    formatNumber(median(measured), unit),
    unit,
    formatNumber(median(floor.measured), unit),
    `${unit.padEnd(3)} ${floor.what}`,
    ...(all.every(Number.isFinite) ? [median(all).toFixed(2), `${Math.min(...all).toFixed(2)}-${Math.max(...all).toFixed(2)}`] : ['', '']),
    want === undefined ? '' : formatWant(want, unit),
    want === undefined ? '' : isMet(row, want) ? 'ok' : 'miss',
  ];
}

function formatNumber(value: number, unit: Unit): string {
  const digits = { '/s': value < 100 ? 1 : 0, MiB: 0, ms: 2, s: 2 }[unit];
  return value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

function formatWant({ of, atLeast, atMost }: Want, unit: Unit): string {
  const bound = atLeast === undefined ? `<= ${atMost}` : `>= ${atLeast}`;
  return of === 'ratio' ? bound : `${bound} ${unit}`;
}

export function formatJson(environment: object, results: readonly Result[]): string {
  const rows = results.flatMap<object>(({ key, measurement: { definition }, rows, failure }) => {
    if (failure !== undefined) return [{ key, definition, failure }];
    return rows.map((row) => ({ key, definition, ...row, ratios: ratios(row), ...(row.want && { met: isMet(row, row.want) }) }));
  });
  return JSON.stringify({ environment, rows }, undefined, 2);
}
