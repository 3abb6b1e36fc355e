// One client that makes more users than the machine can hash passwords: others are served, and what nobody waits for is not done.
import assert from 'node:assert/strict';
import { availableParallelism } from 'node:os';
import { test } from 'node:test';
import { recommendedCost } from '../../src/platform/security/passwords.ts';
import { startService, type TestService } from '../support/service.ts';

/** At once. Fewer than may wait. */
const floodSize = 80 * availableParallelism();

function post(service: TestService, from: string, signal?: AbortSignal): Promise<number> {
  return fetch(`${service.url}/users/`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-forwarded-for': from },
    body: JSON.stringify({ name: 'A', surname: 'B', password: 'correct horse' }),
    ...(signal !== undefined && { signal }),
  }).then(
    async (response) => {
      await response.arrayBuffer();
      return response.status;
    },
    () => 0,
  );
}

async function waiting(service: TestService, matches: (waiting: number) => boolean): Promise<void> {
  for (;;) {
    const { text } = await service.call('GET', '/metrics');
    if (matches(Number(text.match(/^rollcall_password_hash_waiting (\d+)$/m)?.[1]))) return;
  }
}

test('a flood of POSTs from one network delays no POST from another, and is dropped when its sender leaves', async () => {
  await using service = await startService({ TRUST_PROXY: 'loopback' }, { passwordCost: recommendedCost });
  const leaving = new AbortController();
  const statuses: number[] = [];
  let begun = 0;
  // One customer's network, of which each address is used once. It does not end by itself, however slowly this test gets to see it.
  const flood = Array.from({ length: floodSize }, async () => {
    while (!leaving.signal.aborted) {
      begun += 1;
      statuses.push(await post(service, `2001:db8::${begun.toString(16)}`, leaving.signal));
    }
  });
  await waiting(service, (count) => count >= floodSize / 2);
  const served = () => statuses.filter((status) => status === 201).length;
  const before = served();
  assert.equal(await post(service, '2001:db8:0:1::1'), 201);
  const passed = served() - before;
  assert.ok(passed < floodSize / 4, `${passed} of the flood were served meanwhile`);
  leaving.abort();
  await Promise.all(flood);
  await waiting(service, (count) => count === 0);
  const [row] = await service.database.query<{ users: string }>('select count(*) as users from "user"');
  assert.ok(Number(row?.users) < begun - floodSize / 4, `${row?.users} users of ${begun} POSTs`);
});
