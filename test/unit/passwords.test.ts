// Password hashing: argon2id strings of our own cost, on threads of their own, with an end to how much may wait.
import assert from 'node:assert/strict';
import { availableParallelism } from 'node:os';
import { after, before, suite, test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { Problem } from '../../src/platform/problem.ts';
import { isHash, type Passwords, recommendedCost, startPasswords } from '../../src/platform/security/passwords.ts';
import { cheapCost } from '../support/service.ts';

const password = 'correct horse';

function isOverloaded(error: unknown): boolean {
  return error instanceof Problem && error.code === 'overloaded' && error.headers['retry-after'] === '2';
}

suite('passwords', () => {
  let passwords: Passwords;
  before(() => {
    passwords = startPasswords(cheapCost);
  });
  after(() => passwords[Symbol.asyncDispose]());

  test('a hash verifies its own password and no other', async () => {
    const hash = await passwords.hash(password);
    assert.equal(await passwords.verify(hash, password), true);
    for (const other of ['correct horsf', 'correct hors', 'Correct horse', ' correct horse', '']) {
      assert.equal(await passwords.verify(hash, other), false);
    }
  });

  test('two hashes of one password differ, since each has a salt of its own', async () => {
    const hashes = await Promise.all([passwords.hash(password), passwords.hash(password)]);
    assert.notEqual(hashes[0], hashes[1]);
    for (const hash of hashes) assert.equal(await passwords.verify(hash, password), true);
  });

  test('every code point counts, at the length that the API allows', async () => {
    const long = `${'🐎'.repeat(127)}a`;
    const hash = await passwords.hash(long);
    assert.equal(await passwords.verify(hash, long), true);
    assert.equal(await passwords.verify(hash, `${'🐎'.repeat(127)}b`), false);
  });

  test('a hash contains its cost, and one of another cost still verifies', async () => {
    await using strict = startPasswords({ memoryKib: 128, passes: 2 });
    const hash = await strict.hash(password);
    assert.match(hash, /^\$argon2id\$v=19\$m=128,t=2,p=1\$/);
    assert.equal(await passwords.verify(hash, password), true);
  });

  test('the default cost is what OWASP recommends for argon2id', async () => {
    assert.deepEqual(recommendedCost, { memoryKib: 19_456, passes: 2 });
    await using strong = startPasswords();
    assert.match(await strong.hash(password), /^\$argon2id\$v=19\$m=19456,t=2,p=1\$/);
  });

  test('hashing leaves the event loop free', async () => {
    await using slow = startPasswords({ memoryKib: 65_536, passes: 20 });
    let done = false;
    const hashing = slow.hash(password).then(() => {
      done = true;
    });
    for (let turn = 0; turn < 100; turn += 1) await nextTurn();
    assert.equal(done, false, 'a hundred turns of the event loop pass before a slow hash is made');
    await hashing;
  });

  test('a hundred may wait for each thread; later callers are refused at once, and the others are served', async () => {
    const threads = availableParallelism();
    const limit = threads * 100;
    const calls = Array.from({ length: limit + threads + 20 }, () => passwords.hash(password).catch((error: unknown) => error));
    assert.equal(passwords.waiting, limit);
    const outcomes = await Promise.all(calls);
    const refused = outcomes.filter((outcome) => typeof outcome !== 'string');
    assert.ok(refused.length >= 20, `${refused.length} were refused`);
    for (const problem of refused) {
      assert.ok(problem instanceof Problem);
      assert.deepEqual([problem.code, problem.status, problem.headers], ['overloaded', 503, { 'retry-after': '2' }]);
    }
    assert.ok(outcomes.length - refused.length >= limit);
    assert.ok(outcomes.every((outcome) => typeof outcome !== 'string' || isHash(outcome)));
    assert.equal(passwords.waiting, 0);
    assert.ok(isHash(await passwords.hash(password)));
  });

  test('a call that takes too long fails, and the others are served', async () => {
    await using limited = startPasswords({ memoryKib: 64, passes: 1 }, { waitMsMax: 60_000, waitMsMaxOfFew: 60_000, taskMsMax: 500 });
    const dear = `$argon2id$v=19$m=65536,t=50,p=1$${'c2FsdHNhbHRzYWx0'}$${'x'.repeat(42)}A`;
    // As many as may be at work, so that the next one waits for them.
    const stuck = Array.from({ length: availableParallelism() }, () => assert.rejects(limited.verify(dear, password), isOverloaded));
    let served: string | undefined;
    // On a busy machine this one may take too long as well.
    while (served === undefined) served = await limited.hash(password).catch(() => undefined);
    await Promise.all(stuck);
    assert.ok(isHash(served));
  });

  test('a caller waits no longer than the limit, and is then refused', async () => {
    await using busy = startPasswords({ memoryKib: 65_536, passes: 8 }, { waitMsMax: 1, waitMsMaxOfFew: 1, taskMsMax: 60_000 });
    const caller = { name: 'a', since: performance.now(), gone: () => false };
    const begun = Array.from({ length: availableParallelism() }, () => busy.hash(password, caller));
    await assert.rejects(busy.hash(password, caller), isOverloaded);
    assert.ok((await Promise.all(begun)).every(isHash));
  });

  test('a malformed hash is an error, and ends no thread', async () => {
    await assert.rejects(passwords.verify('not a hash', password));
    assert.ok(isHash(await passwords.hash(password)));
  });
});

suite('disposed passwords', () => {
  test('settle every call', async () => {
    const passwords = startPasswords(cheapCost);
    const calls = Array.from({ length: 50 }, () => passwords.hash(password));
    const [outcomes] = await Promise.all([Promise.allSettled(calls), passwords[Symbol.asyncDispose]()]);
    assert.equal(outcomes.length, 50);
  });

  test('dispose at once when unused', async () => {
    await startPasswords(cheapCost)[Symbol.asyncDispose]();
  });
});

suite('isHash', () => {
  test('knows the hashes made here', async () => {
    await using passwords = startPasswords(cheapCost);
    assert.equal(isHash(await passwords.hash(password)), true);
  });

  test('takes no typed password for a hash', () => {
    const salt = 'c29tZXNhbHRzb21lc2FsdA';
    const digest = 'A'.repeat(43);
    assert.equal(isHash(`$argon2id$v=19$m=19456,t=2,p=1$${salt}$${digest}`), true);
    for (const stored of [
      '',
      'correct horse',
      '$argon2id$',
      '$argon2id$v=19$m=19456,t=2,p=1$',
      `$argon2id$v=19$m=19456,t=2,p=1$${salt}$${digest} `,
      ` $argon2id$v=19$m=19456,t=2,p=1$${salt}$${digest}`,
      `$argon2id$v=19$m=19456,t=2,p=1$${salt}$${digest}\n`,
      `$argon2id$v=19$m=19456,t=2,p=1$${salt}$${'x'.repeat(43)}`,
      `$argon2id$v=19$m=19456,t=4000000,p=1$${salt}$${digest}`,
      `$argon2i$v=19$m=19456,t=2,p=1$${salt}$${digest}`,
      `$2b$12$${'x'.repeat(53)}`,
    ]) {
      assert.equal(isHash(stored), false, JSON.stringify(stored));
    }
  });
});
