// The table of problems, docs/problems.md and openapi.json tell the same, each of the others.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { suite, test } from 'node:test';
import { problems } from '../../src/features.ts';
import { Problem } from '../../src/platform/problem.ts';

type Details = { type: string; title: string; status: number; code: string; status_code: number };
type Response = { content?: Record<string, { examples?: Record<string, { value: Details }> }> };
type Operation = { operationId: string; responses: Record<string, Response | { $ref: string }> };
type Document = { paths: Record<string, Record<string, Operation>>; components: { responses: Record<string, Response> } };

const read = (name: string) => readFileSync(new URL(`../../${name}`, import.meta.url), 'utf8');
const page = read('docs/problems.md');
const { paths, components } = JSON.parse(read('openapi.json')) as Document;
const responseOf = (response: Response | { $ref: string }): Response =>
  '$ref' in response ? (components.responses[response.$ref.split('/').at(-1) ?? ''] ?? {}) : response;

const table = problems.map(({ code, status, title }) => ({ code, status, title }));

/** What the document shows as examples of problems, by operation. */
const documented = Object.values(paths)
  .flatMap((methods) => Object.values(methods))
  .flatMap(({ operationId, responses }) =>
    Object.entries(responses).flatMap(([status, response]) =>
      Object.entries(responseOf(response).content?.['application/problem+json']?.examples ?? {}).map(([code, { value }]) => ({
        operationId,
        status: Number(status),
        code,
        value,
      })),
    ),
  );

/** Codes that belong to no operation. */
const ofNoOperation: Readonly<Record<string, string>> = {
  method_not_allowed: 'a method that a path does not know is no operation of the document',
};

suite('docs/problems.md', () => {
  test('lists each problem with its status and title, and nothing else', () => {
    const rows = [...page.matchAll(/^\| \[`(\w+)`\]\(#(\w+)\) \| (\d+) \| (.+) \|$/gm)].map(([, code, anchor, status, title]) => {
      assert.equal(anchor, code);
      return { code, status: Number(status), title };
    });
    assert.deepEqual(rows, table);
  });

  test('has a section for each problem, in the order of the table, and none for anything else', () => {
    const sections = [...page.matchAll(/^## (\w+)\n\n(.+)$/gm)];
    assert.deepEqual(
      sections.map(([, code]) => code),
      table.map(({ code }) => code),
    );
    for (const [, code, first = ''] of sections) assert.ok(first.length > 20, `${code} is explained`);
  });

  test('shows a body that has exactly the members of every problem', () => {
    const [, text = ''] = /```json\n([\s\S]*?)\n```/.exec(page) ?? [];
    const schema = (JSON.parse(read('openapi.json')) as { components: { schemas: { Problem: { required: string[] } } } }).components.schemas
      .Problem;
    assert.deepEqual(Object.keys(JSON.parse(text)).sort(), [...schema.required].sort());
  });
});

suite('openapi.json', () => {
  test('shows only problems of the table, each under its own status and title', () => {
    assert.ok(documented.length > 0);
    for (const { operationId, status, code, value } of documented) {
      const problem = table.find((one) => one.code === code);
      assert.ok(problem !== undefined, `${code} of ${operationId} is in the table`);
      assert.deepEqual(
        [status, value.status, value.status_code, value.code, value.type, value.title],
        [problem.status, problem.status, problem.status, code, `urn:rollcall:problem:${code}`, problem.title],
        `${code} of ${operationId}`,
      );
    }
  });

  test('shows every problem that an operation can answer with', () => {
    const shown = new Set(documented.map(({ code }) => code));
    assert.deepEqual(
      table.map(({ code }) => code).filter((code) => !shown.has(code)),
      Object.keys(ofNoOperation),
    );
  });
});

suite('a problem', () => {
  test('has the status of the table, and no broken rules or headers unless it is given some', () => {
    for (const kind of problems) {
      const problem = new Problem(kind, 'It is so.');
      assert.deepEqual([problem.status, problem.message, problem.violations, problem.headers], [kind.status, 'It is so.', [], {}]);
    }
  });
});
