// A client in TypeScript, generated from openapi.json, compiled by the strictest settings, calls every operation.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import openapiTS, { astToString } from 'openapi-typescript';
import { startService } from '../support/service.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const run = promisify(execFile);

const compilerOptions = {
  module: 'nodenext',
  target: 'es2024',
  lib: ['es2024', 'dom', 'dom.iterable'],
  types: ['node'],
  strict: true,
  noUncheckedIndexedAccess: true,
  exactOptionalPropertyTypes: true,
  noPropertyAccessFromIndexSignature: true,
  noImplicitReturns: true,
  noUnusedLocals: true,
  skipLibCheck: false,
};

test('a generated TypeScript client compiles strictly and calls every operation', async (t) => {
  // Where it finds the packages.
  const folder = await mkdtemp(join(root, 'node_modules', '.client-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const service = await startService();
  t.after(() => service[Symbol.asyncDispose]());

  const document = (await service.call('GET', '/schema/openapi.json')).json;
  await writeFile(join(folder, 'schema.d.ts'), astToString(await openapiTS(structuredClone(document))));
  await cp(join(root, 'clients/typescript/calls.ts'), join(folder, 'calls.ts'));
  await writeFile(join(folder, 'package.json'), '{ "type": "module" }');
  await writeFile(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['calls.ts'] }));
  const compiler = join(createRequire(import.meta.url).resolve('typescript7/package.json'), '../bin/tsc');
  const compiled = await run(process.execPath, [compiler, '-p', folder]).catch((error: { stdout: string }) => error);
  assert.equal(compiled.stdout, '', 'the compiler complains about nothing');

  const { stdout } = await run(process.execPath, [join(folder, 'calls.js'), service.url], { timeout: 60_000 });
  const answers: { operation: string; status: number; data: unknown }[] = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  const operations = Object.values<Record<string, { operationId: string }>>(document.paths).flatMap((methods) =>
    Object.values(methods).map(({ operationId }) => operationId),
  );
  assert.ok(operations.length >= 10);
  assert.deepEqual([...new Set(answers.map(({ operation }) => operation))].sort(), operations.toSorted());
  assert.deepEqual(answers.at(-1), { operation: 'getUser', status: 404, data: 'user_not_found' });
});
