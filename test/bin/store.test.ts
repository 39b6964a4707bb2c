/** The store command on a table that a real store fills. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { runStore } from '../../bin/store/run.ts';
import { encodeOfficialItem } from '../../lib/flag-table/index.ts';
import { flag, flags, relayed, segment, tombstone } from '../relay-task/store/items.ts';
import { expectTableToEqual, type OpenStore, openTable, quick, type Stores } from '../relay-task/store/open-stores.ts';
import { eventually } from '../support/eventually.ts';
import { startFakeProxy } from '../support/fake-proxy.ts';
import { type FakeTerminal, personTyping, pipeOf } from '../support/fake-terminal.ts';
import { startFaultyProxy } from '../support/faulty-proxy.ts';
import { shortTombstone } from '../support/items.ts';
import { createMemory, type Memory } from '../support/memory.ts';

const root = join(import.meta.dirname, '../..');
const before = { ...process.env };
let stores: Stores;

beforeEach(async () => {
  stores = await openTable();
  Object.assign(process.env, { AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test' });
});

afterEach(async () => {
  await stores.close();
  process.env = { ...before };
});

async function store(args: string, terminal: FakeTerminal = pipeOf(), env: Record<string, string> = {}) {
  const variables = { DYNAMODB_TABLE: 'flags', DYNAMODB_URL: stores.table.endpoint, ...env };
  const words = args.split(' ').map((word) => (word === "''" ? '' : word));
  const exitCode = await runStore(words, { terminal, env: variables, pause: async () => {}, leaseWatchMs: 1_000 });
  return { exitCode, printed: terminal.printed(), said: terminal.said() };
}

async function fill(memory: Memory, options = {}): Promise<OpenStore> {
  const holder = await stores.open(memory, { prefix: 'production', ...options });
  holder.setEligible(true);
  await holder.flush(60_000);
  return holder;
}

const putForeign = (item: Parameters<typeof encodeOfficialItem>[1]) =>
  stores.put(encodeOfficialItem('production', item));

describe('behind a proxy', () => {
  test('the table is read through the proxy of the variables @heavy', async () => {
    const proxy = await startFakeProxy(Number(new URL(stores.table.endpoint).port));
    const env = { DYNAMODB_URL: 'http://dynamodb.example.test', HTTP_PROXY: proxy.uri };
    const { said } = await store('show --prefix production', pipeOf(), env);
    expect(said).toMatch(/^No data in/);
    expect(proxy.asked[0]?.what).toBe('POST http://dynamodb.example.test/');
    await proxy.close();
  });

  test('an invalid proxy is named, without its password', async () => {
    const { exitCode, said } = await store('show --prefix production', pipeOf(), {
      HTTPS_PROXY: 'socks5://jane:s3cret@proxy',
    });
    expect({ exitCode, said }).toEqual({
      exitCode: 2,
      said: 'HTTPS_PROXY must be an http or https URL, such as http://proxy:3128\n',
    });
  });
});

/** The rows of `show` by their first word. */
function rowsOf(printed: string): Record<string, string> {
  const rows = printed.split('\n').map((line) => /^(\S+(?: \S+)?)\s{2,}(.*)$/.exec(line));
  return Object.fromEntries(rows.flatMap((row) => (row ? [[row[1], row[2]]] : [])));
}

describe('npm run store -- show', () => {
  test('prints the writer, its lease, the revision, sizes, counts and that nothing has drifted @heavy', async () => {
    const memory = createMemory(...flags(5), segment('s', 1), tombstone('features', 'gone', 2));
    const holder = await fill(memory, { checkedAt: () => Date.now() - 3_000 });
    memory.set(flag('flag-1', 2));
    await holder.flush(60_000);
    const { exitCode, printed } = await store('show --prefix production');
    expect(exitCode).toBe(0);
    expect(printed).toMatch(/^table flags, prefix production\n/);
    expect(rowsOf(printed)).toMatchObject({
      lease: 'is being renewed',
      owner: holder.owner,
      revision: expect.stringMatching(/^\d{13}\.2, body \d{13}\.1$/),
      checked: expect.stringMatching(/^([3-9]|\d\d) s ago \(20/),
      'head counts': '5 flags, 1 segments, 1 deleted',
      snapshot: expect.stringMatching(/^7 items, body of [1-9][\d,]+ bytes$/),
      delta: expect.stringMatching(/^[1-9][\d,]+ bytes$/),
      official: '5 flags, 1 segments, 1 deleted',
      marker: 'present',
      drift: 'none; both layouts are equal',
    });
  });

  test('prints the same as JSON @heavy', async () => {
    const memory = createMemory(...flags(3));
    await fill(memory, { checkedAt: () => 1_700_000_000_000 });
    const body = (await stores.rows('production:$snapshot')).body as { data: Uint8Array };
    const report = JSON.parse((await store('show --prefix production --quick --json')).printed);
    expect(report).toMatchObject({
      ...{ table: 'flags', prefix: 'production', lease: 'not looked at', drift: 0, tooLarge: [] },
      counts: { flags: 3, segments: 0, deleted: 0 },
      body: { bytes: body.data.length, items: 3 },
      head: { checkedAt: 1_700_000_000_000, rev: { seq: 1 } },
      official: { flags: 3, segments: 0, deleted: 0, unreadable: 0, inited: true },
    });
  });

  test('distinguishes a lease that is not renewed from one that was released @heavy', async () => {
    const holder = await fill(createMemory(flag('a', 1)), { timings: { ...quick, renewMs: 30_000, stopMs: 60_000 } });
    expect(rowsOf((await store('show --prefix production')).printed).lease).toMatch(
      /^is not being renewed; another relay takes over/,
    );
    await holder.close();
    const { printed } = await store('show --prefix production');
    expect(rowsOf(printed)).toMatchObject({ lease: 'was released; no relay is writing', owner: 'nobody' });
  });

  test('reports no snapshot, no lease and the Big Segments of a table that ld-relay filled', async () => {
    await putForeign(flag('a', 1));
    const key = 'production:big_segments_metadata';
    const row = { synchronizedOn: { N: String(Date.now() - 10_000) }, lastVersion: { S: 'v7' } };
    await stores.put({ namespace: { S: key }, key: { S: key }, ...row });
    const rows = rowsOf((await store('show --prefix production')).printed);
    expect(rows).toMatchObject({ official: '1 flags, 0 segments, 0 deleted', snapshot: 'none' });
    expect(rows.lease).toMatch(/no relay of this project/);
    expect(rows.marker).toMatch(/^missing/);
    expect(rows['big segments']).toMatch(/^synchronised 1\d s ago \(.*\), version "v7"$/);
    expect(rows.drift).toBeUndefined();
  });

  test('reports every environment that the relay’s variables name if there is no prefix @heavy', async () => {
    await fill(createMemory(flag('a', 1)));
    await fill(createMemory(flag('b', 1), flag('c', 1)), { prefix: 'staging' });
    const env = { LD_PREFIX_live: 'production', LD_PREFIX_test: 'staging' };
    const { printed } = await store('show --quick --json', pipeOf(), env);
    const reports = printed
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(reports.map(({ prefix, counts }) => [prefix, counts.flags])).toEqual([
      ['production', 1],
      ['staging', 2],
    ]);
    const one = await store('show --quick --environment test', pipeOf(), env);
    expect(one.printed).toMatch(/^table flags, prefix staging\n/);
  });
});

describe('npm run store -- verify', () => {
  test('exits with 0 if both layouts are equal, even when serialised differently @heavy', async () => {
    const memory = createMemory(...flags(4), segment('s', 1));
    await fill(memory);
    await putForeign({ ...flag('flag-1', 1), json: relayed(memory.get('features', 'flag-1')!) });
    await putForeign(tombstone('features', 'unheard', 4));
    const { exitCode, printed, said } = await store('verify --prefix production');
    expect([exitCode, said]).toEqual([0, '']);
    expect(printed).toBe('table flags, prefix production: 0 differ, 5 items are the same in both layouts\n');
  });

  test('names tombstones and items that lack fields @heavy', async () => {
    const memory = createMemory({ ...flag('a', 1), json: relayed(flag('a', 1)) }, tombstone('features', 'gone', 2));
    await (await fill(memory)).close();
    await putForeign(flag('a', 1));
    await putForeign(shortTombstone('features', 'gone', 2));
    await putForeign(shortTombstone('features', 'unheard', 3));
    const { exitCode, printed } = await store('verify --prefix production --quick');
    const lacks = 'lacks fields that some SDKs cannot do without; the relay that writes replaces it';
    expect([exitCode, printed.trim().split('\n').slice(0, -1).sort()]).toEqual([
      1,
      [`features/a: version 1 ${lacks}`, `features/gone: version 2 ${lacks}`, `features/unheard: version 3 ${lacks}`],
    ]);
  });

  test('exits with 1 and names every difference @heavy', async () => {
    const memory = createMemory(...flags(5), segment('s', 3));
    // A running relay would repair it.
    await (await fill(memory)).close();
    await putForeign(flag('flag-1', 9));
    await putForeign({ ...flag('flag-2', 1), json: relayed(flag('flag-2', 1, { on: false })) });
    await putForeign(flag('stranger', 2));
    const junk = { namespace: { S: 'production:features' }, key: { S: 'flag-3' }, version: { N: '1' } };
    await stores.put({ ...junk, item: { S: '{broken' } });
    await remove('production:segments', 's');
    await remove('production:$inited', 'production:$inited');
    const { exitCode, printed, said } = await store('verify --prefix production');
    expect(exitCode).toBe(1);
    expect(said).toMatch(/^Differences found; checking again in 12 s/);
    const lines = printed.trim().split('\n');
    expect(lines).toHaveLength(7);
    expect(lines).toEqual(
      expect.arrayContaining([
        'features/flag-1: version 9, in the snapshot 1',
        'features/flag-2: version 1 in both, with different content',
        expect.stringMatching(/^features\/flag-3: its official copy cannot be read/),
        'features/stranger: version 2 is only in LaunchDarkly’s layout',
        'segments/s: version 3 is only in the snapshot',
        '$inited: the marker of LaunchDarkly’s layout is missing',
        'table flags, prefix production: 6 differ, 2 items are the same in both layouts',
      ]),
    );
  });

  test('reads a table again that gave no answer at first @heavy', async () => {
    await fill(createMemory(flag('flag-1', 1)));
    const proxy = await startFaultyProxy(stores.table.endpoint);
    try {
      proxy.cutNext();
      const { exitCode, said } = await store('verify --prefix production', pipeOf(), { DYNAMODB_URL: proxy.endpoint });
      expect([exitCode, said]).toEqual([0, '']);
    } finally {
      await proxy.close();
    }
  });

  test('does not count a change that a relay is about to publish as a difference @heavy', async () => {
    const memory = createMemory(...flags(3));
    const holder = await fill(memory);
    await putForeign(flag('flag-1', 2));
    const terminal = pipeOf();
    const variables = { DYNAMODB_TABLE: 'flags', DYNAMODB_URL: stores.table.endpoint };
    const pause = async () => {
      memory.set(flag('flag-1', 2));
      await holder.flush(60_000);
    };
    expect(await runStore(['verify', '--prefix', 'production'], { terminal, env: variables, pause })).toBe(0);
    expect(terminal.said()).toMatch(/^Differences found/);
  });

  test('only notes an item that is too large for LaunchDarkly’s layout @heavy', async () => {
    const memory = createMemory(flag('big', 1), flag('small', 1));
    const holder = await fill(memory);
    memory.set(flag('big', 2, { note: 'x'.repeat(401_000) }));
    await holder.flush(60_000);
    const { exitCode, said } = await store('verify --prefix production');
    expect(exitCode).toBe(0);
    expect(said).toMatch(/^Note: features\/big: version 2 does not fit; the copy is older, since 20/);
  });

  test.each(['body', 'delta'])('exits with 1 for a snapshot with a corrupt %s @heavy', async (key) => {
    const holder = await fill(createMemory(...flags(3)));
    await holder.close();
    await stores.put({ namespace: { S: 'production:$snapshot' }, key: { S: key }, format: { N: '1' } });
    const { exitCode, printed } = await store('verify --prefix production');
    expect(exitCode).toBe(1);
    expect(printed).toMatch(/cannot compare the snapshot: \S+/);
    const { problem } = JSON.parse((await store('verify --prefix production --json')).printed);
    expect(problem).toMatch(key);
  });
});

describe('npm run store -- drop-snapshot', () => {
  test('removes the snapshot of one prefix and nothing else @heavy', async () => {
    const memory = createMemory(...flags(3));
    const holder = await fill(memory);
    await (await fill(createMemory(flag('b', 1)), { prefix: 'other' })).close();
    await holder.close();
    const { exitCode, printed } = await store('drop-snapshot --prefix production --yes');
    expect(exitCode).toBe(0);
    expect(printed).toBe('Removed 2 snapshot items of table flags, prefix production.\n');
    expect(await stores.rows('production:$snapshot')).toEqual({});
    expect(await stores.versions('production:features')).toEqual({ 'flag-0': 1, 'flag-1': 1, 'flag-2': 1 });
    expect(await stores.snapshot('other')).toEqual([flag('b', 1)]);
    expect((await store('drop-snapshot --prefix production --yes')).printed).toMatch(/has no snapshot/);
  });

  test('asks for confirmation, and removes nothing without an answer @heavy', async () => {
    await (await fill(createMemory(flag('a', 1)))).close();
    for (const terminal of [pipeOf(), personTyping('n'), personTyping()]) {
      const { exitCode, said } = await store('drop-snapshot --prefix production', terminal);
      expect(exitCode).toBe(1);
      expect(said).toMatch(/Nothing was removed/);
      expect(await stores.snapshot('production')).toEqual([flag('a', 1)]);
    }
    expect((await store('drop-snapshot --prefix production', personTyping('y'))).exitCode).toBe(0);
    expect(await stores.snapshot('production')).toBeUndefined();
  });

  test('makes a running relay write a new snapshot at once @heavy', async () => {
    const memory = createMemory(...flags(3), segment('s', 1));
    await fill(memory, { prefix: '' });
    const { exitCode, said } = await store("drop-snapshot --prefix '' --yes");
    expect(exitCode).toBe(0);
    expect(said).toMatch(/holds the lease: if it is running, it writes a new snapshot at once/);
    await eventually(() => expectTableToEqual(stores, memory));
  });
});

describe('npm run store', () => {
  test.each([
    ['shwo', 'Unknown command shwo: did you mean show?'],
    ['show production', 'Unexpected argument "production". Use --prefix to choose the environment.'],
    ['show --tabel x', 'Unknown option --tabel: did you mean --table?'],
    ['show --prefix a --environment b', '--prefix and --environment cannot be combined'],
    ['show --environment live', 'LD_PREFIX_live is not set, so the prefix is unknown. Pass --prefix'],
    ['drop-snapshot --yes', "drop-snapshot requires --prefix <prefix> ('' for none)"],
  ])('-- %s is a usage error: exits with 2 and says what to do', async (args, message) => {
    const { exitCode, said } = await store(args);
    expect(exitCode).toBe(2);
    expect(said).toContain(message);
  });

  test('says what to check for a missing table, a prefix without data and an unreachable database', async () => {
    expect((await store('show', pipeOf(), { DYNAMODB_TABLE: '' })).said).toMatch(
      /^No table given\. Pass --table <name>/,
    );
    const missing = await store('show --table missing');
    expect([missing.exitCode, missing.said]).toEqual([
      2,
      `Table missing does not exist in ${stores.table.endpoint}. Check --table and --region.\n`,
    ]);
    const empty = await store('show --prefix nobody');
    expect(empty.said).toBe('No data in table flags, prefix nobody. Check --prefix, --table and --region.\n');
    expect((await store('show --prefix nobody', pipeOf(), { AWS_REGION: '' })).said).toBe(empty.said);
    const away = await store('verify --endpoint http://127.0.0.1:9');
    expect([away.exitCode, away.said]).toEqual([2, expect.stringMatching(/^Cannot reach AWS in http:\/\/127.0.0.1:9/)]);
  });

  test('prints help, and exits with the code of the command @heavy', async () => {
    await (await fill(createMemory(flag('a', 1)))).close();
    await putForeign(flag('a', 3));
    const run = (...args: string[]) =>
      new Promise<{ code: number | null; printed: string }>((resolve) => {
        const env = { ...process.env, DYNAMODB_TABLE: 'flags', DYNAMODB_URL: stores.table.endpoint };
        const child = spawn(process.execPath, ['--import', 'tsx', 'bin/store.ts', ...args], { cwd: root, env });
        let printed = '';
        child.stdout.on('data', (text) => {
          printed += text;
        });
        child.on('close', (code) => resolve({ code, printed }));
      });
    const [help, verify] = await Promise.all([run('--help'), run('verify', '--prefix', 'production', '--quick')]);
    expect(help).toEqual({ code: 0, printed: expect.stringContaining('npm run store -- drop-snapshot') });
    expect(verify).toEqual({ code: 1, printed: expect.stringContaining('features/a: version 3, in the snapshot 1') });
  });
});

async function remove(namespace: string, key: string): Promise<void> {
  const { DeleteItemCommand } = await import('@aws-sdk/client-dynamodb');
  const Key = { namespace: { S: namespace }, key: { S: key } };
  await stores.table.client.send(new DeleteItemCommand({ TableName: stores.table.tableName, Key }));
}
