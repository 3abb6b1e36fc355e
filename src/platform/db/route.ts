// The way to PostgreSQL: which host, and with SSL or without, as libpq goes through what a URL allows. The way that worked last
// is tried first, so that a host that is away costs no connection but the first.
import pg from 'pg';
import { codeOf, isFromServer } from './sqlstate.ts';
import { noteOfConnecting } from './unavailable.ts';
import { type DatabaseAddress, readDatabaseUrl } from './url.ts';

type Way = { readonly host: string | undefined; readonly port: number | undefined; readonly ssl: pg.ClientConfig['ssl'] };

export type Route = {
  /** A client that takes the way that is the next to be tried. */
  readonly Client: typeof pg.Client;
  /** Runs `work`, which connects; again, on the next way, where no statement was sent yet. */
  attempt<Result>(work: () => Promise<Result>): Promise<Result>;
};

/** The role must give a password, and the URL has none. */
export class PasswordMissingError extends Error {
  override readonly name = 'PasswordMissingError';
  override readonly message = 'the server asks for a password, and there is none';
}

/** Reached, and not the server that `target_session_attrs` asks for. */
class OtherServerError extends Error {
  override readonly name = 'OtherServerError';
}

// The host itself is away; with or without SSL is no question there.
const hostIsAway = /^E(CONNREFUSED|NOTFOUND|AI_AGAIN|HOSTUNREACH|HOSTDOWN|NETUNREACH|TIMEDOUT|NOENT|ACCES)$/;

export function createRoute(url: string): Route {
  const address = readDatabaseUrl(url);
  const ways = address.hosts.flatMap(({ host, port }) => sslOf(address, host).map((ssl): Way => ({ host, port, ssl })));
  const { user, password, database, applicationName, options } = address;
  const given = Object.entries({ user, password, database, application_name: applicationName, options });
  const common = Object.fromEntries(given.filter(([, value]) => value !== undefined));
  let current = 0;
  /** Failures of connecting after which another way may do, and the way that they were met on. */
  const failures = new WeakMap<object, number>();

  function failed(taken: number, error: Error): void {
    const next = nextAfter(taken, error);
    if (next === undefined) return;
    if (current === taken) current = next;
    failures.set(error, taken);
  }

  function nextAfter(taken: number, error: Error): number | undefined {
    const code = codeOf(error) ?? '';
    if (error instanceof PasswordMissingError) return undefined;
    if (isFromServer(error)) {
      // pg_hba.conf may let in only what comes with SSL, or only what comes without (libpq).
      if (code.startsWith('28')) return isSameHost(taken, taken + 1) ? taken + 1 : undefined;
      // Class 57: it starts, or stops.
      return code.startsWith('57') ? otherHost(taken) : undefined;
    }
    if (error instanceof OtherServerError || hostIsAway.test(code) || /time(d )?out/i.test(error.message)) return otherHost(taken);
    return (taken + 1) % ways.length;
  }

  const isSameHost = (one: number, other: number) => ways[one]?.host === ways[other]?.host && ways[one]?.port === ways[other]?.port;

  function otherHost(taken: number): number | undefined {
    const others = ways.map((_, at) => at).filter((at) => !isSameHost(at, taken));
    return others.find((at) => at > taken) ?? others[0];
  }

  class Client extends pg.Client {
    readonly #taken: number;

    constructor(config?: string | pg.ClientConfig) {
      const taken = current;
      super({ ...(config as pg.ClientConfig), ...common, ...defined(ways[taken] as Way) });
      this.#taken = taken;
      // A server that stops may say so between the end of `connect` and the listener of whoever called it; the next statement tells.
      this.on('error', () => {});
      // Asked only where the server wants one.
      const self = this as { password?: unknown };
      self.password ??= () => Promise.reject(new PasswordMissingError());
    }

    override connect(): Promise<this>;
    override connect(callback: (error: Error) => void): void;
    override connect(callback?: (error: Error) => void): Promise<this> | undefined {
      const connecting = this.#connect();
      if (callback === undefined) return connecting;
      connecting.then(() => (callback as () => void)(), callback);
      return undefined;
    }

    async #connect(): Promise<this> {
      try {
        await super.connect();
        await this.#check();
        return this;
      } catch (error) {
        noteOfConnecting(error as Error);
        failed(this.#taken, error as Error);
        // The driver leaves the connection open where the failure is its own.
        void this.end().catch(() => {});
        throw error;
      }
    }

    async #check(): Promise<void> {
      if (address.target === 'any') return;
      const { rows } = await this.query<{ standby: boolean; read_only: string }>(
        `select pg_is_in_recovery() as standby, current_setting('default_transaction_read_only') as read_only`,
      );
      const isRight = rows[0]?.standby === false && (address.target === 'primary' || rows[0].read_only === 'off');
      if (isRight) return;
      throw new OtherServerError(`no server of DATABASE_URL is ${address.target === 'primary' ? 'a primary' : 'one that takes changes'}`);
    }
  }

  return {
    Client,
    async attempt(work) {
      for (const tried = new Set<number>(); ; ) {
        try {
          return await work();
        } catch (error) {
          // A pool that gave up in time has the failure as its cause.
          const taken = failures.get(error as Error) ?? failures.get(((error as Error).cause as Error | undefined) ?? {});
          if (taken === undefined || tried.add(taken).has(current)) throw error;
        }
      }
    },
  };
}

function defined<Values extends object>(values: Values): Partial<Values> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Partial<Values>;
}

/** With SSL and without, in the order of libpq's sslmode. */
function sslOf({ sslMode, certificates }: DatabaseAddress, host: string | undefined): readonly pg.ClientConfig['ssl'][] {
  // libpq: no SSL on a unix socket.
  if (sslMode === 'disable' || host?.startsWith('/')) return [false];
  const { ca, ...rest } = certificates;
  const ssl = {
    ...rest,
    ...(ca !== undefined && { ca: [...ca] }),
    // A root that is given is always asked (libpq), also by `require`.
    rejectUnauthorized: ca !== undefined,
    // Whom the CA knows, under whatever name.
    ...(sslMode !== 'verify-full' && { checkServerIdentity: () => undefined }),
  };
  if (sslMode === 'prefer') return [ssl, false];
  return sslMode === 'allow' ? [false, ssl] : [ssl];
}
