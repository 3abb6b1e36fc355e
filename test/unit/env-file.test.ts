// `.env`: what is read from it, in every encoding and with every line end, and what is refused by file and line.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { parseEnv } from 'node:util';
import { readEnvFile } from '../../src/config/env-file.ts';

const settings = ['DATABASE_URL', 'DATABASE_ADMIN_URL', 'RABBITMQ_URL', 'CORS_ORIGINS', 'APP_NAME', 'PORT', 'DATA_DIR'];
const url = 'postgres://me:s3cret@db.internal/users';

async function inFolder<Result>(work: (path: string) => Result | Promise<Result>): Promise<Result> {
  const folder = await mkdtemp(join(tmpdir(), 'rollcall-env-'));
  try {
    return await work(join(folder, '.env'));
  } finally {
    await rm(folder, { recursive: true });
  }
}

function read(path: string, environment: readonly string[] = []) {
  const { values, issues } = readEnvFile(path, settings, (name) => environment.includes(name));
  for (const issue of issues) {
    assert.ok(issue.startsWith(path), issue);
    assert.doesNotMatch(issue, /s3cret|\n/);
  }
  return { values: Object.fromEntries(values), issues: issues.map((issue) => issue.slice(path.length + 1)) };
}

const readContent = (content: string | Buffer, environment?: readonly string[]) =>
  inFolder(async (path) => {
    await writeFile(path, content);
    return read(path, environment);
  });

function utf16(text: string, order: 'le' | 'be'): Buffer {
  const bytes = Buffer.from(text, 'utf16le');
  return order === 'le' ? bytes : bytes.swap16();
}

suite('.env is read', () => {
  const text = `# größe Размер 大\nDATABASE_URL=${url}\nPORT=9000\n`;
  const encodings: Record<string, Buffer> = {
    'UTF-8': Buffer.from(text),
    'UTF-8 with a byte order mark': Buffer.from(`\ufeff${text}`),
    'UTF-16LE with a byte order mark': utf16(`\ufeff${text}`, 'le'),
    'UTF-16BE with a byte order mark': utf16(`\ufeff${text}`, 'be'),
    'UTF-16LE': utf16(text, 'le'),
    'UTF-16BE': utf16(text, 'be'),
    'UTF-8 with marks where files were put together': Buffer.from(`\ufeff# a\n\ufeffDATABASE_URL=${url}\n\ufeffPORT=9000`),
  };
  for (const [encoding, bytes] of Object.entries(encodings)) {
    test(`in ${encoding}, the first and the last variable included`, async () => {
      assert.deepEqual(await readContent(bytes), { values: { DATABASE_URL: url, PORT: '9000' }, issues: [] });
      const first = await readContent(Buffer.from(bytes.toString('latin1').replace(/#[^\n]*\n\0?/, ''), 'latin1'));
      assert.equal(first.values['PORT'], '9000');
    });
  }

  for (const [name, end] of [
    ['LF', '\n'],
    ['CRLF', '\r\n'],
    ['CR', '\r'],
  ] as const) {
    test(`with line ends of ${name}`, async () => {
      const lines = ['', '# a', `DATABASE_URL=${url}`, '', 'PORT=1', 'OTHER="a', 'b"', 'APP_NAME=x'];
      const { values, issues } = await readContent(lines.join(end));
      assert.deepEqual(values, { DATABASE_URL: url, PORT: '1', OTHER: 'a\nb', APP_NAME: 'x' });
      assert.deepEqual(issues, []);
    });
  }

  test("with the values of Node's own parser", async () => {
    const lines = [
      'A=1',
      ' B = 2 ',
      'export C=3',
      'export   D = 4',
      'E="five # not a comment" # a comment',
      "F='six'",
      'G=`seven "and" \'more\'`',
      'H="line\\nbreak"',
      "I='no\\nbreak'",
      'J=eight # a comment',
      'K=nine#a comment',
      'L=',
      'M=""',
      'N=a=b==',
      'O=it\'s a "word"',
      'P={"a": [1, 2]}',
      'Q="first',
      'second"',
      'R="\'"',
      'my.name-1=x',
      'S=#',
    ];
    const { values, issues } = await readContent(lines.join('\n'));
    assert.deepEqual(values, { ...parseEnv(lines.join('\n')) });
    assert.equal(Object.keys(values).length, lines.length - 1);
    assert.deepEqual(issues, []);
  });

  test('with blanks of any kind after the =, where Node loses the next line', async () => {
    assert.deepEqual(await readContent(`DATABASE_ADMIN_URL= \nDATABASE_URL=${url}\nexport\tAPP_NAME=\t\n\nPORT\u00a0=\u00a01`), {
      values: { DATABASE_ADMIN_URL: '', DATABASE_URL: url, APP_NAME: '', PORT: '1' },
      issues: [],
    });
  });

  test('with the variables of other programs beside it, several lines long or close to nothing here', async () => {
    const lines = [
      'POSTGRES_PASSWORD=x',
      'API_NAME=x',
      'DB_URL=x',
      'PGPORT=1',
      'ports=1',
      'KEY="-----BEGIN KEY-----',
      'QUJD=',
      '-----END KEY-----"',
      'JSON="{\\"a\\":1}"',
      `PATH_OF=\${HOME}/x`,
      'INCH=5"',
    ];
    assert.deepEqual((await readContent(lines.join('\n'))).issues, []);
  });

  test('if it is empty or missing', async () => {
    for (const content of ['', '\n\n', '\ufeff', '# only this']) assert.deepEqual(await readContent(content), { values: {}, issues: [] });
    assert.deepEqual(await inFolder((path) => read(path)), { values: {}, issues: [] });
  });
});

suite('a line of .env is refused', () => {
  const lines: readonly (readonly [content: string, issue: RegExp])[] = [
    [`DATABASE_URL ${url}`, /^line 2 does not set DATABASE_URL: write it as DATABASE_URL=value\.$/],
    [`DATABASE_URL: ${url}`, /^line 2 does not set DATABASE_URL/],
    [`DATABASE_URL: ${url}?sslmode=require`, /^line 2 does not set DATABASE_URL/],
    [`set DATABASE_URL=${url}`, /^line 2 does not set DATABASE_URL/],
    [`$env:DATABASE_URL = "${url}"`, /^line 2 does not set DATABASE_URL/],
    [`"DATABASE_URL"="${url}"`, /^line 2 does not set DATABASE_URL/],
    [`- DATABASE_URL=${url}`, /^line 2 does not set DATABASE_URL/],
    [`\u200bDATABASE_URL=${url}`, /^line 2 does not set DATABASE_URL/],
    ['export DATABASE_URL', /^line 2 does not set DATABASE_URL/],
    ['database_url postgres', /^line 2 does not set DATABASE_URL/],
    ['s3cret', /^line 2 sets nothing: write NAME=value, or # before a comment\.$/],
    ['=s3cret', /^line 2 sets nothing/],
    ['"', /^line 2 sets nothing/],
    ['[section]', /^line 2 sets nothing/],
    ['; a comment', /^line 2 sets nothing/],
    ['// a comment', /^line 2 sets nothing/],
    ['set X=1', /^line 2 sets nothing/],
    ['OTHER="s3cret', /^line 2 opens a quote " and does not close it/],
    [`DATABASE_URL='${url}`, /^line 2 opens a quote '/],
    [`APP_NAME="x\nDATABASE_URL="${url}"`, /^line 2 opens a quote "/],
    [`OTHER="x\nDATABASE_URL="${url}"`, /^line 2 opens a quote "/],
    [`OTHER="x\nDATABASE_URL=${url}\n# "`, /^line 2 opens a quote "/],
    ['APP_NAME="x\ny"', /^line 2 opens a quote "/],
    ['APP_NAME="x" y', /^line 2 has more behind the closing quote " of APP_NAME/],
    ['APP_NAME="x""', /^line 2 has more behind the closing quote "/],
    [`DATABASE_URL=${url}"`, /^line 2 closes a quote in DATABASE_URL/],
    ['DATABASE_URL=postgres://me:s3#cret@db/users', /^line 2 ends the value of DATABASE_URL at a #/],
    ['DATA_DIR=/srv/data#2', /^line 2 ends the value of DATA_DIR at a #/],
    [`DATABASE_URL=postgres://me:\${PASSWORD}@db/users`, /^line 2 has \$\{\.\.\.\} in DATABASE_URL/],
    ['PORT=2\nPORT=3', /^line 3 sets PORT to another value than line 2/],
    [`DATABASE_URL=${url}\nDATABASE_URL=`, /^line 3 sets DATABASE_URL to another value than line 2/],
    [`DATABSE_URL=${url}`, /^line 2 sets DATABSE_URL, which is no setting: write DATABASE_URL/],
    [`DATABASE_ULR=${url}`, /write DATABASE_URL/],
    [`database_url=${url}`, /write DATABASE_URL/],
    [`DATABASE-URL=${url}`, /write DATABASE_URL/],
    [`DATABASEURL=${url}`, /write DATABASE_URL/],
    [`DATABASE_URI=${url}`, /write DATABASE_URL/],
    ['RABBIT_URL=amqp://a', /write RABBITMQ_URL/],
    ['CORS_ORIGIN=https://a', /write CORS_ORIGINS/],
    ['port=9000', /write PORT/],
  ];
  for (const [content, issue] of lines) {
    test(`${JSON.stringify(content.replaceAll(url, '...'))}`, async () => {
      const { issues } = await readContent(`A=1\n${content}\n`);
      assert.equal(issues.length, 1, issues.join());
      assert.match(issues[0] as string, issue);
    });
  }

  test('with up to ten wrong lines at once', async () => {
    const { issues } = await readContent(`x\nPORT=1\ny\nport=1\nDATABSE_URL=\n${'z\n'.repeat(20)}`);
    assert.deepEqual(
      issues.map((issue) => issue.split(' ').slice(0, 2).join(' ')),
      ['line 1', 'line 3', 'line 5', 'line 6', 'line 7', 'line 8', 'line 9', 'line 10', 'line 11', 'line 12', 'has 13'],
    );
  });

  test('but not a name close to a setting that is set itself, in the file or in the environment', async () => {
    assert.deepEqual((await readContent(`DATABASE_URI=x\nDATABASE_URL=${url}`)).issues, []);
    assert.deepEqual((await readContent('DATABASE_URI=x', ['DATABASE_URL'])).issues, []);
    assert.deepEqual((await readContent('DATABASE_URI=x\nDATABASE_URL=')).issues, []);
  });

  test('nor a setting that is repeated with the same value', async () => {
    assert.deepEqual(await readContent('PORT=1\nPORT="1"\nOTHER=1\nOTHER=2'), { values: { PORT: '1', OTHER: '2' }, issues: [] });
  });
});

suite('.env is refused as a whole', () => {
  const contents: Record<string, readonly [Buffer, RegExp]> = {
    'bytes that are not UTF-8': [Buffer.from('A=1\nB=gr\xf6\xdfe\n', 'latin1'), /^line 2 is not UTF-8: save the file as UTF-8\.$/],
    'half a character of UTF-16': [utf16('\ufeffA=1\nB=2', 'le').subarray(0, -1), /^line 2 is not UTF-16LE/],
    'a lone surrogate': [utf16('\ufeffA=1\n\ud800B=2', 'be'), /^line 2 is not UTF-16BE/],
    'a NUL': [Buffer.from('A=1\nB=2\nC=\0'), /^line 3 holds a NUL character/],
    'UTF-32': [Buffer.from('fffe000041000000', 'hex'), /^line 1 holds a NUL character/],
    'a part in UTF-8 and a part in UTF-16': [Buffer.concat([Buffer.from('AAAAAAAAAA=1\n'), utf16('B=2\n', 'le')]), /^line 2 holds a NUL/],
    'more than a megabyte': [Buffer.alloc(1_048_577, '#'), /^has 1048577 bytes, and the limit is 1048576/],
  };
  for (const [what, [bytes, issue]] of Object.entries(contents)) {
    test(`with ${what}`, async () => {
      const { issues } = await readContent(bytes);
      assert.equal(issues.length, 1);
      assert.match(issues[0] as string, issue);
    });
  }

  test('if it is a folder, a FIFO, a broken link, or unreadable', async () => {
    const makers: readonly (readonly [(path: string) => unknown, RegExp])[] = [
      [(path) => mkdir(path), /^is a folder: put a file of lines NAME=value there, or remove it\.$/],
      [(path) => execFileSync('mkfifo', [path]), /^is not a regular file/],
      [(path) => symlink('/dev/zero', path), /^is not a regular file/],
      [(path) => symlink('nowhere', path), /^is a link to a file that does not exist/],
      [(path) => symlink('.env', path), /^cannot be read \(ELOOP\)/],
    ];
    for (const [make, issue] of makers) {
      const { issues } = await inFolder(async (path) => {
        await make(path);
        return read(path);
      });
      assert.equal(issues.length, 1);
      assert.match(issues[0] as string, issue);
    }
    const { issues } = await inFolder(async (path) => {
      await writeFile(path, 'A=1', { mode: 0 });
      await chmod(join(path, '..'), 0o755);
      // Root may read everything.
      const isRoot = process.geteuid?.() === 0;
      if (isRoot) process.seteuid?.(65_534);
      try {
        return read(path);
      } finally {
        if (isRoot) process.seteuid?.(0);
      }
    });
    assert.match(issues[0] as string, /^cannot be read \(EACCES\)/);
  });
});
