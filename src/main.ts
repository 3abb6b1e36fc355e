// The process: reads the settings, starts the system, stops it on a signal. Exit code 0 after a stop that was asked for.
import { setFlagsFromString } from 'node:v8';
import { explain } from './app/explanations.ts';
import { type System, startSystem } from './app/system.ts';
import { loadEnvFile, readConfig } from './config.ts';
import { isLoopback } from './platform/http/settings.ts';
import { hasSecurityRelease, securityRelease } from './platform/runtime/node.ts';
import { createLogger, type Logger } from './platform/telemetry/logger.ts';
import { outputTo } from './platform/telemetry/output.ts';

// V8 lets its old generation grow up to four times what lives there before it collects. Thousands of connections at once would leave
// the process with twice the memory that they need; at most twice costs nothing that shows.
setFlagsFromString('--heap-growing-percent=100');

const shutdownMsMax = 15_000;
/** npm hands on the Ctrl-C that the terminal has sent to every process already: two signals this close are one. */
const sameSignalMs = 400;
/** For what is not yet written at the end; whoever does not read has had the time of the shutdown before. */
const lastLinesMs = 1000;

const stderr = outputTo('stderr');

function introduce({ url, publicUrl, database, broker }: System): void {
  stderr.write(`
  Rollcall runs on ${database}; ${broker}.

    API         ${url}/users/
    Swagger UI  ${url}/schema
    PUBLIC_URL  ${publicUrl}

    curl -s ${url}/users/ -H 'content-type: application/json' -d '{"name":"John","surname":"Doe","password":"correct horse"}'

`);
}

async function exit(code: number): Promise<void> {
  await Promise.all([outputTo('stdout').flush(lastLinesMs), stderr.flush(lastLinesMs)]);
  process.exit(code);
}

/** @param starting settles when there is something to stop */
function stopOnSignal(starting: Promise<System>, log: Logger): (reason: object, exitCode: number) => void {
  let stoppingSince: number | undefined;

  async function stop(reason: object, exitCode: number): Promise<void> {
    if (stoppingSince !== undefined) return;
    stoppingSince = performance.now();
    log.info(reason, 'Stopping');
    setTimeout(() => {
      log.fatal(`Not stopped after ${shutdownMsMax / 1000} s; giving up`);
      process.exit(1);
    }, shutdownMsMax).unref();
    try {
      const system = await starting.catch(() => undefined);
      await system?.[Symbol.asyncDispose]();
      log.info('Stopped');
      await exit(exitCode);
    } catch (error) {
      log.fatal({ error }, 'Stopping failed');
      await exit(1);
    }
  }

  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (stoppingSince !== undefined && performance.now() - stoppingSince > sameSignalMs) process.exit(1);
      void stop({ signal }, 0);
    });
  }
  process.on('uncaughtException', (error) => {
    log.fatal({ error }, 'Unexpected error');
    void stop({ reason: 'unexpected error' }, 1);
  });
  return stop;
}

async function main(): Promise<void> {
  loadEnvFile();
  const config = readConfig();
  const log = createLogger({ level: config.LOG_LEVEL, appName: config.APP_NAME });
  const { node } = process.versions;
  if (!hasSecurityRelease(node)) {
    log.warn(
      `Node ${node} lacks the security release ${securityRelease}: install ${securityRelease} or newer on this machine, and "npm start" takes it`,
    );
  }

  const starting = startSystem(config, log, {
    onError(error) {
      stderr.write(`${explain(error)}\n`);
      stop({ reason: 'error' }, 1);
    },
  });
  const stop = stopOnSignal(starting, log);

  const system = await starting;
  const { url, publicUrl, database, broker } = system;
  // For a person, not for a log collector.
  if (process.stderr.isTTY || config.DATABASE_URL === undefined) introduce(system);
  log.info({ url, public_url: publicUrl, version: config.APP_VERSION, run: config.RUN, database, broker }, 'Service started');
  if (!isLoopback(config.HOST)) log.warn({ host: config.HOST }, 'AUTH=off: anyone who reaches this address may read and change every user');
}

await main().catch((error: unknown) => {
  stderr.write(`${explain(error)}\n`);
  return exit(1);
});
