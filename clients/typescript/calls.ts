// Calls every operation through a client that was generated from openapi.json, and prints what came of each as a line of JSON.
// test/api/client.test.ts compiles it beside the generated `schema.d.ts`.
import createClient from 'openapi-fetch';
import type { components, paths } from './schema.js';

type User = components['schemas']['User'];

const [baseUrl = ''] = process.argv.slice(2);
// An answer that may be JSON is.
type Media = 'application/json' | 'application/problem+json' | 'application/x-ndjson' | 'text/plain';
const client = createClient<paths, Media>({ baseUrl, querySerializer: { array: { style: 'form', explode: false } } });

function told<Data>(operation: string, { data, error, response }: { data?: Data; error?: unknown; response: Response }): Data {
  if (data === undefined) throw new Error(`${operation}: ${response.status} ${JSON.stringify(error)}`);
  console.log(JSON.stringify({ operation, status: response.status, data }));
  return data;
}

function refused(operation: string, { error, response }: { error?: { code: string }; response: Response }): void {
  console.log(JSON.stringify({ operation, status: response.status, data: error?.code }));
}

const identifiers = { email: 'ada@example.com', username: 'ada', external_id: 'a-1' };
const created: User = told(
  'createUser',
  await client.POST('/users/', {
    body: { name: 'Ada', surname: 'Lovelace', password: 'correct horse battery', ...identifiers, attributes: { floor: 3 } },
  }),
);
const id: number = created.id;
const path = { id };
told('getUser', await client.GET('/users/{id}', { params: { path } }));
told('getUser', await client.GET('/users/{id}', { params: { path, query: { fields: ['name', 'version'] } } }));
told('getUserByEmail', await client.GET('/users/by-email/{email}', { params: { path: { email: 'ADA@example.com' } } }));
told('getUserByUsername', await client.GET('/users/by-username/{username}', { params: { path: { username: 'Ada' } } }));
told('getUserByExternalId', await client.GET('/users/by-external-id/{external_id}', { params: { path: { external_id: 'a-1' } } }));
const { users: found } = told('lookUpUsers', await client.POST('/users/lookup', { body: { ids: [id], emails: ['ada@example.com'] } }));
if (found.length !== 1) throw new Error(`The lookup found ${found.length} users.`);
told('updateUser', await client.PUT('/users/{id}', { params: { path }, body: { surname: 'King', password: null } }));
const header = { 'if-match': '"2"' };
const patch = { params: { path, header }, body: { attributes: { department: 'Sales' }, locale: null } };
told('patchUser', await client.PATCH('/users/{id}', patch));
const page = told('listUsers', await client.GET('/users/', { params: { query: { page: 1, per_page: 100 } } }));
const names: string[] = page.users.map(({ name, surname }) => `${name} ${surname}`);
if (!names.includes('Ada King')) throw new Error(`The page holds ${names.join(', ')}.`);
told('getUsersSnapshot', await client.GET('/users/snapshot', { parseAs: 'text' }));
told('deleteUser', await client.DELETE('/users/{id}', { params: { path } }));

const seen: components['schemas']['Event'][] = [];
for (let after: string | undefined; seen.length < 2; ) {
  const query = { limit: 1, wait: 10, user_id: id, types: ['user.created', 'user.deleted'] as const };
  const events = await client.GET('/events/', {
    params: { query: { ...query, types: [...query.types], ...(after !== undefined && { after }) } },
  });
  const { events: some, next }: components['schemas']['FeedPage'] = told('listEvents', events);
  seen.push(...some);
  after = next;
}
const types: string[] = seen.map(({ event_type }) => event_type);
if (types.join() !== 'user.created,user.deleted') throw new Error(`The events are ${types.join(', ')}.`);

const { subscriptions } = told('listSubscriptions', await client.GET('/subscriptions/'));
const name: string = subscriptions[0]?.name ?? '';
const subscription = { params: { path: { name } } };
told('listDeadLetters', await client.GET('/subscriptions/{name}/dead-letters', subscription));
const attempts = { params: { path: { name }, query: { trace_id: 'none', limit: 1 } } };
told('listFailedAttempts', await client.GET('/subscriptions/{name}/failed-attempts', attempts));
const letter = { params: { path: { name, id: 1 } } };
refused('redriveDeadLetter', await client.POST('/subscriptions/{name}/dead-letters/{id}/redrive', letter));
refused('deleteDeadLetter', await client.DELETE('/subscriptions/{name}/dead-letters/{id}', letter));

told('getHealth', await client.GET('/health'));
told('getReady', await client.GET('/ready'));
told('getMetrics', await client.GET('/metrics', { parseAs: 'text' }));

const missing = await client.GET('/users/{id}', { params: { path } });
const code: string | undefined = missing.error?.code;
console.log(JSON.stringify({ operation: 'getUser', status: missing.response.status, data: code }));
