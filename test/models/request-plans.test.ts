// What each statement that a request can run reads of large tables, as PostgreSQL itself noted the plan while the service ran it.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { withoutIndexes } from '../../harness/bulk.ts';
import { endOfLog, explainSettings, logSettings, plansSince } from '../../harness/noted-plans.ts';
import { peopleSql } from '../../harness/people.ts';
import { migrate } from '../../src/platform/db/migrate.ts';
import { queue } from '../../src/platform/events/contract/topology.ts';
import { formatCursor, parseCursor } from '../../src/platform/events/store/cursor.ts';
import { formatKeyCursor } from '../../src/platform/http/cursor.ts';
import { count, draw, type Plan } from '../support/plans.ts';
import { startPostgres, versions } from '../support/postgres.ts';
import { startService, type TestService } from '../support/service.ts';

const users = 200_000;
const letters = 20_000;
/** Rows that all nodes of a plan may handle. A filter of the log looks at 20,000 positions, a page by number passes 10,000 users. */
const rowsMax = 150_000;

const seed = [
  `insert into "user" (name, surname, password, email, email_key, username, username_key, status, attributes)
   select name, surname, 'x', email, email, username, username, status, jsonb_build_object('team', 'team ' || n % 7, 'city', n)
   from (${peopleSql(`generate_series(1, ${users})`)}) as people order by n`,
  `insert into identifier (kind, value, user_id) select kind, 'user' || n, n from generate_series(1, ${users}) as n, unnest(array['email', 'username', 'username_skeleton']) as kind`,
  `insert into user_login (user_id, last_login_at) select n, now() from generate_series(1, ${users}) as n`,
  `insert into event (position, logged_at, event_id, event_type, subject, occurred_at, trace_id, traceparent, data)
   select n, now() - interval '1 hour', gen_random_uuid(), case n when 150000 then 'user.deleted' else 'user.created' end, 'user:' || n,
     now(), 'trace-' || n, '', json_build_object('user_id', n, 'version', 1, 'changed', json_build_array('name'))
   from generate_series(1, ${users}) as n`,
  `update event_state set logged_position = ${users}, published_position = ${users}, logged_at = now(), published_at = now()`,
  `insert into inbox (event_id, trace_id, subject, version) select event_id, trace_id, subject, 1 from event`,
  `insert into dead_letter (message_id, event_id, event_type, trace_id, subject, version, attempts, reason, body)
   select n::text, gen_random_uuid(), 'user.updated', 'trace-' || n, 'user:' || n, 9, 1, 'a test', 'x' from generate_series(1, ${letters}) as n`,
  `insert into failed_attempt (subscription, event_id, event_type, trace_id, attempt, reason)
   select '${queue}', gen_random_uuid(), 'user.updated', 'trace-' || n, 1, 'a test' from generate_series(1, ${letters}) as n`,
];

/** Every combination of sort and filter that lists have, with many matches, few and none. */
const lists: readonly string[] = ['', '&status=active', '&status=suspended'].flatMap((status) => {
  const sorts = ['id', 'created_at', 'updated_at', 'name', 'surname', 'email', 'username', 'name,surname', 'surname,name'].flatMap(
    (sort) => [sort, `-${sort.replace(',', ',-')}`],
  );
  const middle = new Date(Date.now() - 30_000).toISOString();
  const exact = [
    'email=user7',
    'username=user7&q=person',
    'external_id=nobody',
    `ids=${Array.from({ length: 100 }, (_, n) => n * 900 + 1).join(',')}`,
  ];
  const texts = ['a', 'zz', 'ann', 'anna', 'anderson', 'company1.example', 'p199999@', 'nobody at all', '王', 'иван'];
  return [
    ...sorts.map((sort) => `sort=${sort}${status}`),
    ...['created', 'updated'].flatMap((span) =>
      [`_at`, `-_at`].flatMap((sort) =>
        [
          `${span}_after=2020-01-01T00:00:00Z`,
          `${span}_before=2020-01-01T00:00:00Z`,
          `${span}_after=${middle}&${span}_before=2100-01-01T00:00:00Z`,
        ].map((bounds) => `${bounds}&sort=${sort.replace('_at', `${span}_at`)}${status}`),
      ),
    ),
    ...texts.flatMap((text) => ['', '&sort=id', '&sort=-id'].map((sort) => `q=${encodeURIComponent(text)}${sort}${status}`)),
    ...['team=team 1', 'team=none', 'city=77'].flatMap((given) =>
      ['id', '-id'].map((sort) => `attributes.${encodeURI(given)}&sort=${sort}${status}`),
    ),
    ...exact.flatMap((given) =>
      ['', '&sort=-name', '&sort=email&created_after=2020-01-01T00:00:00Z&attributes.team=team%201'].map(
        (more) => `${given}${more}${status}`,
      ),
    ),
  ];
});

type Request = readonly [method: string, path: string, body?: object, headers?: Record<string, string>];

const identifiers = (name: string) => ({ email: `${name}@example.com`, username: name, external_id: name });

/** By the name of the operation in the OpenAPI document, so that none is forgotten. */
function requestsOf(eventsAfter: (position: number) => string): Readonly<Record<string, readonly Request[]>> {
  const get = (...paths: string[]) => paths.map((path): Request => ['GET', path]);
  const usersAfter = (id: number) => formatKeyCursor('users', String(id));
  const letter = `/subscriptions/${queue}/dead-letters`;
  return {
    createUser: [
      ['POST', '/users/', { name: 'John', surname: 'Doe', password: 'correct horse' }],
      ...[1, 2].map(
        (): Request => ['POST', '/users/', { name: 'John', surname: 'Doe', password: 'correct horse', ...identifiers('taken') }],
      ),
    ],
    getUser: get('/users/1', `/users/${users / 2}`, '/users/900000'),
    listUsers: get(
      '/users/',
      ...[10, 100].flatMap((size) => [2, users / size / 2, users / size, users].map((page) => `/users/?page=${page}&per_page=${size}`)),
      '/users/?limit=1000',
      ...[0, users / 2, users - 10].flatMap((id) => [false, true].map((total) => `/users/?after=${usersAfter(id)}&count=${total}`)),
      ...lists.flatMap((list) =>
        ['', '&limit=100&count=true', '&page=50&per_page=100', '&page=100&per_page=100'].map((page) => `/users/?${list}${page}`),
      ),
    ),
    updateUser: [
      ['PUT', `/users/${users / 2}`, { name: 'Jane' }],
      ['PUT', `/users/${users / 2}`, { name: 'Jane' }],
      ['PUT', `/users/${users / 2 + 1}`, { password: 'battery staple' }],
      ['PUT', '/users/900000', { name: 'Jane' }],
      ['PUT', `/users/${users / 2 + 3}`, identifiers('first')],
      ['PUT', `/users/${users / 2 + 3}`, identifiers('second')],
      ['PUT', `/users/${users / 2 + 4}`, identifiers('second')],
      ['PUT', `/users/${users / 2}`, { name: 'Joan' }, { 'if-match': '"1"' }],
    ],
    getUserByEmail: get('/users/by-email/nobody@example.com', '/users/by-email/second@example.com'),
    getUserByUsername: get('/users/by-username/nobody', '/users/by-username/user7'),
    getUserByExternalId: get('/users/by-external-id/second'),
    lookUpUsers: [
      ['POST', '/users/lookup', { ids: Array.from({ length: 500 }, (_, n) => n * 300 + 1), emails: ['second@example.com'] }],
      ['POST', '/users/lookup', { usernames: Array.from({ length: 1000 }, (_, n) => `user${n * 100}`) }],
    ],
    patchUser: [
      ['PATCH', `/users/${users / 2}`, { name: 'Jill', email: null }],
      ['PATCH', `/users/${users / 2}`, { attributes: { a: 1 } }],
      ['PATCH', `/users/${users / 2}`, [{ op: 'add', path: '/attributes/b', value: 2 }], { 'content-type': 'application/json-patch+json' }],
    ],
    deleteUser: [
      ['DELETE', `/users/${users / 2 + 2}`],
      ['DELETE', `/users/${users / 2 + 3}`],
      ['DELETE', '/users/900000'],
    ],
    listEvents: get(
      '/events/?limit=1000',
      ...[0, users / 2, users - 10].flatMap((position) =>
        ['', '&user_id=7', `&user_id=${users / 2 + 5}`, '&types=user.deleted', '&types=user.updated&user_id=7'].map(
          (filter) => `/events/?after=${eventsAfter(position)}${filter}`,
        ),
      ),
    ),
    getUsersSnapshot: get('/users/snapshot'),
    listSubscriptions: get('/subscriptions/'),
    listDeadLetters: get(letter, `${letter}?after=${letters / 2}&limit=100`),
    redriveDeadLetter: [['POST', `${letter}/7/redrive`]],
    deleteDeadLetter: [
      ['DELETE', `${letter}/8`],
      ['DELETE', `${letter}/900000`],
    ],
    listFailedAttempts: get(`/subscriptions/${queue}/failed-attempts?trace_id=trace-9`),
    getHealth: get('/health'),
    getReady: get('/ready'),
    getMetrics: get('/metrics'),
  };
}

const operationIds = Object.values(JSON.parse(readFileSync('openapi.json', 'utf8')).paths as Record<string, object>).flatMap((path) =>
  Object.values(path as Record<string, { operationId?: string }>).flatMap(({ operationId }) => operationId ?? []),
);

for (const version of versions) {
  suite(`on PostgreSQL ${version}`, async () => {
    const server = await startPostgres(version, {
      settings: {
        ...logSettings,
        ...explainSettings,
        'auto_explain.log_timing': 'off',
        'auto_explain.log_nested_statements': 'on',
        'auto_explain.log_format': 'json',
      },
    });
    // Its own statements are not noted.
    const client = new pg.Client({ connectionString: server.url, options: '-c auto_explain.log_min_duration=-1' });
    await client.connect();
    after(async () => {
      await client.end();
      await server[Symbol.asyncDispose]();
    });
    await migrate({ url: server.url, applicationName: 'test', connectTimeoutMs: 60_000, statementTimeoutMs: 0 });
    await withoutIndexes(query, ['user_search', '"user"'], async () => {
      for (const text of seed) await client.query(text);
    });
    await client.query('vacuum analyze');

    test('every operation of the document is asked', () => {
      assert.deepEqual(Object.keys(requestsOf(() => '')).sort(), operationIds.toSorted());
    });

    test('no statement that a request can run scans or sorts what grows', async () => {
      const folder = await mkdtemp(join(tmpdir(), 'rollcall-attributes-'));
      await using stack = new AsyncDisposableStack();
      stack.defer(() => rm(folder, { recursive: true }));
      const schema = join(folder, 'attributes.json');
      await writeFile(schema, JSON.stringify({ properties: { team: { 'x-indexed': true }, city: { 'x-indexed': true } } }));
      const service = stack.use(
        await startService({ DATABASE_URL: server.url, RATE_LIMIT_PER_MINUTE: '0', USER_ATTRIBUTES_SCHEMA: schema }),
      );
      while (
        (
          await query(
            "select from pg_index join pg_class on pg_class.oid = indexrelid where relname like 'user_attribute_%' and indisvalid",
          )
        ).length < 2
      )
        await sleep(50);
      const end = await endOfLog(query);
      await askAll(service);
      const noted = await plansSince(query, end);
      const plans = noted.map((plan) => {
        const { 'Query Text': text, Plan } = JSON.parse(plan) as { 'Query Text': string; Plan: Plan };
        return { text, plan: Plan };
      });
      for (const part of [
        'any($1::bigint[])',
        'insert into "user"',
        'update "user"',
        'delete from "user"',
        'user_count_sum',
        'from identifier where',
        'user_search_entries',
        '#>>',
        'from event ',
      ])
        assert.ok(
          plans.some(({ text }) => text.includes(part)),
          part,
        );
      for (const { text, plan } of plans) {
        const drawn = `${text}\n${draw(plan)}`;
        assert.ok(count(plan) <= rowsMax, `${count(plan)} rows: ${drawn}`);
        assert.doesNotMatch(drawn, /^ *Seq Scan on (?:user|user_search|event|inbox|dead_letter|failed_attempt)\b/m);
      }
    });

    async function askAll(service: TestService): Promise<void> {
      const { json } = await service.call('GET', '/events/?limit=1');
      const cursor = parseCursor(json.next);
      assert.ok(cursor !== undefined);
      const requests = requestsOf((position) => formatCursor({ ...cursor, position: String(position) }));
      for (const [method, path, body, headers] of Object.values(requests).flat()) {
        const { status, text } = await service.call(method, path, body, headers);
        assert.ok(status < 500, `${method} ${path}: ${text}`);
      }
    }

    async function query<Row extends object>(text: string, values?: unknown[]): Promise<Row[]> {
      return (await client.query(text, values)).rows;
    }
  });
}
