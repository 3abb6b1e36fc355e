// The known load: clients that create, change, delete and read users through all instances, each request under an id of its own.
import { Agent, request as httpRequest } from 'node:http';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Attempt, Outcome } from './history.ts';
import type { Instance } from './instance.ts';
import type { Random } from './random.ts';

export type Change = {
  readonly kind: 'create' | 'update' | 'delete' | 'read';
  readonly userId?: number;
  readonly name?: string;
  readonly password?: string;
};

export type LoadOptions = {
  readonly instances: readonly Instance[];
  readonly random: Random;
  readonly clients: number;
  /** Requests a second, of all clients together. */
  readonly rate: number;
  /** Milliseconds since the run began. */
  readonly now: () => number;
};

const requestMsMax = 5000;
/** An instance that failed a client is left alone by it for so long, as a load balancer would. */
const avoidMs = 500;
const usersMin = 40;
const usersMax = 80;
/** Changed far more often than others, so that changes of one user meet. */
const hotUsers = 4;

type Answer = { readonly outcome: Outcome; readonly answer: string; readonly userId?: number | undefined };

export class Load implements AsyncDisposable {
  readonly attempts: Attempt[] = [];
  rate: number;
  readonly #options: LoadOptions;
  readonly #users: number[] = [];
  readonly #underWay = new Map<Instance, number>();
  readonly #stopping = new AbortController();
  readonly #agent = new Agent({ keepAlive: true });
  #clients: Promise<unknown> | undefined;
  #count = 0;

  constructor(options: LoadOptions) {
    this.#options = options;
    this.rate = options.rate;
  }

  start(): void {
    const { clients, random } = this.#options;
    this.#clients = Promise.all(Array.from({ length: clients }, (_, n) => this.#run(`c${n + 1}`, random.fork(`client ${n + 1}`))));
  }

  /** Resolves when the last answer is there, or will not come. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#clients;
  }

  /** Changes that an instance has and has not answered. */
  underWay(instance: Instance): number {
    return this.#underWay.get(instance) ?? 0;
  }

  /** A user that exists as far as anybody knows. */
  pickUser(random: Random): number {
    return random.pick(this.#users);
  }

  /** One attempt, beside those of the clients. */
  async attempt(client: string, instance: Instance, change: Change, requestMs = requestMsMax): Promise<Attempt> {
    this.#count += 1;
    const id = `${client}-${this.#count}`;
    const { kind, userId, name = id, password } = change;
    const { now } = this.#options;
    const startedAt = now();
    const writes = kind !== 'read';
    if (writes) this.#underWay.set(instance, this.underWay(instance) + 1);
    const answer = await this.#send(
      instance,
      id,
      { kind, name, ...(userId !== undefined && { userId }), ...(password !== undefined && { password }) },
      requestMs,
    );
    if (writes) this.#underWay.set(instance, this.underWay(instance) - 1);
    const attempt: Attempt = {
      id,
      client,
      instance: instance.name,
      kind,
      userId: answer.userId ?? userId,
      ...((kind === 'create' || kind === 'update') && { name }),
      startedAt,
      endedAt: now(),
      outcome: answer.outcome,
      answer: answer.answer,
    };
    this.attempts.push(attempt);
    if (kind === 'create' && answer.outcome === 'acknowledged' && answer.userId !== undefined) this.#users.push(answer.userId);
    return attempt;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    this.#agent.destroy();
  }

  async #run(client: string, random: Random): Promise<void> {
    const { signal } = this.#stopping;
    const { instances, clients, now } = this.#options;
    const avoidUntil = new Map<Instance, number>();
    await sleep(random.between(0, 300), undefined, { signal }).catch(() => {});
    while (!signal.aborted) {
      const dueAt = now() + (1000 * clients) / this.rate;
      const good = instances.filter((instance) => (avoidUntil.get(instance) ?? 0) <= now());
      const instance = random.pick(good.length > 0 ? good : instances);
      const { outcome, answer } = await this.attempt(client, instance, this.#choose(random));
      const refused = outcome !== 'acknowledged' && !/^4\d\d/.test(answer);
      if (refused) avoidUntil.set(instance, now() + avoidMs);
      await sleep(Math.max(0, dueAt - now()), undefined, { signal }).catch(() => {});
    }
  }

  #choose(random: Random): Change {
    const password = 'correct horse';
    const chance = random.next();
    const many = this.#users.length;
    if (many < usersMin / 2 || (many < usersMax && chance < 0.06)) return { kind: 'create', password };
    if (many > usersMin && chance < 0.12) {
      // Its first ones are the hot ones; they live longer.
      const [userId] = this.#users.splice(random.between(hotUsers, many - 1), 1);
      if (userId !== undefined) return { kind: 'delete', userId };
    }
    const userId = (chance > 0.7 ? this.#users[random.between(0, hotUsers - 1)] : undefined) ?? this.pickUser(random);
    if (random.next() < 0.1) return { kind: 'read', userId };
    if (random.next() < 0.01) return { kind: 'update', userId, password: `correct horse ${random.between(1, 1e9)}` };
    return { kind: 'update', userId };
  }

  async #send(instance: Instance, id: string, { kind, userId, name, password }: Change, requestMs: number): Promise<Answer> {
    const method = { create: 'POST', update: 'PUT', delete: 'DELETE', read: 'GET' }[kind];
    const fields = kind === 'create' ? { name, surname: 'Chaos', password } : kind === 'update' ? { name, password } : undefined;
    const body = fields === undefined ? undefined : JSON.stringify(fields);
    const headers = {
      'x-request-id': id,
      ...(body !== undefined && { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }),
    };
    try {
      const { status, json } = await new Promise<{ status: number; json: { id?: number; code?: string } }>((resolve, reject) => {
        const options = { agent: this.#agent, host: '127.0.0.1', port: instance.port, path: `/users/${userId ?? ''}`, method, headers };
        const call = httpRequest({ ...options, signal: AbortSignal.timeout(requestMs) }, (response) => {
          text(response)
            .then((words) => resolve({ status: response.statusCode ?? 0, json: JSON.parse(words) }))
            .catch(reject);
        });
        call.once('error', reject).end(body);
      });
      if (status >= 200 && status <= 299)
        return { outcome: 'acknowledged', answer: String(status), userId: kind === 'create' ? json.id : userId };
      // What the service says it has not done; any other failure may have come after the commit.
      const definite = (status >= 400 && status <= 499) || json.code === 'overloaded';
      return { outcome: definite ? 'refused' : 'unknown', answer: `${status} ${json.code}` };
    } catch (error) {
      const { code, name: kindOfError } = error as NodeJS.ErrnoException;
      if (code === 'ECONNREFUSED') return { outcome: 'refused', answer: code };
      return {
        outcome: 'unknown',
        answer: kindOfError === 'AbortError' || code === 'ABORT_ERR' ? `no answer in ${requestMs / 1000} s` : (code ?? kindOfError),
      };
    }
  }
}
