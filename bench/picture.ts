// A picture of the rows by size, in SVG: a line for each request, over the number of users.
import { median, type Row } from './row.ts';

const panel = { width: 420, height: 300, left: 60, top: 40, gap: 70 };
const colours = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#666666'];

type Point = { readonly line: string; readonly users: number; readonly row: Row };

/** @param rows p99 in one panel, rates in the other */
export function draw(rows: readonly Row[]): string {
  const points = rows.flatMap((row): Point[] => (row.point === undefined ? [] : [{ ...row.point, row }]));
  const panels = [
    { title: 'p99 at half of the peak rate, ms', points: points.filter(({ row }) => row.unit === 'ms') },
    { title: 'answers a second', points: points.filter(({ row }) => row.unit === '/s') },
  ];
  const lines = [...new Set(points.map(({ line }) => line))];
  const width = panel.left + panels.length * (panel.width + panel.gap);
  const height = panel.top + panel.height + 60 + Math.ceil(lines.length / 4) * 20;
  const legend = lines.map((line, n) => {
    const [x, y] = [panel.left + (n % 4) * 230, panel.top + panel.height + 60 + Math.floor(n / 4) * 20];
    return `<line x1="${x}" x2="${x + 20}" y1="${y - 4}" y2="${y - 4}" ${strokeOf(n)}/><text x="${x + 26}" y="${y}">${line}</text>`;
  });
  const body = panels.map((each, n) => drawPanel(each, panel.left + n * (panel.width + panel.gap), lines));
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12" fill="#222">`,
    '<title>p99 and answers a second by number of users</title>',
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    ...body,
    ...legend,
    '</svg>\n',
  ].join('\n');
}

/** Dashed once the colours are used up. */
function strokeOf(n: number): string {
  return `stroke="${colours[n % colours.length]}" stroke-width="2"${n < colours.length ? '' : ' stroke-dasharray="5 3"'}`;
}

function drawPanel(panelOf: { title: string; points: readonly Point[] }, left: number, lines: readonly string[]): string {
  const sizes = [...new Set(panelOf.points.map(({ users }) => users))].toSorted((a, b) => a - b);
  const values = panelOf.points.map(({ row }) => median(row.measured));
  const [least, most] = [10 ** Math.floor(Math.log10(Math.min(...values))), 10 ** Math.ceil(Math.log10(Math.max(...values)))];
  const bottom = panel.top + panel.height;
  // Both axes by powers of ten.
  const share = (value: number, low: number, high: number) => (high === low ? 0.5 : Math.log10(value / low) / Math.log10(high / low));
  const x = (users: number) => left + share(users, sizes[0] ?? 1, sizes.at(-1) ?? 1) * panel.width;
  const y = (value: number) => bottom - share(value, least, most) * panel.height;
  const steps = Array.from({ length: Math.round(Math.log10(most / least)) + 1 }, (_, n) => least * 10 ** n);
  const grid = steps.map(
    (value) =>
      `<line x1="${left}" x2="${left + panel.width}" y1="${y(value)}" y2="${y(value)}" stroke="#ddd"/><text x="${left - 6}" y="${y(value) + 4}" text-anchor="end">${value.toLocaleString('en-US')}</text>`,
  );
  const ticks = sizes.map(
    (users) => `<text x="${x(users)}" y="${bottom + 18}" text-anchor="middle">${users.toLocaleString('en-US')}</text>`,
  );
  const paths = lines.map((line, n) => {
    const own = panelOf.points.filter((point) => point.line === line).toSorted((a, b) => a.users - b.users);
    const at = own.map(({ users, row }) => `${x(users).toFixed(1)},${y(median(row.measured)).toFixed(1)}`);
    return `<polyline points="${at.join(' ')}" fill="none" ${strokeOf(n)}/>`;
  });
  const title = `<text x="${left}" y="${panel.top - 14}" font-weight="bold">${panelOf.title}, by users</text>`;
  return [title, ...grid, ...ticks, ...paths].join('\n');
}
