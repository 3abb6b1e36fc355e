// The SQLSTATE classes of the PostgreSQL manual, appendix A: what a statement of ours answers with where the server raises one.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { createDatabase } from '../support/database.ts';
import { startService } from '../support/service.ts';

// By answer. The first come only where somebody else's trigger, type or constraint stands at the table, mistakes in the text of a
// trigger included; the second when the server, its limits or other transactions are in the way; the last from a server that is broken.
const answers: Readonly<Record<string, string>> = {
  '409 user_rejected': `
    09000 20000 21000 22000 2202E 22021 22008 22012 22005 2200B 22022 22015 2201E 22014 22016 2201F 2201G 22018 22007 22019 2200D 22025 22P06
    22010 22023 22013 2201B 2201W 2201X 2202H 2202G 22009 2200C 2200G 22004 22002 22003 2200H 22026 22001 22011 22027 22024 2200F 22P01 22P02
    22P03 22P04 22P05 2200L 2200M 2200N 2200S 2200T 22030 22031 22032 22033 22034 22035 22036 22037 22038 22039 2203A 2203B 2203C 2203D 2203E
    2203F 2203G 23000 23001 23502 23503 23505 23514 23P01 27000 38000 38001 38002 38003 38004 39000 39001 39004 39P01 39P02 39P03 44000 54000
    54001 54011 54023 P0000 P0001 P0002 P0003 P0004 MY001 ZZZZZ U0001
    03000 0A000 0B000 0F000 0F001 0L000 0LP01 0P000 0Z000 0Z002 10608 24000 2B000 2BP01 2D000 2F000 2F002 2F003 2F004 2F005 34000 36000
    3B000 3B001 42000 42601 42846 42803 42P20 42P19 42830 42602 42622 42939 42804 42P18 42P21 42P22 42809 428C9 42883 42P02 42704 42701 42P03
    42P04 42723 42P05 42P06 42P07 42712 42710 42702 42725 42P08 42P09 42P10 42611 42P11 42P12 42P13 42P14 42P15 42P16 42P17 72000`,
  '503 database_unavailable': `
    08000 08003 08006 08001 08004 08007 08P01 25000 25001 25002 25008 25003 25004 25005 25006 25007 25P01 25P02 25P03 25P04 26000 28000 28P01
    3D000 3F000 40000 40002 40001 40003 40P01 42501 42703 42P01 53000 53100 53200 53300 53400 55000 55006 55P02 55P03 55P04 57000 57014 57P01
    57P02 57P03 57P04 57P05 58000 58030 58P01 58P02 58P03 F0000 F0001 HV000 HV005 HV00N HV00R`,
  '500 internal_error': 'XX000 XX001 XX002',
};

suite('each SQLSTATE', () => {
  test('has its answer, and none that a foreign table, type or trigger can raise is a 500', async () => {
    await using database = await createDatabase();
    await database.query('create table raised (code text)');
    await database.query('insert into raised values (null)');
    await database.query(
      `create function raise_code() returns trigger language plpgsql as $$
       declare wanted text := (select code from raised);
       begin if wanted is null then return new; end if; raise exception 'raised' using errcode = wanted; end $$`,
    );
    await database.query('create trigger raise_code before insert or update on "user" for each row execute function raise_code()');
    await using service = await startService({ LOG_LEVEL: 'error' }, { database });
    const { id } = await service.createUser();
    for (const [answer, codes] of Object.entries(answers)) {
      for (const code of codes.trim().split(/\s+/)) {
        await database.query('update raised set code = $1', [code]);
        const { status, json } = await service.call('PUT', `/users/${id}`, { name: code });
        assert.equal(`${status} ${json.code}`, answer, code);
      }
    }
    await database.query('update raised set code = null');
    assert.equal((await service.call('PUT', `/users/${id}`, { name: 'Bea' })).json.name, 'Bea');
    assert.equal((await service.call('POST', '/users/', { name: 'a', surname: 'b', password: 'correct horse' })).status, 201);
  });

  test('that asks for a retry is retried, and the change is made once', async () => {
    await using database = await createDatabase();
    await database.query('create sequence attempts');
    for (const code of ['40001', '40P01']) {
      await database.query('drop trigger if exists fail on "user"');
      await database.query(
        `create or replace function fail() returns trigger language plpgsql as
         $$ begin if nextval('attempts') % 4 > 0 then raise exception 'in the way' using errcode = '${code}'; end if; return new; end $$`,
      );
      await database.query('create trigger fail before update on "user" for each row execute function fail()');
      await using service = await startService({}, { database });
      const { id } = await service.createUser();
      assert.equal((await service.call('PUT', `/users/${id}`, { name: 'Bea' })).status, 200);
      const rows = await database.query('select version from "user" where id = $1', [id]);
      assert.deepEqual(rows, [{ version: '2' }]);
      await service.backlog(0);
    }
  });
});
