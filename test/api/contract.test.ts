// The service held against its own openapi.json: whatever is sent, it answers as that document says, refuses what breaks a
// rule of it and accepts what keeps them all. A failure names the operation, the request and the seed to run it again.
import assert from 'node:assert/strict';
import { METHODS } from 'node:http';
import { after, before, suite, test } from 'node:test';
import fc from 'fast-check';
import { type Call, type Example, normalised, type Operation, operations, type Reply } from '../support/contract/document.ts';
import { boundaryExamples, describe, invalidExamples, oddExamples, validExamples } from '../support/contract/requests.ts';
import { assertDocumented, assertProblem, createSender, essence } from '../support/contract/verdict.ts';
import { startService, type TestService } from '../support/service.ts';

/** Of a user who stays. */
const named = { email: 'named@example.com', username: 'named', external_id: 'named' };

/** Examples of each kind for each operation; FUZZ_SEED repeats a run. */
const runs = Number(process.env['FUZZ_RUNS'] ?? 300);
const parameters = { numRuns: runs, ...(process.env['FUZZ_SEED'] !== undefined && { seed: Number(process.env['FUZZ_SEED']) }) };

suite('the contract of openapi.json', () => {
  let service: TestService;
  let client: ReturnType<typeof createSender>;
  let existingId: number | undefined;
  let existingLetter: string | undefined;
  let letters = 0;
  before(async () => {
    service = await startService();
    client = createSender(service.url);
    await service.call('POST', '/users/', { name: 'Ann', surname: 'Lee', password: 'correct horse', ...named });
    for (let n = 0; n < 20; n += 1) existingId = (await service.createUser()).id;
  });
  after(async () => {
    client[Symbol.dispose]();
    await service[Symbol.asyncDispose]();
  });

  /** What stands for a parameter that was left in its braces; made where the last one is gone. */
  async function existing({ path }: Operation): Promise<Readonly<Record<string, string>>> {
    if (!path.startsWith('/subscriptions/')) {
      existingId ??= (await service.createUser()).id;
      return { id: String(existingId), email: named.email, username: named.username, external_id: named.external_id };
    }
    if (existingLetter === undefined) {
      const event = {
        event_id: crypto.randomUUID(),
        event_type: 'user.deleted',
        occurred_at: '2025-01-01T10:00:00.000000Z',
        trace_id: 't',
      };
      const body = JSON.stringify({ ...event, data: { user_id: 2 ** 40 + letters, version: 1 } });
      letters += 1;
      const [row] = await service.database.query<{ id: string }>(
        `insert into dead_letter (attempts, reason, body) values (1, 'a test', convert_to($1, 'UTF8')) returning id`,
        [body],
      );
      existingLetter = row?.id;
    }
    return { name: 'rollcall.user_events', id: existingLetter ?? '' };
  }

  // Sends it, what exists put in where the target leaves a name; what fails is told with the request.
  async function ask(operation: Operation, { call, about }: Example, verdict: (reply: Reply) => void | Promise<void>): Promise<void> {
    const there = await existing(operation);
    const sent: Call = { ...call, target: call.target.replace(/\{(\w+)\}/g, (_, name: string) => there[name] ?? '') };
    let reply: Reply | undefined;
    try {
      reply = await client.send(sent);
      if (reply.status < 300 && ['redriveDeadLetter', 'deleteDeadLetter'].includes(operation.operationId)) existingLetter = undefined;
      else if (reply.status === 200 && sent.method === 'DELETE') existingId = undefined;
      await verdict(reply);
    } catch (error) {
      const answer =
        reply === undefined ? 'no answer' : `${reply.status} ${reply.headers['content-type']}: ${reply.bytes.subarray(0, 2000)}`;
      throw new Error(`${operation.operationId}, ${about}: ${(error as Error).message}\n  ${describe(sent)}\n  -> ${answer}`, {
        cause: error,
      });
    }
  }

  async function contents(): Promise<unknown> {
    return service.database.query('select count(*), sum(version), max(id), (select count(*) from dead_letter) as letters from "user"');
  }

  // Reading first, while there is little to read.
  for (const operation of operations.toSorted((one, other) => Number(other.method === 'GET') - Number(one.method === 'GET'))) {
    const { operationId, method, path, responses } = operation;
    const title = `${method} ${path} (${operationId})`;

    test(`${title} accepts every valid request and answers as documented`, async () => {
      const property = fc.asyncProperty(validExamples(operation), (example) =>
        ask(operation, example, (reply) => {
          const body = assertDocumented(operation, reply);
          // An id that keeps its rule may still be nobody's.
          if (reply.status === 404 && count(example.call.target, '{') < count(path, '{')) return;
          // Random filters and sorts may not go together.
          if (reply.status === 400 && (body as { code: string }).code === 'unsupported_query') return;
          // Two random users may want the same.
          if (reply.status === 409 && (body as { code: string }).code === 'already_taken') return;
          assert.ok(reply.status >= 200 && reply.status < 300, `it was refused with ${reply.status}`);
          const { prefers } = example;
          if (prefers !== undefined && responses[reply.status]?.content?.[prefers] !== undefined) {
            assert.equal(essence(reply.headers['content-type']), prefers, 'the media type with the greatest q is chosen');
          }
          assertEcho(operation, example, body);
        }),
      );
      const examples = boundaryExamples(operation).valid.map((example): [Example] => [example]);
      await fc.assert(property, { ...parameters, examples, numRuns: runs + examples.length });
    });

    test(`${title} refuses every invalid request with a documented problem, and changes nothing`, async () => {
      const property = fc.asyncProperty(invalidExamples(operation), async (example) => {
        await existing(operation);
        const before = await contents();
        await ask(operation, example, async (reply) => {
          assertDocumented(operation, reply);
          assert.ok(reply.status >= 400, `it was accepted with ${reply.status}`);
          assert.deepEqual(await contents(), before);
        });
      });
      const examples = boundaryExamples(operation).invalid.map((example): [Example] => [example]);
      await fc.assert(property, { ...parameters, examples, numRuns: runs + examples.length });
    });

    test(`${title} answers as documented where the document leaves open what is meant`, async () => {
      const property = fc.asyncProperty(oddExamples(operation), (example) =>
        ask(operation, example, (reply) => {
          assertDocumented(operation, reply);
        }),
      );
      await fc.assert(property, parameters);
    });

    if (method !== 'GET') continue;
    test(`HEAD ${path} answers as GET does, without the body`, async () => {
      const property = fc.asyncProperty(fc.oneof(validExamples(operation), invalidExamples(operation)), async (example) => {
        const replies: Reply[] = [];
        for (const name of ['GET', 'HEAD']) {
          await ask(operation, { ...example, call: { ...example.call, method: name } }, (reply) => {
            replies.push(reply);
          });
        }
        const [ofGet, ofHead] = replies as [Reply, Reply];
        const shown = ({ status, headers }: Reply) => [status, headers['content-type'], headers['vary']];
        assert.deepEqual(shown(ofHead), shown(ofGet));
        assert.equal(ofHead.bytes.length, 0);
      });
      await fc.assert(property, { ...parameters, numRuns: Math.ceil(runs / 3) });
    });
  }

  for (const [path, known] of Map.groupBy(operations, (operation) => operation.path)) {
    const [operation] = known as [Operation];
    const documented = known.map(({ method }) => method);
    const allowed = [...documented, 'OPTIONS', ...(documented.includes('GET') ? ['HEAD'] : [])].sort();
    const allowOf = ({ headers }: Reply) =>
      (headers['allow'] ?? '')
        .split(',')
        .map((method) => method.trim())
        .sort();
    // Node ends the connection at CONNECT, before any application.
    const others = METHODS.filter((method) => method !== 'CONNECT' && !allowed.includes(method));

    test(`${path} refuses each method that is not documented with 405, whatever comes with it, and Allow lists those that are`, async () => {
      const anything = fc.tuple(fc.constantFrom(...others), fc.oneof(validExamples(operation), ...known.map(oddExamples)));
      const property = fc.asyncProperty(anything, async ([method, { call }]) => {
        await ask(operation, { call: { ...call, method }, about: 'a method that is not documented' }, (reply) => {
          assert.equal(reply.status, 405);
          assert.deepEqual(allowOf(reply), allowed);
          if (method !== 'HEAD') assert.deepEqual(assertProblem(reply).code, 'method_not_allowed');
        });
      });
      const plain = (method: string): [[string, Example]] => [[method, { call: { method, target: path, headers: {} }, about: '' }]];
      await fc.assert(property, { ...parameters, examples: others.map(plain), numRuns: runs + others.length });
    });

    test(`OPTIONS ${path} lists the documented methods`, () =>
      ask(operation, { call: { method: 'OPTIONS', target: path, headers: {} }, about: 'OPTIONS' }, (reply) => {
        assert.deepEqual([reply.status, allowOf(reply), reply.bytes.length], [204, allowed, 0]);
      }));
  }

  test('a user created from any valid body is found at its Location, and gone after DELETE', async () => {
    const find = (id: string) => operations.find(({ operationId }) => operationId === id) as Operation;
    const create = find('createUser');
    const property = fc.asyncProperty(validExamples(create), (example) =>
      ask(create, example, async (created) => {
        const body = assertDocumented(create, created);
        if (created.status === 409) return;
        const target = created.headers['location'] ?? '';
        for (const [id, status] of [
          ['getUser', 200],
          ['deleteUser', 200],
          ['getUser', 404],
          ['deleteUser', 404],
        ] as const) {
          const operation = find(id);
          const reply = await client.send({ method: operation.method, target, headers: {} });
          assert.equal(reply.status, status, `${operation.method} ${target}`);
          const answer = assertDocumented(operation, reply);
          if (id === 'getUser' && status === 200) assert.deepEqual(answer, body);
        }
        const gone = await client.send({ method: 'PUT', target, headers: { 'content-type': 'application/json' }, body: Buffer.from('{}') });
        assert.equal(gone.status, 404);
      }),
    );
    await fc.assert(property, parameters);
  });
});

const count = (text: string, part: string) => text.split(part).length - 1;

// What was sent comes back as the document says it is read, in the fields that the answer shares with the request.
function assertEcho({ method, requestBody }: Operation, { sent }: Example, answered: unknown): void {
  if (requestBody === undefined) return;
  const [media] = Object.values(requestBody.content);
  const read = normalised(media?.schema ?? {}, sent) as Record<string, unknown>;
  const shown = answered as Record<string, unknown>;
  for (const [name, value] of Object.entries(read)) {
    if (value === null || !Object.hasOwn(shown, name)) continue;
    // A merge patch keeps the members that it does not name.
    if (name === 'attributes' && method === 'PATCH') continue;
    if (name === 'email_verified_at') assert.equal(Date.parse(String(shown[name])), Date.parse(String(value)), `${name} is the same time`);
    else assert.deepEqual(shown[name], value, `${name} comes back as it is read`);
  }
}
