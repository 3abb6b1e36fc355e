// Where the CPU of a service goes, from the profiles that --profile leaves: the time of each function itself, by the place it is in.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

type Profile = {
  readonly nodes: readonly { readonly id: number; readonly callFrame: { readonly functionName: string; readonly url: string } }[];
  readonly samples: readonly number[];
  /** Microseconds. */
  readonly timeDeltas: readonly number[];
};

const shownMax = 25;

/** @returns a table of shares, without the time in which the service waited */
export function formatProfiles(folder: string): string {
  const places = new Map<string, number>();
  for (const name of readdirSync(folder).filter((file) => file.endsWith('.cpuprofile'))) {
    const { nodes, samples, timeDeltas } = JSON.parse(readFileSync(join(folder, name), 'utf8')) as Profile;
    const placeOfNode = new Map(nodes.map(({ id, callFrame }) => [id, placeOf(callFrame)]));
    for (const [at, id] of samples.entries()) {
      const place = placeOfNode.get(id) ?? '';
      places.set(place, (places.get(place) ?? 0) + (timeDeltas[at] ?? 0));
    }
  }
  places.delete('(idle)');
  const all = [...places.values()].reduce((sum, time) => sum + time, 0);
  const rows = [...places].toSorted(([, one], [, other]) => other - one).slice(0, shownMax);
  return rows.map(([place, time]) => `${((time * 100) / all).toFixed(1).padStart(5)} %  ${place}`).join('\n');
}

/** A package, a file of ours, a module of Node, or what V8 calls it: `(garbage collector)`, `(program)` for native code. */
function placeOf({ functionName, url }: Profile['nodes'][number]['callFrame']): string {
  const [, name] = /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url) ?? [];
  if (name !== undefined) return name;
  const [, file] = /\/(?:src|\.build-[^/]+)\/(.+)$/.exec(url) ?? [];
  if (file !== undefined) return `src/${file.replace(/\.js$/, '.ts')}`;
  return url === '' ? functionName || '(native)' : url.replace(/^node:internal\/.*/, (path) => path.split('/').slice(0, 2).join('/'));
}
