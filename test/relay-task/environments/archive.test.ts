import { createHash } from 'node:crypto';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startArchive } from '../../../relay-task/environments/archive.ts';
import type { EnvironmentDescription } from '../../../relay-task/ports.ts';
import { readDataSet } from '../../../relay-task/upstream/messages.ts';
import { type ArchivedEnvironment, packArchive } from '../../support/archive.ts';
import { eventually } from '../../support/eventually.ts';
import { environmentRep } from '../../support/fake-auto-config.ts';
import { flag } from '../../support/items.ts';
import { createLogRecorder } from '../../support/logs.ts';
import { closeAfterEach } from '../../support/opened.ts';
import { fakeTimers, writeSlowly } from '../../support/slow-writer.ts';
import { flagData, segmentData } from '../upstream/support.ts';

const LATER = Date.now() + 3_600_000;

const { behind } = closeAfterEach();

const flags = (...list: ReturnType<typeof flagData>[]) => ({
  flags: Object.fromEntries(list.map((flag) => [flag.key, flag])),
  segments: { s: segmentData('s', 1) },
});

const environment = (
  id: string,
  version: number,
  dataId: string,
  more: Record<string, unknown> = {},
  data: unknown = flags(flagData('a', 1)),
) => ({ env: environmentRep(id, version, more), dataId, data }) satisfies ArchivedEnvironment;

function createFolder() {
  const folder = mkdtempSync(join(tmpdir(), 'archive-'));
  behind(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'archive.tar.gz');
  /** Replaces the file atomically, as an operator should. */
  const replace = (bytes: Uint8Array) => {
    writeFileSync(`${path}.new`, bytes);
    renameSync(`${path}.new`, path);
  };
  return { folder, path, replace };
}

async function start(bytes: Uint8Array, more: Partial<Parameters<typeof startArchive>[0]> = {}) {
  const { folder, path, replace } = createFolder();
  replace(bytes);
  const lists: EnvironmentDescription[][] = [];
  const { log, lines } = createLogRecorder();
  const options = {
    ...{
      path,
      intervalMs: 10,
      prefixTemplate: 'ld-$CID',
      tableNameTemplate: '',

      allowedOrigins: [],
      allowedHeaders: [],
    },
    sink: { replace: (environments: readonly EnvironmentDescription[]) => void lists.push([...environments]) },
    ...{ log, readDataSet },
    ...more,
  };
  const again = async () => {
    const source = await startArchive(options);
    behind(() => source.close());
    return source;
  };
  const source = await again();
  const find = (id: string) => lists.at(-1)?.find((found) => found.id === id);
  const keysOf = (id: string) =>
    find(id)?.credentials.map(({ value, expiresAt }) => (expiresAt ? `${value} until ${expiresAt}` : value));
  return { source, again, lists, lines, find, keysOf, path, folder, replace };
}

test.each([
  ['.tar.gz', {}],
  ['.tar', { gzip: false }],
  ['names that begin with ./', { prefix: './' }],
])('every environment of an archive (%s) is read with its settings and flags, byte for byte', async (_, options) => {
  const json = flag('a', 1).json.replace('[true,false]', '[1.0,1e2] ,"unknown":"ü"');
  const text = `{"flags":{"a":${json},"sparse":{"key":"sparse","version":0}},"other":{},"segments":{}}`;
  const bytes = await packArchive(
    { e1: environment('e1', 3, 'd1', {}, text), e2: environment('e2', 1, 'd2') },
    options,
  );
  const { source, lists } = await start(bytes);
  expect(lists).toHaveLength(1);
  expect(lists[0]?.[0]).toMatchObject({
    ...{ id: 'e1', name: 'Shop Production', sdkKey: 'sdk-e1', prefix: 'ld-e1', ttlMs: 300_000, filters: [] },
    data: {
      id: 'd1',
      items: [
        { ...flag('a', 1), json },
        { kind: 'features', key: 'sparse', version: 0, json: expect.stringContaining('"rules":[]') },
      ],
    },
  });
  expect(lists[0]?.[1]?.data?.items.map(({ kind, key }) => `${kind}/${key}`)).toEqual(['segments/s', 'features/a']);
  expect(source.status()).toMatchObject({ kind: 'archive', state: 'VALID' });
});

test('the checksum may be raw or hexadecimal, and only JSON files at the top level are read', async () => {
  const environments = { e1: environment('e1', 1, 'd1') };
  const { env, dataId, data } = environments.e1;
  const md5 = createHash('md5').update(JSON.stringify(data)).update(JSON.stringify({ env, dataId })).digest('hex');
  const more = [
    { name: 'folder/', type: 'directory' as const },
    { name: 'folder/e9.json', content: '{}' },
    { name: 'e8.json', type: 'symlink' as const, linkname: '/etc/passwd' },
    { name: 'README', content: 'hello' },
  ];
  const { lists, lines } = await start(await packArchive(environments, { checksum: `${md5}\n`, more }));
  expect(lists[0]?.map(({ id }) => id)).toEqual(['e1']);
  expect(lines.join('\n')).not.toMatch(/could not be understood/);
});

describe('an archive that is', () => {
  const whole = () => packArchive({ e1: environment('e1', 1, 'd1') });
  test.each<[string, () => Promise<Uint8Array>, RegExp, object]>([
    [
      'without a checksum',
      () => packArchive({ e1: environment('e1', 1, 'd1') }, { checksum: undefined }),
      /has no checksum/,
      {},
    ],
    [
      'not what its checksum says',
      () => packArchive({ e1: environment('e1', 1, 'd1') }, { checksum: Buffer.alloc(16) }),
      /do not match its checksum/,
      {},
    ],
    ['cut short', async () => (await whole()).subarray(0, -20), /unexpected end/, {}],
    ['not an archive', async () => Buffer.alloc(2_000, 'x'), /header/i, {}],
    ['empty', async () => Buffer.alloc(0), /has no checksum/, {}],
    [
      'too large in one file',
      whole,
      /its file e1\.json has \d+ bytes and must have fewer than 100/,
      { maxFileBytes: 100 },
    ],
    ['too large in total', whole, /more than 600 bytes/, { maxTotalBytes: 600 }],
  ])('%s is rejected at startup', async (_, bytes, message, limits) => {
    await expect(start(await bytes(), limits)).rejects.toMatchObject({
      code: 'ARCHIVE_INVALID',
      message: expect.stringMatching(message),
    });
  });

  test('missing is rejected at startup', async () => {
    const path = join(createFolder().folder, 'missing.tar');
    await expect(start(await whole(), { path })).rejects.toMatchObject({
      code: 'ARCHIVE_INVALID',
      message: `${path}: file not found`,
    });
  });
});

test('a new archive changes only data with a new ID, rotates keys, and adds and removes environments', async () => {
  const { lists, find, keysOf, replace } = await start(
    await packArchive({ e1: environment('e1', 1, 'd1'), e2: environment('e2', 1, 'd1') }),
  );
  const before = find('e1')?.data;
  const sdkKey = { value: 'sdk-new', expiring: { value: 'sdk-e1', timestamp: LATER } };
  // Different data under the same ID is ignored: the ID decides.
  const e1 = environment('e1', 2, 'd1', { sdkKey, mobKey: 'mob-new' }, flags(flagData('b', 1)));
  replace(await packArchive({ e1, e3: environment('e3', 1, 'd1') }));
  await eventually(() => expect(lists.at(-1)?.map(({ id }) => id)).toEqual(['e1', 'e3']));
  expect(find('e1')?.data).toBe(before);
  expect(keysOf('e1')).toEqual(['sdk-new', `sdk-e1 until ${LATER}`, 'mob-new', 'e1']);
  replace(await packArchive({ e1: environment('e1', 1, 'd0', {}, flags(flagData('b', 1))) }));
  await eventually(() => expect(find('e1')?.data?.id).toBe('d0'));
  expect(find('e1')?.data?.items.map(({ key }) => key)).toEqual(['s', 'b']);
});

test('an invalid archive changes nothing and is reported once, and the next valid one is used', async () => {
  const good = await packArchive({ e1: environment('e1', 1, 'd1') });
  const { source, lists, lines, find, path, folder, replace } = await start(good);
  replace(good.subarray(0, -20));
  await eventually(() =>
    expect(source.status()).toMatchObject({
      state: 'INTERRUPTED',
      lastError: { message: expect.stringContaining(path) },
    }),
  );
  rmSync(path);
  await eventually(() => expect(source.status().lastError?.message).toContain('file not found'));
  expect(lists).toHaveLength(1);
  replace(await packArchive({ e1: environment('e1', 2, 'd2') }));
  await eventually(() => expect(find('e1')?.data?.id).toBe('d2'));
  expect(source.status().state).toBe('VALID');
  expect(lines.filter((line) => line.includes('Cannot use the archive'))).toHaveLength(2);
  expect(await readdir(folder)).toEqual(['archive.tar.gz']);
});

test('an archive that is still being written is not read', async () => {
  fakeTimers();
  try {
    const first = await packArchive({ e1: environment('e1', 1, 'd1') });
    const { lists, lines, find, path } = await start(first, { intervalMs: 250 });
    const bytes = await packArchive({ e1: environment('e1', 2, 'd2') });
    const parts = [1, 2, 40, bytes.length - 1, bytes.length].map((end) => bytes.subarray(0, end));
    const isRead = () => lists.length > 1 || lines.some((line) => line.includes('Cannot use the archive'));
    await writeSlowly(path, parts, { settleMs: 250, isRead });
    jest.useRealTimers();
    await eventually(() => expect(find('e1')?.data?.id).toBe('d2'));
    expect(lists).toHaveLength(2);
    expect(lines.filter((line) => line.includes('Cannot use the archive'))).toEqual([]);
  } finally {
    jest.useRealTimers();
  }
});

test.each<[string, Partial<ArchivedEnvironment>, RegExp]>([
  ['described as another one', { env: environmentRep('e9', 2) }, /envId must be/],
  ['with invalid keys', { env: environmentRep('e1', 2, { sdkKey: 'secret' }) }, /sdkKey must be an object/],
  ['whose flags are not JSON', { data: '{"flags"', dataId: 'd2' }, /e1-data\.json: is not JSON/],
  ['without flags', { data: {}, dataId: 'd2' }, /e1-data\.json: has no flags/],
])('an environment %s keeps its previous state, and the others are updated', async (_, broken, reason) => {
  const { find, lines, replace } = await start(
    await packArchive({ e1: environment('e1', 1, 'd1'), e2: environment('e2', 1, 'd1') }),
  );
  const before = find('e1');
  replace(await packArchive({ e1: { ...environment('e1', 2, 'd1'), ...broken }, e2: environment('e2', 2, 'd2') }));
  await eventually(() => expect(find('e2')?.data?.id).toBe('d2'));
  expect(find('e1')).toEqual(before);
  expect(lines.join('\n')).toMatch(reason);
  expect(lines.join('\n')).not.toMatch(/secret|sdk-e1/);
});

test('an invalid flag is named in the log and left out', async () => {
  const data = flags(flagData('a', 1), flagData('b', 1, { variations: 'x' }));
  const { find, lines } = await start(await packArchive({ e1: environment('e1', 1, 'd1', {}, data) }));
  expect(find('e1')?.data?.items.map(({ key }) => key)).toEqual(['s', 'a']);
  expect(lines.join('\n')).toMatch(/An item of the archive is invalid.*"key":"b"/);
});

test('a closed source delivers nothing', async () => {
  const { source, again, find, lists, replace } = await start(await packArchive({ e1: environment('e1', 1, 'd1') }));
  await source.close();
  replace(await packArchive({ e1: environment('e1', 2, 'd2') }));
  // Another source of the same file delivers what it finds and what comes later, as fast as the closed one would.
  await again();
  for (const id of ['d3', 'd4']) {
    replace(await packArchive({ e1: environment('e1', 2, id) }));
    await eventually(() => expect(find('e1')?.data?.id).toBe(id));
  }
  expect(lists).toHaveLength(4);
});
