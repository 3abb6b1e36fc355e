// The example consumer: begun while users change, it ends with an exact copy.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { suite, test } from 'node:test';
import { startCopy } from '../../examples/copy.ts';
import { createVhost } from '../../harness/management.ts';
import { startBrokerProxy } from '../../harness/rabbitmq.ts';
import { startService, type TestService } from '../support/service.ts';

async function checksumOf({ database }: TestService): Promise<string> {
  const utc = (column: string) => `to_char(${column} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as ${column}`;
  const rows = await database.query<{ id: string; version: string }>(
    `select id, name, surname, email, username, external_id, status, attributes, locale, time_zone, ${utc('email_verified_at')}, version, ${utc('created_at')}, ${utc('updated_at')}
     from "user" order by "user".id`,
  );
  return createHash('sha256')
    .update(JSON.stringify(rows.map((row) => ({ ...row, id: Number(row.id), version: Number(row.version) }))))
    .digest('hex');
}

suite('examples/copy.ts', { concurrency: true }, () => {
  for (const over of ['HTTP', 'RabbitMQ'] as const) {
    test(`begun under load over ${over}, has the checksum of the source when the load ends`, async () => {
      await using vhost = await createVhost(process.env['TEST_RABBITMQ_URL'] ?? '');
      await using proxy = await startBrokerProxy(vhost.url);
      await using service = await startService({ RABBITMQ_URL: vhost.url });
      await service.database.query(
        `insert into "user" (name, surname, password) select 'Name ' || n, 'Surname', 'x' from generate_series(1, 1500) as n`,
      );
      await service.line(({ event, component }) => event === 'RabbitMQ connected' && component === 'consumer');
      let rounds = 0;
      let loading = true;
      const load = [0, 1, 2].map(async (worker) => {
        for (let n = worker; loading; n += 3) {
          const id = (n % 1500) + 1;
          if (n % 11 === 0) await service.call('DELETE', `/users/${id}`);
          else if (n % 5 === 0) await service.createUser({ name: `New ${n}` });
          else await service.call('PUT', `/users/${id}`, { surname: `Changed ${n}` });
          rounds += 1;
        }
      });
      let heard = 0;
      let told = Promise.withResolvers<void>();
      await using copy = await startCopy(service.url, over === 'RabbitMQ' ? proxy.url : undefined, () => {
        heard += 1;
        told.resolve();
        told = Promise.withResolvers();
      });
      while (heard < 25) await told.promise;
      // Its connection is lost, and the queue with what comes meanwhile.
      await proxy.refuse();
      const { id } = await service.createUser();
      await service.line(({ event }) => event === `Received event user.created with user_id=${id}`);
      await proxy.heal();
      while (heard < 50) await told.promise;
      loading = false;
      await Promise.all(load);
      await service.backlog(0);
      const wanted = await checksumOf(service);
      // The last events are on their way to it.
      while (copy.checksum() !== wanted) await told.promise;
      assert.ok(rounds > 50);
    });
  }
});
