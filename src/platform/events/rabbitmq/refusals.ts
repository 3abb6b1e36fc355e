// What RabbitMQ refuses, and what somebody has to do about it: it does not pass by waiting, as an outage does. The service goes
// on all the same, since RabbitMQ may be set right without it.
import type { Logger } from '../../telemetry/logger.ts';

type Refusal = {
  /** For anybody: without names, addresses and the server's own words. */
  readonly sentence: string;
  /** False where it may be an outage as well. */
  readonly isCertain: boolean;
};

const port = 'RabbitMQ listens at 5672, or 5671 with TLS, and 15672 is its management page';
const unknownAuthority =
  'RabbitMQ shows a certificate of an unknown authority: name the certificate of that authority as cacertfile in RABBITMQ_URL.';

/** By the client's codes and Node's; where the server's words decide, by these too. The first that matches counts. */
const refusals: readonly (readonly [code: RegExp, message: RegExp, sentence: string])[] = [
  [
    /^ACCESS_REFUSED$/,
    /Login was refused/i,
    'RabbitMQ does not accept the user and password of RABBITMQ_URL: correct them, or make the user.',
  ],
  [
    /^ACCESS_REFUSED$/,
    /./,
    'The user of RABBITMQ_URL lacks a permission: give it configure, write and read on user_events and rollcall.* in its virtual host (rabbitmqctl set_permissions).',
  ],
  [
    /^NOT_ALLOWED$/,
    /vhost .* not found/,
    'RabbitMQ has no virtual host of the name in RABBITMQ_URL: correct the name, or make the virtual host.',
  ],
  [/^NOT_ALLOWED$/, /limit .* reached/, 'RabbitMQ takes no more connections of this user or virtual host: raise their limit.'],
  [
    /^NOT_ALLOWED$/,
    /refused for user '[^']*'$/,
    'The user of RABBITMQ_URL may not use the virtual host: give it permissions there (rabbitmqctl set_permissions).',
  ],
  [
    /^PRECONDITION_FAILED$/,
    /inequivalent arg/,
    'RabbitMQ has an exchange or queue of the same name with other properties: delete it once it is empty, or use another virtual host.',
  ],
  [/^(SELF_SIGNED_CERT_IN_CHAIN|DEPTH_ZERO_SELF_SIGNED_CERT|UNABLE_TO_\w+|CERT_(UNTRUSTED|SIGNATURE_FAILURE))$/, /./, unknownAuthority],
  [
    /^ERR_TLS_CERT_ALTNAME_INVALID$/,
    /./,
    'The certificate of RabbitMQ is for another name than the host in RABBITMQ_URL: connect by that name, or give it as server_name_indication.',
  ],
  [/^CERT_(HAS_EXPIRED|NOT_YET_VALID)$/, /./, 'The certificate of RabbitMQ is not valid at this time: renew it, or correct the clock.'],
  [
    /^ERR_SSL_.*ALERT/,
    /./,
    'RabbitMQ does not accept this client by TLS: name a certificate that it knows as certfile, and its key as keyfile, in RABBITMQ_URL.',
  ],
  [/^(EPROTO|ERR_SSL_\w+)$/, /./, `The port of RABBITMQ_URL does not speak TLS: write amqp://, or the port with TLS; ${port}.`],
  [
    /^(VERSION_MISMATCH|FRAME_ERROR|CODEC|COMMAND_INVALID|UNEXPECTED_FRAME)$/,
    /./,
    `The port of RABBITMQ_URL does not speak AMQP 0-9-1: ${port}.`,
  ],
];
const first = `Nothing at the port of RABBITMQ_URL answers as RabbitMQ does, or not in time: ${port}.`;

/** @param connectedBefore tells an outage from a port that never was RabbitMQ's */
export function refusalOf(error: unknown, connectedBefore = true): Refusal | undefined {
  const { code = '', message = '' } = error as { code?: string; message?: string };
  const found = refusals.find(([codes, words]) => codes.test(code) && words.test(message));
  if (found !== undefined) return { sentence: found[2], isCertain: true };
  if (!connectedBefore && /^(CONN_CLOSE|CONNECTION_TIMEOUT|ECONNRESET)$/.test(code)) return { sentence: first, isCertain: false };
  return undefined;
}

export type Refusals = {
  /** Call it for each error; a refusal is reported when it is new, and then once a minute at most. */
  note(component: string, error: unknown, connectedBefore?: boolean): void;
  /** What `component` needs is there. */
  clear(component: string): void;
  readonly current: Refusal | undefined;
};

const lineMs = 60_000;

export function createRefusals(log: Logger): Refusals {
  const standing = new Map<string, Refusal>();
  const toldAt = new Map<string, number>();
  return {
    note(component, error, connectedBefore) {
      const refusal = refusalOf(error, connectedBefore);
      if (refusal === undefined) return;
      standing.set(component, refusal);
      const key = `${component} ${refusal.sentence}`;
      const now = performance.now();
      if (now - (toldAt.get(key) ?? Number.NEGATIVE_INFINITY) < lineMs) return;
      toldAt.set(key, now);
      const { code, message = '' } = error as { code?: string; message?: string };
      // The server's own words, which name what it refuses, stand behind its code.
      const [says] = /[A-Z_]+ - .+/.exec(message) ?? [];
      log.error(
        { component, reason: refusal.sentence, code, ...(says !== undefined && { says }) },
        'RabbitMQ cannot be used as it is set up; events wait',
      );
    },
    clear: (component) => void standing.delete(component),
    get current() {
      return [...standing.values()].sort((one, other) => Number(other.isCertain) - Number(one.isCertain))[0];
    },
  };
}
