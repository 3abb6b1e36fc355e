// What a statement reads, as PostgreSQL itself counts it, under statistics that are wrong on purpose.
import pg from 'pg';
import type { Db, Pool, Tx } from '../../src/platform/db/client.ts';

export type Plan = {
  readonly 'Node Type': string;
  readonly 'Relation Name'?: string;
  readonly 'Actual Rows': number;
  readonly 'Actual Loops': number;
  readonly 'Rows Removed by Filter'?: number;
  readonly 'Rows Removed by Join Filter'?: number;
  readonly 'Rows Removed by Index Recheck'?: number;
  readonly Plans?: readonly Plan[];
};

export type Examined = {
  readonly text: string;
  /** Rows that all nodes of the plan handled, with those that a filter removed. */
  readonly rows: number;
  readonly plan: string;
};

const options = '(analyze, timing off, summary off, format json)';
/** Executions that are examined: the first, and those at which a cached plan may have become another one. */
const examinedAt = new Set([1, 6, 100]);

/**
 * A pool whose statements are examined as they run: each with the plan of its values and with the plan for any values, or with the plan
 * that its connection has kept for it, if it has one.
 */
export function examine(pool: Pool, of: 'fresh plans' | 'kept plans' = 'fresh plans'): Pool & { readonly examined: readonly Examined[] } {
  const examined: Examined[] = [];
  const executions = new Map<string, number>();

  async function explainKept(tx: Db, text: string, values: readonly unknown[]): Promise<void> {
    const [kept] = await tx.query<{ name: string }>('select name from pg_prepared_statements where statement = $1', [text]);
    if (kept === undefined) return;
    await tx.query('savepoint examined');
    note(text, await tx.query(`explain ${options} execute ${kept.name} ${listOf(values)}`));
    await tx.query('rollback to savepoint examined');
    await tx.query('release savepoint examined');
  }

  async function explain(tx: Db, text: string, values: readonly unknown[]): Promise<void> {
    const count = (executions.get(text) ?? 0) + 1;
    executions.set(text, count);
    if (!examinedAt.has(count) || !/^\s*(select|with|insert|update|delete|\()/.test(text)) return;
    await tx.query('savepoint examined');
    note(text, await tx.query(`explain ${options} ${text}`, values));
    await tx.query('rollback to savepoint examined');
    await tx.query('set local plan_cache_mode = force_generic_plan');
    await tx.query(`prepare examined as ${text}`);
    note(text, await tx.query(`explain ${options} execute examined ${listOf(values)}`));
    await tx.query('rollback to savepoint examined');
    await tx.query('deallocate examined').catch(() => {});
    await tx.query('release savepoint examined');
  }

  function note(text: string, answer: object[]): void {
    const plan = (answer as { 'QUERY PLAN': { Plan: Plan }[] }[])[0]?.['QUERY PLAN'][0]?.Plan;
    if (plan === undefined) throw new Error(`no plan for ${text}`);
    examined.push({ text, rows: count(plan), plan: draw(plan) });
  }

  const inside = (tx: Tx) =>
    ({
      async query(text: string, values: readonly unknown[] = []) {
        await (of === 'kept plans' ? explainKept : explain)(tx, text, values);
        return tx.query(text, values);
      },
    }) as Tx;

  return {
    ...pool,
    examined,
    query: (text, values) => pool.inTransaction((tx) => inside(tx).query(text, values)),
    inTransaction: (work) => pool.inTransaction((tx) => work(inside(tx))),
    underLock: (lock, work) => pool.underLock(lock, (tx, renew) => work(inside(tx), renew)),
  };
}

/** Rows that all nodes handled, with those that a filter removed. */
export function count(plan: Plan): number {
  const removed =
    (plan['Rows Removed by Filter'] ?? 0) + (plan['Rows Removed by Join Filter'] ?? 0) + (plan['Rows Removed by Index Recheck'] ?? 0);
  const below = (plan.Plans ?? []).map(count).reduce((sum, rows) => sum + rows, 0);
  return (plan['Actual Rows'] + removed) * plan['Actual Loops'] + below;
}

export function draw(plan: Plan, depth = 0): string {
  const {
    'Node Type': type,
    'Relation Name': relation,
    'Actual Rows': rows,
    'Actual Loops': loops,
    'Rows Removed by Filter': removed,
  } = plan;
  const line = `${'  '.repeat(depth)}${type}${relation === undefined ? '' : ` on ${relation}`} rows=${rows} loops=${loops} removed=${removed ?? 0}`;
  return [line, ...(plan.Plans ?? []).map((below) => draw(below, depth + 1))].join('\n');
}

function listOf(values: readonly unknown[]): string {
  return values.length === 0 ? '' : `(${values.map(literal).join(', ')})`;
}

function literal(value: unknown): string {
  if (value === null || value === undefined) return 'null';
  if (!Array.isArray(value)) return pg.escapeLiteral(String(value));
  const items = value.map((item) => (item === null ? 'null' : `"${String(item).replace(/["\\]/g, '\\$&')}"`));
  return pg.escapeLiteral(`{${items.join(',')}}`);
}
