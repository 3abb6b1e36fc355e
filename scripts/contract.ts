// What of openapi.json and asyncapi.json a client that was generated from an earlier version would break on.
import { type Break, breaksOf, type Direction, type Document, resolve, type Schema } from './compatibility.ts';

type Members = Readonly<Record<string, Schema>>;

const membersOf = (value: unknown) => (value ?? {}) as Members;

export function openApiBreaks(before: Document, after: Document): Break[] {
  const breaks = namesBreaks(before, after);
  const pathsAfter = membersOf(after['paths']);
  for (const [path, methods] of Object.entries(membersOf(before['paths'])))
    for (const [method, operation] of Object.entries(membersOf(methods))) {
      const next = membersOf(pathsAfter[path])[method];
      const place = `${method.toUpperCase()} ${path}`;
      if (next === undefined) breaks.push(`${place}: is gone`);
      else breaks.push(...operationBreaks(operation, next, place));
    }
  return [...new Set(breaks)];

  function* operationBreaks(old: Schema, now: Schema, place: string): Generator<Break> {
    if (old['operationId'] !== now['operationId'])
      yield `${place}: its operationId is ${now['operationId']}, and was ${old['operationId']}`;
    yield* parameterBreaks(old, now, place);
    const [bodyBefore, bodyAfter] = [inside(old['requestBody'], before), inside(now['requestBody'], after)];
    if (bodyAfter?.['required'] === true && bodyBefore?.['required'] !== true) yield `${place}: a body is required now`;
    if (bodyBefore !== undefined && bodyAfter === undefined) yield `${place}: takes no body any more`;
    else if (bodyBefore !== undefined && bodyAfter !== undefined) yield* contentBreaks(bodyBefore, bodyAfter, 'sent', `${place} body`);

    const responsesAfter = membersOf(now['responses']);
    const responsesBefore = membersOf(old['responses']);
    for (const [status, response] of Object.entries(responsesBefore)) {
      const next = inside(responsesAfter[status], after);
      const was = inside(response, before) ?? {};
      // A failure may stop to occur; another one is a problem like any other.
      if (next === undefined) {
        if (status.startsWith('2')) yield `${place} ${status}: is gone`;
        continue;
      }
      yield* contentBreaks(was, next, 'got', `${place} ${status}`);
      for (const header of Object.keys(membersOf(was['headers'])))
        if (!(header in membersOf(next['headers']))) yield `${place} ${status}: the header ${header} is gone`;
    }
    for (const status of Object.keys(responsesAfter))
      if (/^[123d]/.test(status) && !(status in responsesBefore)) yield `${place} ${status}: is new, and no failure`;
  }

  function* parameterBreaks(old: Schema, now: Schema, place: string): Generator<Break> {
    const list = (operation: Schema, document: Document) =>
      ((operation['parameters'] ?? []) as Schema[]).map((part) => inside(part, document) ?? {});
    const [was, is] = [list(old, before), list(now, after)];
    const same = (one: Schema) => (other: Schema) => one['name'] === other['name'] && one['in'] === other['in'];
    for (const parameter of was) {
      const next = is.find(same(parameter));
      const at = `${place} ${parameter['in']} ${parameter['name']}`;
      if (next === undefined) {
        yield `${at}: is gone`;
        continue;
      }
      if (next['required'] === true && parameter['required'] !== true) yield `${at}: is required now`;
      for (const key of ['style', 'explode'])
        if (parameter[key] !== next[key]) yield `${at}: ${key} is ${next[key]}, and was ${parameter[key]}`;
      yield* schemaBreaks(parameter['schema'], next['schema'], 'sent', at);
    }
    for (const parameter of is)
      if (parameter['required'] === true && !was.some(same(parameter)))
        yield `${place} ${parameter['in']} ${parameter['name']}: is new and required`;
  }

  function* contentBreaks(old: Schema, now: Schema, direction: Direction, place: string): Generator<Break> {
    for (const [type, media] of Object.entries(membersOf(old['content']))) {
      const next = membersOf(now['content'])[type];
      if (next === undefined) yield `${place}: ${type} is gone`;
      else yield* schemaBreaks(media['schema'], next['schema'], direction, place);
    }
  }

  function* schemaBreaks(old: unknown, now: unknown, direction: Direction, place: string): Generator<Break> {
    yield* breaksOf(
      { schema: (old ?? {}) as Schema, document: before },
      { schema: (now ?? {}) as Schema, document: after },
      direction,
      place,
    );
  }
}

/** Consumers leave messages alone that they do not know, so that new ones break nothing. */
export function asyncApiBreaks(before: Document, after: Document): Break[] {
  const breaks = namesBreaks(before, after);
  for (const [name, channel] of Object.entries(membersOf(before['channels']))) {
    const next = membersOf(after['channels'])[name];
    if (next === undefined) {
      breaks.push(`channel ${name}: is gone`);
      continue;
    }
    for (const key of ['address', 'bindings']) if (!isSame(channel[key], next[key])) breaks.push(`channel ${name}: ${key} changed`);
    for (const [message, part] of Object.entries(membersOf(channel['messages']))) {
      const [was, is] = [inside(part, before) ?? {}, inside(membersOf(next['messages'])[message], after)];
      if (is === undefined) breaks.push(`message ${message}: is gone`);
      else breaks.push(...messageBreaks(was, is, `message ${message}`));
    }
  }
  for (const [name, operation] of Object.entries(membersOf(before['operations']))) {
    const next = membersOf(after['operations'])[name];
    if (next === undefined) breaks.push(`operation ${name}: is gone`);
    for (const key of ['action', 'channel', 'messages', 'bindings'])
      if (next !== undefined && !isSame(operation[key], next[key])) breaks.push(`operation ${name}: ${key} changed`);
  }
  return [...new Set(breaks)];

  function* messageBreaks(was: Schema, is: Schema, place: string): Generator<Break> {
    for (const key of ['name', 'contentType', 'correlationId']) if (!isSame(was[key], is[key])) yield `${place}: ${key} changed`;
    for (const key of ['headers', 'payload'])
      yield* breaksOf(
        { schema: (was[key] ?? {}) as Schema, document: before },
        { schema: (is[key] ?? {}) as Schema, document: after },
        'got',
        `${place} ${key}`,
      );
  }
}

const isSame = (one: unknown, other: unknown) => JSON.stringify(one) === JSON.stringify(other);

function inside(part: unknown, document: Document): Schema | undefined {
  return part === undefined ? undefined : resolve({ schema: part as Schema, document });
}

/** Generated types have the names of their schemas. */
function namesBreaks(before: Document, after: Document): Break[] {
  const schemas = (document: Document) => Object.keys(membersOf(membersOf(document['components'])['schemas']));
  const names = schemas(after);
  return schemas(before)
    .filter((name) => !names.includes(name))
    .map((name) => `schema ${name}: is gone`);
}
