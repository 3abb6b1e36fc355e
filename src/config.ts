// The settings: the only reader of the environment. Each is declared by its owner.
import { resolve } from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import type { Static, TObject, TSchema } from 'typebox';
import { readEnvFile } from './config/env-file.ts';
import type { settings as usersSettings } from './features/users/settings.ts';
import { features } from './features.ts';
import { settings as databaseSettings } from './platform/db/settings.ts';
import { settings as rabbitmqSettings } from './platform/events/rabbitmq/settings.ts';
import { settings as logSettings } from './platform/events/store/settings.ts';
import { contradictions as contradictionsOfHttp, settings as httpSettings } from './platform/http/settings.ts';
import { Type } from './platform/runtime/schema.ts';
import type { Rules } from './platform/runtime/settings.ts';
import { settings as telemetrySettings } from './platform/telemetry/settings.ts';
import { settings as privatePostgresSettings } from './private-postgres/settings.ts';

const featureSettings = Object.assign({}, ...features.map((feature) => ('settings' in feature ? feature.settings : {})));

/** In the order in which the documents list them. `default` absent means: may be left out. */
export const Settings = Type.Object({
  ...databaseSettings,
  ...rabbitmqSettings,
  ...logSettings,
  ...(featureSettings as typeof usersSettings),
  ...httpSettings,
  RUN: Type.Array(Type.Enum(['api', 'relay', 'consumer']), {
    minItems: 1,
    uniqueItems: true,
    default: ['api', 'relay', 'consumer'],
    description: 'What this process runs, by comma.',
  }),
  ...telemetrySettings,
  ...privatePostgresSettings,
});

// Its schemas have further members, which only this file reads.
const ajv = new Ajv2020({ strict: false, validateSchema: false });
/** Characters of a wrong value that a message repeats. */
const shownMax = 100;

export type Config = Readonly<Static<typeof Settings>>;

/** All the issues of the environment, a line each. */
export class ConfigError extends Error {
  constructor(issues: readonly string[]) {
    super(`The settings are not right:\n${issues.map((issue) => `  ${issue}`).join('\n')}`);
    this.name = 'ConfigError';
  }
}

/**
 * Reads `.env` in the working folder, where there is one, without overruling what the environment already says.
 * @throws ConfigError naming the lines that cannot be meant so
 */
export function loadEnvFile(): void {
  const { values, issues } = readEnvFile('.env', Object.keys((Settings as TObject).properties), (name) => name in process.env);
  if (issues.length > 0) throw new ConfigError(issues);
  for (const [name, value] of values) process.env[name] ??= value;
}

/** @throws ConfigError naming every issue; values of URLs are never repeated, since they hold passwords */
export function readConfig(env: Readonly<Record<string, string | undefined>> = process.env): Config {
  const issues: string[] = [];
  const values: Record<string, unknown> = {};
  for (const [name, schema] of Object.entries((Settings as TObject).properties)) {
    const text = env[name]?.trim();
    const value = text === undefined || text === '' ? structuredClone((schema as { default?: unknown }).default) : read(text, schema);
    if (value === undefined) continue;
    const found = text === undefined || text === '' ? [] : issuesOf(name, value, schema, text);
    if (found.length === 0) values[name] = value;
    issues.push(...found);
  }
  const config = values as Config;
  issues.push(...contradictions(values as Partial<Config>, (env['RABBITMQ_URL'] ?? '').trim() === ''));
  if (issues.length > 0) throw new ConfigError(issues);
  return {
    ...config,
    LOG_LEVEL: config.DEBUG && config.LOG_LEVEL === 'info' ? 'debug' : config.LOG_LEVEL,
    DATA_DIR: resolve(config.DATA_DIR),
  };
}

function issuesOf(name: string, value: unknown, schema: TSchema, text: string): readonly string[] {
  if (/\p{Cc}/u.test(text)) return [`${name} has a line break or another control character in it: remove it.`];
  const { items, accepts = () => true, issuesOf: issues } = schema as TSchema & Rules & { readonly items?: TSchema & Rules };
  if (issues !== undefined) return issues(text, name);
  const shown = name.endsWith('_URL') ? '' : `, not ${JSON.stringify(text.length > shownMax ? `${text.slice(0, shownMax)}...` : text)}`;
  const isForm = Array.isArray(value) ? value.every(items?.accepts ?? (() => true)) : accepts(text);
  if (!ajv.validate(schema, value) || !isForm) return [`${name} must ${rule(schema)}${shown}.`];
  return [];
}

function read(text: string, schema: TSchema): unknown {
  const { type, normalise = (given) => given } = schema as Rules & { readonly type?: string };
  if (type === 'integer') return /^-?\d+$/.test(text) ? Number(text) : text;
  if (type === 'boolean')
    return ({ true: true, '1': true, false: false, '0': false } as Record<string, boolean>)[text.toLowerCase()] ?? text;
  if (type === 'array') return text.split(',').map((item) => item.trim());
  return normalise(text);
}

function rule(schema: TSchema): string {
  const { type, minimum, maximum, enum: choices, items, form, uniqueItems } = schema as Record<string, unknown> & { items?: TSchema };
  if (Array.isArray(choices)) return `be one of ${choices.join(', ')}`;
  if (type === 'integer') return `be a whole number from ${minimum} to ${maximum}`;
  if (type === 'boolean') return 'be true or false';
  if (type === 'array' && items !== undefined)
    return `be a list by comma${uniqueItems ? ', each once' : ''}, of which each must ${rule(items)}`;
  return String(form);
}

function contradictions(values: Partial<Config>, isInProcess: boolean): string[] {
  const { RUN } = values;
  const issues = contradictionsOfHttp(values);
  if (RUN !== undefined && isInProcess && RUN.includes('relay') !== RUN.includes('consumer')) {
    issues.push('RUN has only one of relay and consumer, which meet inside one process unless RABBITMQ_URL is set.');
  }
  return issues;
}

// A default as it would be written in the environment.
export function formatDefault(schema: TSchema): string {
  const { default: value } = schema as { default?: unknown };
  return Array.isArray(value) ? value.join(',') : String(value ?? '');
}
