// What names one user and no other: email, username, external id.
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { startService, type TestService } from '../support/service.ts';

const base = { name: 'Ann', surname: 'Lee', password: 'correct horse' };
type Taken = { readonly extra: readonly { key: string; message: string }[] };
const keysOf = ({ extra }: Taken) => extra.map(({ key }) => key);

suite('identifiers', () => {
  let service: TestService;
  before(async () => {
    service = await startService({ RUN: 'api' });
  });
  after(() => service[Symbol.asyncDispose]());

  const create = (fields: object) => service.call('POST', '/users/', { ...base, ...fields });
  const put = (id: number, fields: object) => service.call('PUT', `/users/${id}`, fields);
  const identifiersOf = (id: number) => service.database.query('select kind, value from identifier where user_id = $1 order by kind', [id]);

  test('are unique in whatever form they are typed, and shown as they were typed', async () => {
    const first = await create({ email: 'Strauß@Müller.example', username: 'Strauß', external_id: 'aB-1' });
    assert.equal(first.status, 201);
    const { email, username, external_id } = first.json;
    assert.deepEqual([email, username, external_id], ['Strauß@Müller.example', 'Strauß', 'aB-1']);
    const second = await create({ email: 'STRAUSS@xn--mller-kva.example', username: 'ＳＴＲＡＵＳＳ', external_id: 'aB-1' });
    assert.deepEqual([second.status, second.json.code], [409, 'already_taken']);
    assert.deepEqual(keysOf(second.json), ['email', 'external_id', 'username']);
    assert.equal((await create({ external_id: 'ab-1' })).status, 201, 'ids of other systems may differ by their case alone');
  });

  test('that are taken leave no trace of the change: no user, no event, no identifier', async () => {
    await create({ email: 'trace@example.com' });
    const count = () =>
      service.database.query(
        'select (select count(*) from "user") as users, (select count(*) from outbox) as events, (select count(*) from identifier) as keys',
      );
    const before = await count();
    assert.equal((await create({ email: 'trace@example.com', username: 'trace-of-nobody' })).status, 409);
    assert.deepEqual(await count(), before);
  });

  test('of two creates at once are one 201 and one 409', async () => {
    for (let n = 0; n < 10; n += 1) {
      const answers = await Promise.all([1, 2, 3].map((one) => create({ email: `race${n}@example.com`, username: `race-${n}-of-${one}` })));
      assert.deepEqual(answers.map(({ status }) => status).sort(), [201, 409, 409]);
      const taken = answers.find(({ status }) => status === 409);
      assert.deepEqual(keysOf(taken?.json), ['email']);
    }
  });

  test('are exchanged by neither of two users at once, and nobody hangs', async () => {
    const [one, other] = await Promise.all([create({ email: 'swap1@example.com' }), create({ email: 'swap2@example.com' })]);
    const answers = await Promise.all([
      put(one.json.id, { email: 'swap2@example.com' }),
      put(other.json.id, { email: 'swap1@example.com' }),
    ]);
    for (const { status } of answers) assert.ok(status === 200 || status === 409, String(status));
    const emails = [await service.call('GET', `/users/${one.json.id}`), await service.call('GET', `/users/${other.json.id}`)].map(
      ({ json }) => json.email,
    );
    assert.equal(new Set(emails).size, 2, emails.join(', '));
  });

  test('are free again once they are given up, or their user is gone', async () => {
    const { json } = await create({ email: 'free@example.com', username: 'free-one', external_id: 'free' });
    assert.equal((await put(json.id, { email: 'other@example.com' })).status, 200);
    assert.equal((await create({ email: 'free@example.com' })).status, 201);
    await service.call('PATCH', `/users/${json.id}`, { username: null });
    assert.deepEqual(await identifiersOf(json.id), [
      { kind: 'email', value: 'other@example.com' },
      { kind: 'external_id', value: 'free' },
    ]);
    await service.call('DELETE', `/users/${json.id}`);
    assert.deepEqual(await identifiersOf(json.id), []);
    assert.equal((await create({ email: 'other@example.com', username: 'free-one', external_id: 'free' })).status, 201);
  });

  test('may be typed anew by the user who has them', async () => {
    const { json } = await create({ email: 'case@example.com', username: 'case-one', email_verified_at: '2025-01-01T10:00:00Z' });
    const answer = await put(json.id, { email: 'CASE@example.com', username: 'Case-One' });
    assert.deepEqual([answer.status, answer.json.email, answer.json.username], [200, 'CASE@example.com', 'Case-One']);
    assert.equal(answer.json.email_verified_at, null);
  });

  test('that nobody has since a row was deleted by hand are given to who asks', async () => {
    const { json } = await create({ email: 'hand@example.com' });
    await service.database.query('delete from "user" where id = $1', [json.id]);
    const again = await create({ email: 'hand@example.com' });
    assert.equal(again.status, 201);
    assert.deepEqual(await identifiersOf(json.id), []);
  });

  test('a username that looks like another is taken, unless USERNAME_CONFUSABLES=allow', async () => {
    assert.equal((await create({ username: 'paypal' })).status, 201);
    for (const username of ['раураӀ', 'paypaI', 'ｐaypal']) {
      const answer = await create({ username });
      assert.deepEqual([answer.status, keysOf(answer.json)], [409, ['username']], username);
    }
    await using lenient = await startService({ RUN: 'api', USERNAME_CONFUSABLES: 'allow' });
    for (const [username, status] of [
      ['paypal', 201],
      ['раураӀ', 201],
      ['PayPal', 409],
    ] as const)
      assert.equal((await lenient.call('POST', '/users/', { ...base, username })).status, status, username);
  });

  test('a new email ends the proof of the old one, and comes with its own', async () => {
    const { json } = await create({ email: 'proof@example.com', email_verified_at: '2025-01-01T10:00:00+02:00' });
    assert.equal(json.email_verified_at, '2025-01-01T08:00:00.000000Z');
    assert.equal((await put(json.id, { name: 'Bea' })).json.email_verified_at, '2025-01-01T08:00:00.000000Z');
    assert.equal((await put(json.id, { email: 'proof2@example.com' })).json.email_verified_at, null);
    const both = await put(json.id, { email: 'proof3@example.com', email_verified_at: '2025-02-01T10:00:00Z' });
    assert.equal(both.json.email_verified_at, '2025-02-01T10:00:00.000000Z');
    const [row] = await service.database.query<{ changed: string[] }>(
      `select data -> 'changed' as changed from outbox where aggregate_id = $1 order by position desc offset 1 limit 1`,
      [json.id],
    );
    assert.deepEqual(row?.changed, ['email', 'email_verified_at']);
  });
});

suite('attributes', () => {
  test('are any JSON object of at most 16 KiB, and come back as they were sent', async () => {
    await using service = await startService({ RUN: 'api' });
    const send = (attributes: unknown) => service.call('POST', '/users/', { ...base, attributes });
    for (const attributes of [
      {},
      { a: null, b: [1, 'x', { c: true }], 'ü "': 1.5, d: -0.25e-3 },
      { constructor: 1 },
      { text: 'x'.repeat(16_370) },
    ])
      assert.deepEqual((await send(attributes)).json.attributes, attributes);
    for (const attributes of [
      ...[[], 'x', 1, true, { text: 'x'.repeat(16_380) }, { text: 'ü'.repeat(8_200) }, { a: 'b\u0000' }, { 'b\u0000': 1 }, { a: 1e300 }],
      ...[{ a: 2 ** 53 }, JSON.parse(`${'{"a":'.repeat(31)}1${'}'.repeat(31)}`)],
    ]) {
      const answer = await send(attributes);
      assert.deepEqual([answer.status, answer.json.code], [400, 'validation_failed'], JSON.stringify(attributes).slice(0, 100));
    }
  });

  test('are held against the schema of USER_ATTRIBUTES_SCHEMA, which the document shows', async () => {
    const { mkdtemp, rm, writeFile } = await import('node:fs/promises');
    const { tmpdir } = await import('node:os');
    const folder = await mkdtemp(`${tmpdir()}/attributes-`);
    try {
      const schema = {
        type: 'object',
        properties: { department: { $ref: '#/$defs/department' }, since: { type: 'string', format: 'date' } },
        required: ['department'],
        unknown_keyword: 1,
        $defs: { department: { enum: ['Sales', 'IT'] } },
      };
      await writeFile(`${folder}/schema.json`, JSON.stringify(schema));
      await using service = await startService({ RUN: 'api', USER_ATTRIBUTES_SCHEMA: `${folder}/schema.json` });
      const send = (attributes: unknown) => service.call('POST', '/users/', { ...base, attributes });
      assert.equal((await send({ department: 'IT', other: 1 })).status, 201);
      assert.equal((await service.call('POST', '/users/', base)).status, 201, 'who brings none is not asked');
      const refused = await send({ department: 'HR', since: 'yesterday' });
      assert.equal(refused.status, 400);
      assert.deepEqual(keysOf(refused.json).sort(), ['attributes.department', 'attributes.since']);
      assert.deepEqual(keysOf((await send({})).json), ['attributes.department']);
      const document = (await service.call('GET', '/schema/openapi.json')).json;
      const [shown] = document.components.schemas.NewUser.properties.attributes.allOf;
      assert.deepEqual(shown.properties, schema.properties);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
