// A service whose log nobody reads: it serves, its memory is bounded, and it ends when it is told to.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { createDatabase } from '../support/database.ts';
import { type ServiceProcess, startProcess } from '../support/process.ts';

async function dropped({ url }: ServiceProcess): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  return Number(text.match(/^rollcall_log_lines_dropped_total (\d+)$/m)?.[1]);
}

/** Requests with paths longer than a line shows. */
async function flood({ url }: ServiceProcess, rounds: number): Promise<void> {
  const ask = async () => (await fetch(`${url}/${'x'.repeat(600)}`)).arrayBuffer();
  for (let round = 0; round < rounds; round += 1) await Promise.all(Array.from({ length: 100 }, ask));
}

suite('with an unread stdout', { concurrency: true }, () => {
  test('the service serves, drops and counts lines beyond a bound, and says so when the reader is back', async () => {
    await using database = await createDatabase();
    await using service = await startProcess({ DATABASE_URL: database.url });
    service.child.stdout?.pause();
    while ((await dropped(service)) === 0) await flood(service, 5);
    assert.equal((await fetch(`${service.url}/ready`)).status, 200);
    // Every line is parsed as it comes, so one that is torn fails the test.
    const told = service.line(({ event }) => event.startsWith('Log lines were dropped'));
    service.child.stdout?.resume();
    const { level, lines } = await told;
    assert.equal(level, 'warn');
    assert.equal(Number(lines), await dropped(service));
  });

  test('a signal ends the process with code 0', async () => {
    await using database = await createDatabase();
    await using service = await startProcess({ DATABASE_URL: database.url });
    service.child.stdout?.pause();
    await flood(service, 10);
    const startedAt = performance.now();
    service.child.kill('SIGTERM');
    assert.equal(await service.exited, 0);
    assert.ok(performance.now() - startedAt < 10_000);
  });

  test('a second signal ends it at once', async () => {
    await using database = await createDatabase();
    await using service = await startProcess({ DATABASE_URL: database.url, SHUTDOWN_DRAIN_MS: '5000' });
    service.child.stdout?.pause();
    await flood(service, 10);
    const startedAt = performance.now();
    service.child.kill('SIGTERM');
    const again = setInterval(() => service.child.kill('SIGTERM'), 100);
    assert.equal(await service.exited, 1);
    clearInterval(again);
    assert.ok(performance.now() - startedAt < 4000);
  });
});

test('with a closed stdout the service serves, counts dropped lines, and ends with code 0', async () => {
  await using database = await createDatabase();
  await using service = await startProcess({ DATABASE_URL: database.url });
  service.child.stdout?.destroy();
  while ((await dropped(service)) === 0) await flood(service, 1);
  assert.equal((await fetch(`${service.url}/ready`)).status, 200);
  service.child.kill('SIGTERM');
  assert.equal(await service.exited, 0);
});
