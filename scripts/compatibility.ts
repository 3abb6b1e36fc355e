// Whether a schema can take the place of another one without breaking a client that was generated from it: what callers send must
// go on being taken, and what they get must go on being what they were told. An unknown keyword counts as a break
// where it differs, so that none passes unseen.

export type Direction = 'sent' | 'got';
export type Schema = { readonly [keyword: string]: unknown };
export type Document = { readonly [name: string]: unknown };
/** A place in the document, and what a client would run into there. */
export type Break = string;

type Side = { readonly schema: Schema; readonly document: Document };

const annotations = ['title', 'description', 'example', 'examples', 'deprecated', '$id', '$comment', '$schema', 'contentMediaType'];
/** Where less is looser. */
const lowerBounds = ['minimum', 'exclusiveMinimum', 'minLength', 'minItems', 'minProperties'];
const upperBounds = ['maximum', 'exclusiveMaximum', 'maxLength', 'maxItems', 'maxProperties'];
const compared = [
  ...annotations,
  ...lowerBounds,
  ...upperBounds,
  ...['$ref', 'type', 'enum', 'const', 'format', 'pattern', 'required', 'properties', 'additionalProperties', 'items', 'anyOf', 'oneOf'],
  ...['default', 'uniqueItems'],
];

/** @returns each break, with its place */
export function breaksOf(before: Side, after: Side, direction: Direction, place: string): Break[] {
  return [...compare(before, after, direction, place, new Set())];
}

function* compare(before: Side, after: Side, direction: Direction, place: string, seen: Set<string>): Generator<Break> {
  const [nameBefore, nameAfter] = [nameOf(before.schema), nameOf(after.schema)];
  if (nameBefore !== undefined && nameAfter !== nameBefore) yield `${place}: is ${nameAfter ?? 'without a name'}, and was ${nameBefore}`;
  if (nameBefore !== undefined) {
    // A schema that contains itself, and one that is used again.
    if (seen.has(nameBefore)) return;
    seen.add(nameBefore);
  }
  const [old, now] = [resolve(before) ?? {}, resolve(after)];
  if (now === undefined) return yield `${place}: refers to ${nameAfter}, which is gone`;
  const within = (part: unknown, side: Side): Side => ({ schema: part as Schema, document: side.document });
  const narrower = direction === 'sent' ? 'no longer takes' : 'may now be';

  const [typesBefore, typesAfter] = [typesOf(old), typesOf(now)];
  for (const type of lost(typesBefore, typesAfter, direction)) yield `${place}: ${narrower} ${type}`;
  const [valuesBefore, valuesAfter] = [valuesOf(old), valuesOf(now)];
  for (const value of lost(valuesBefore, valuesAfter, direction)) yield `${place}: ${narrower} ${value}`;
  if (!isEqual(old['format'], now['format'])) yield `${place}: its format is ${text(now['format'])}, and was ${text(old['format'])}`;
  const [looser, tighter] = direction === 'sent' ? [now, old] : [old, now];
  if (looser['pattern'] !== undefined && looser['pattern'] !== tighter['pattern'])
    yield `${place}: its pattern is ${text(now['pattern'])}, and was ${text(old['pattern'])}`;
  if (looser['uniqueItems'] === true && tighter['uniqueItems'] !== true) yield `${place}: ${narrower} a list with repeated items`;
  for (const [names, least] of [
    [lowerBounds, -Infinity],
    [upperBounds, Infinity],
  ] as const)
    for (const name of names) {
      const [loose, tight] = [looser[name] ?? least, tighter[name] ?? least].map(Number) as [number, number];
      if (names === lowerBounds ? loose > tight : loose < tight)
        yield `${place}: its ${name} is ${text(now[name])}, and was ${text(old[name])}`;
    }
  if (direction === 'sent' && !isEqual(old['default'], now['default']))
    yield `${place}: its default is ${text(now['default'])}, and was ${text(old['default'])}`;

  yield* compareProperties(old, now);
  if (old['items'] !== undefined && now['items'] !== undefined)
    yield* compare(within(old['items'], before), within(now['items'], after), direction, `${place}[]`, seen);
  else if ((looser['items'] ?? undefined) !== undefined)
    yield `${place}: its items have ${now['items'] === undefined ? 'no' : 'a'} schema now`;
  yield* compareChoices(old, now);
  for (const keyword of new Set([...Object.keys(old), ...Object.keys(now)]))
    if (!compared.includes(keyword) && !keyword.startsWith('x-') && !isEqual(old[keyword], now[keyword]))
      yield `${place}: ${keyword} changed`;

  function* compareProperties(old: Schema, now: Schema): Generator<Break> {
    const [fieldsBefore, fieldsAfter] = [old, now].map(({ properties = {} }) => properties as Record<string, Schema>) as [
      Record<string, Schema>,
      Record<string, Schema>,
    ];
    const [requiredBefore, requiredAfter] = [old, now].map(({ required = [] }) => required as string[]) as [string[], string[]];
    const [more, less] = direction === 'sent' ? [requiredAfter, requiredBefore] : [requiredBefore, requiredAfter];
    for (const name of more)
      if (!less.includes(name)) yield `${place}.${name}: ${direction === 'sent' ? 'is required now' : 'is no longer always there'}`;
    for (const [name, field] of Object.entries(fieldsBefore)) {
      const next = fieldsAfter[name];
      if (next === undefined) yield `${place}.${name}: is gone`;
      else yield* compare(within(field, before), within(next, after), direction, `${place}.${name}`, seen);
    }
    const [openBefore, openAfter] = [old, now].map(({ additionalProperties = true }) => additionalProperties);
    if (direction === 'sent' && openBefore !== false && openAfter === false) yield `${place}: no longer takes other members`;
    if (direction === 'got' && openBefore === false && openAfter !== false) yield `${place}: may now have other members`;
    if (direction === 'got' && openBefore === false)
      for (const name of Object.keys(fieldsAfter))
        if (!(name in fieldsBefore)) yield `${place}.${name}: is new, and other members were ruled out`;
    if (typeof openBefore === 'object' && typeof openAfter === 'object')
      yield* compare(within(openBefore, before), within(openAfter, after), direction, `${place}.*`, seen);
    else if ((typeof openBefore === 'object') !== (typeof openAfter === 'object')) yield `${place}: the rule for other members changed`;
  }

  function* compareChoices(old: Schema, now: Schema): Generator<Break> {
    const [choicesBefore, choicesAfter] = [choicesOf(old), choicesOf(now)];
    if (choicesBefore === undefined && choicesAfter === undefined) return;
    const [wanted, offered] =
      direction === 'sent' ? [choicesBefore ?? [old], choicesAfter ?? [now]] : [choicesAfter ?? [now], choicesBefore ?? [old]];
    for (const [index, choice] of wanted.entries()) {
      const isTaken = offered.some((other) => {
        const [first, second] = direction === 'sent' ? [choice, other] : [other, choice];
        return compare(within(first, before), within(second, after), direction, place, new Set(seen)).next().done;
      });
      if (!isTaken) yield `${place}: ${direction === 'sent' ? 'no longer takes' : 'may now be'} choice ${index + 1} of anyOf or oneOf`;
    }
  }
}

/** What one side allows and the other must allow too: what was sent, or what is got. Undefined is no limit. */
function lost(before: readonly string[] | undefined, after: readonly string[] | undefined, direction: Direction): readonly string[] {
  const [wanted, allowed] = direction === 'sent' ? [before, after] : [after, before];
  if (allowed === undefined) return [];
  if (wanted === undefined) return ['anything'];
  return wanted.filter((value) => !allowed.includes(value) && !(value === 'integer' && allowed.includes('number')));
}

const typesOf = ({ type }: Schema) => (type === undefined ? undefined : ([type].flat() as string[]));
const choicesOf = ({ anyOf, oneOf }: Schema) => (anyOf ?? oneOf) as Schema[] | undefined;
const text = (value: unknown) => JSON.stringify(value) ?? 'none';
const isEqual = (one: unknown, other: unknown) => text(sorted(one)) === text(sorted(other));

function valuesOf(schema: Schema): readonly string[] | undefined {
  if ('const' in schema) return [text(schema['const'])];
  return (schema['enum'] as unknown[] | undefined)?.map(text);
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .toSorted(([one], [other]) => (one < other ? -1 : 1))
      .map(([name, part]) => [name, sorted(part)]),
  );
}

function nameOf({ $ref }: Schema): string | undefined {
  return typeof $ref === 'string' ? $ref.slice($ref.lastIndexOf('/') + 1) : undefined;
}

/** The object behind a reference into the same document; undefined where nothing is. */
export function resolve({ schema, document }: Side): Schema | undefined {
  const { $ref } = schema;
  if (typeof $ref !== 'string') return schema;
  const steps = $ref
    .replace(/^#\//, '')
    .split('/')
    .map((step) => decodeURIComponent(step).replaceAll('~1', '/').replaceAll('~0', '~'));
  const found = steps.reduce<unknown>((at, step) => (at as Document | undefined)?.[step], document);
  return found === undefined ? undefined : resolve({ schema: found as Schema, document });
}
