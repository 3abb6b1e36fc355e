// The check that refuses what breaks clients (`npm run check:contract`), held against changes that do and that do not.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { suite, test } from 'node:test';
import { asyncApiBreaks, openApiBreaks } from '../../scripts/contract.ts';

// biome-ignore lint/suspicious/noExplicitAny: each change reaches for a place of its own.
type Tree = any;

const read = (name: string): Tree => JSON.parse(readFileSync(new URL(`../../${name}`, import.meta.url), 'utf8'));
const schemas = (document: Tree) => document.components.schemas;
const parameter = (document: Tree, path: string, name: string) =>
  document.paths[path].get.parameters.find((one: { name: string }) => one.name === name);

type Change = readonly [what: string, apply: (document: Tree) => void];

function changed(name: string, apply: Change[1]): [before: Tree, after: Tree] {
  const [before, after] = [read(name), read(name)];
  apply(after);
  assert.notDeepEqual(after, before, 'the change changes something');
  return [before, after];
}

const breaking: readonly Change[] = [
  ['an operation goes', (d) => delete d.paths['/users/{id}'].delete],
  ['a path goes', (d) => delete d.paths['/events/']],
  ['an operation is called otherwise', (d) => (d.paths['/users/'].get.operationId = 'getUsers')],
  ['a parameter goes', (d) => d.paths['/users/'].get.parameters.shift()],
  ['a parameter becomes required', (d) => (parameter(d, '/users/', 'page').required = true)],
  [
    'a new parameter is required',
    (d) => d.paths['/users/'].get.parameters.push({ name: 'x', in: 'query', required: true, schema: { type: 'string' } }),
  ],
  ['a parameter takes less', (d) => (parameter(d, '/users/', 'per_page').schema.maximum = 50)],
  ['a parameter has another default', (d) => (parameter(d, '/users/', 'per_page').schema.default = 20)],
  ['a parameter is of another type', (d) => (parameter(d, '/users/', 'page').schema.type = 'string')],
  ['a list is written otherwise', (d) => (parameter(d, '/events/', 'types').explode = true)],
  ['a value is no longer taken', (d) => schemas(d).EventType.enum.pop()],
  ['a text gets a pattern', (d) => (schemas(d).NewUser.properties.name.pattern = '^[a-z]+$')],
  ['a text gets shorter', (d) => (schemas(d).NewUser.properties.name.maxLength = 254)],
  ['a text must be longer', (d) => (schemas(d).NewUser.properties.password.minLength = 12)],
  ['null is no longer taken', (d) => (schemas(d).UserChange.properties.name.type = ['string'])],
  ['a field of a body goes', (d) => delete schemas(d).UserChange.properties.name],
  ['a field of a body is required', (d) => (schemas(d).UserChange.required = ['name'])],
  ['a new field of a body is required', (d) => Object.assign(schemas(d).NewUser, { required: ['name', 'surname', 'password', 'locale'] })],
  ['a body is no longer taken in a media type', (d) => delete d.paths['/users/'].post.requestBody.content['application/msgpack']],
  ['a success has another status', (d) => (d.paths['/users/'].post.responses['200'] = d.paths['/users/'].post.responses['201'])],
  ['a success goes', (d) => delete d.paths['/users/'].post.responses['201']],
  ['an answer has no longer a header', (d) => delete d.paths['/users/'].post.responses['201'].headers.location],
  ['an answer has no longer a media type', (d) => delete d.paths['/users/'].get.responses['200'].content['application/msgpack']],
  [
    'a problem is no longer a problem',
    (d) => (d.paths['/users/'].get.responses['503'] = { content: { 'application/json': { schema: {} } } }),
  ],
  ['a field of an answer goes', (d) => delete schemas(d).User.properties.surname],
  ['a field of an answer is not always there', (d) => schemas(d).User.required.pop()],
  ['a field of an answer may be null', (d) => (schemas(d).User.properties.name.type = ['string', 'null'])],
  ['a field of an answer is of another type', (d) => (schemas(d).User.properties.id.type = 'string')],
  ['an integer may have a fraction', (d) => (schemas(d).UserPage.properties.total.type = 'number')],
  ['a field of an answer has another format', (d) => delete schemas(d).User.properties.created_at.format],
  ['a field of an answer may be larger', (d) => delete schemas(d).User.properties.id.maximum],
  ['a closed list gets a value', (d) => schemas(d).Health.properties.status.enum.push('ill')],
  ['items of a list change', (d) => (schemas(d).FeedPage.properties.events.items = { type: 'object' })],
  ['events become a choice', (d) => (schemas(d).Event = { oneOf: [{ type: 'object' }, { type: 'null' }] })],
  [
    'a schema is called otherwise',
    (d) => Object.assign(d, JSON.parse(JSON.stringify(d).replaceAll('/User"', '/Person"').replace('"User":', '"Person":'))),
  ],
  ['a name goes', (d) => delete schemas(d).MetricsText],
  ['a rule that the check does not know', (d) => (schemas(d).NewUser.dependentRequired = { name: ['surname'] })],
];

const harmless: readonly Change[] = [
  ['a new operation', (d) => (d.paths['/users/search'] = { get: { operationId: 'searchUsers', responses: {} } })],
  ['a new parameter', (d) => d.paths['/users/'].get.parameters.push({ name: 'sort', in: 'query', schema: { type: 'string' } })],
  ['a parameter takes more', (d) => (parameter(d, '/users/', 'per_page').schema.maximum = 500)],
  ['a value more is taken', (d) => schemas(d).EventType.enum.push('user.suspended')],
  ['a field of a body more', (d) => (schemas(d).NewUser.properties.nickname = { type: 'string' })],
  ['a field of a body need not be there', (d) => schemas(d).NewUser.required.pop()],
  ['null is taken', (d) => (schemas(d).NewUser.properties.surname.type = ['string', 'null'])],
  ['a media type more', (d) => (d.paths['/users/'].post.requestBody.content['application/cbor'] = { schema: {} })],
  ['a field of an answer more', (d) => (schemas(d).User.properties.nickname = { type: ['string', 'null'] })],
  ['a field of an answer is always there', (d) => schemas(d).UserPage.required.push('total')],
  ['another failure', (d) => (d.paths['/users/'].get.responses['412'] = d.paths['/users/'].get.responses['400'])],
  ['a failure goes', (d) => delete d.paths['/users/'].get.responses['503']],
  ['a header more', (d) => (d.paths['/users/{id}'].get.responses['200'].headers.etag = { schema: { type: 'string' } })],
  ['other words and examples', (d) => Object.assign(schemas(d).User.properties.name, { description: 'Given name.', examples: ['Jane'] })],
  ['a schema more', (d) => (schemas(d).Email = { type: 'string' })],
  [
    'a body gets a reference to what stood there',
    (d) => {
      schemas(d).Name = schemas(d).NewUser.properties.name;
      schemas(d).NewUser.properties.name = { $ref: '#/components/schemas/Name' };
    },
  ],
];

const message = (document: Tree) => document.components.messages.user_created;
const breakingMessages: readonly Change[] = [
  ['a message goes', (d) => delete Object.values<Tree>(d.channels)[0].messages.user_created],
  ['a message is of another media type', (d) => (message(d).contentType = 'application/cbor')],
  ['an exchange has another address', (d) => (Object.values<Tree>(d.channels)[0].address = 'elsewhere')],
  ['an exchange is of another kind', (d) => (Object.values<Tree>(d.channels)[0].bindings.amqp.exchange.type = 'fanout')],
  ['a routing key changes', (d) => (d.operations.publish_user_created.bindings.amqp.cc = ['created'])],
  ['an operation goes', (d) => delete d.operations.publish_user_created],
  ['a header is not always there', (d) => schemas(d).EventHeaders.required.pop()],
  ['a field of the data goes', (d) => delete schemas(d).UserCreated.properties.data.properties.changed],
  ['the type is another one', (d) => (schemas(d).UserCreated.properties.event_type.const = 'user.made')],
  ['a time has another form', (d) => (schemas(d).UserCreated.properties.occurred_at.pattern = '^.*$')],
];
const harmlessMessages: readonly Change[] = [
  [
    'a message more',
    (d) => {
      d.components.messages.user_suspended = message(d);
      Object.values<Tree>(d.channels)[0].messages.user_suspended = { $ref: '#/components/messages/user_suspended' };
    },
  ],
  ['a field of the data more', (d) => (schemas(d).UserCreated.properties.data.properties.actor = { type: 'string' })],
];

suite('the check of the contract', () => {
  const cases = [
    { name: 'openapi.json', breaksOf: openApiBreaks, breaking, harmless },
    { name: 'asyncapi.json', breaksOf: asyncApiBreaks, breaking: breakingMessages, harmless: harmlessMessages },
  ];
  for (const { name, breaksOf, ...changes } of cases) {
    test(`${name}: nothing breaks where nothing changed`, () => assert.deepEqual(breaksOf(read(name), read(name)), []));
    for (const [what, apply] of changes.breaking)
      test(`${name}: ${what}: refused`, () => {
        const [before, after] = changed(name, apply);
        assert.notDeepEqual(breaksOf(before, after), []);
      });
    for (const [what, apply] of changes.harmless)
      test(`${name}: ${what}: taken`, () => assert.deepEqual(breaksOf(...changed(name, apply)), []));
  }

  test('a break says where it is and what a client runs into', () => {
    const [before, after] = changed('openapi.json', (d) => delete schemas(d).User.properties.surname);
    assert.ok(openApiBreaks(before, after).includes('PUT /users/{id} 200.surname: is gone'));
  });
});
