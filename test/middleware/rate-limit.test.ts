// The limit of requests for one address, and whose word is taken for the address.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startService } from '../support/service.ts';

test('beyond RATE_LIMIT_PER_MINUTE every request gets a 429 problem with Retry-After', async () => {
  await using service = await startService({ RATE_LIMIT_PER_MINUTE: '3', CORS_ORIGINS: 'https://a.example' });
  const asked = [
    ['GET', '/users/', 200, '2'],
    ['GET', '/nowhere', 404, '1'],
    ['PATCH', '/users/', 405, '0'],
    ['GET', '/users/', 429, '0'],
    ['POST', '/users/', 429, '0'],
    ['GET', '/users/%zz', 429, '0'],
    ['GET', '/nowhere', 429, '0'],
    ['PATCH', '/users/', 429, '0'],
    ['OPTIONS', '/users/', 429, '0'],
  ] as const;
  for (const [method, path, expected, remaining] of asked) {
    const { status, headers, json } = await service.call(method, path, undefined, { origin: 'https://a.example', 'x-request-id': 'mine' });
    assert.deepEqual(
      [status, headers.get('ratelimit-limit'), headers.get('ratelimit-remaining')],
      [expected, '3', remaining],
      `${method} ${path}`,
    );
    const reset = Number(headers.get('ratelimit-reset'));
    assert.ok(reset > 0 && reset <= 60);
    if (status !== 429) continue;
    assert.deepEqual([json.code, json.trace_id, headers.get('retry-after')], ['rate_limited', 'mine', String(reset)]);
    assert.equal(headers.get('x-frame-options'), 'DENY');
    assert.equal(headers.get('access-control-allow-origin'), 'https://a.example', 'the page of a listed origin can read it');
  }
});

test('RATE_LIMIT_PER_MINUTE=0 means no limit and no limit headers', async () => {
  await using service = await startService({ RATE_LIMIT_PER_MINUTE: '0' });
  const answers = await Promise.all(Array.from({ length: 50 }, () => service.call('GET', '/health')));
  for (const { status, headers } of answers) {
    assert.equal(status, 200);
    assert.deepEqual(
      [...headers.keys()].filter((name) => name.includes('ratelimit')),
      [],
    );
  }
});

test('each address has its own limit, taken from X-Forwarded-For of a trusted proxy', async () => {
  await using service = await startService({ RATE_LIMIT_PER_MINUTE: '1', TRUST_PROXY: '127.0.0.0/8' });
  const statusFor = async (address: string) => (await service.call('GET', '/health', undefined, { 'x-forwarded-for': address })).status;
  assert.deepEqual([await statusFor('192.0.2.1'), await statusFor('192.0.2.2'), await statusFor('192.0.2.1')], [200, 200, 429]);
  // The entry that the proxy added counts; what stands before it is the caller's own word.
  assert.equal(await statusFor('203.0.113.9, 192.0.2.2'), 429);
  // A network of IPv6 belongs to one caller.
  assert.deepEqual(
    [await statusFor('2001:db8:1:1::1'), await statusFor('2001:db8:1:1::2'), await statusFor('2001:db8:1:2::1')],
    [200, 429, 200],
  );
});

test('X-Forwarded-For of an untrusted peer is ignored', async () => {
  for (const trusted of ['', '10.0.0.0/8']) {
    await using service = await startService({ RATE_LIMIT_PER_MINUTE: '1', TRUST_PROXY: trusted });
    const statusFor = async (address: string) => (await service.call('GET', '/health', undefined, { 'x-forwarded-for': address })).status;
    assert.deepEqual([await statusFor('192.0.2.1'), await statusFor('192.0.2.2')], [200, 429], trusted);
  }
});
