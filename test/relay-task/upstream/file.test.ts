import { mkdir, mkdtemp, rename, rm, symlink, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Kind } from '../../../lib/flag-table/index.ts';
import { createEnvironment } from '../../../relay-task/environments/environment.ts';
import type { Change, UpstreamStatus } from '../../../relay-task/ports.ts';
import { type FileReload, type FileSourceOptions, startFileSource } from '../../../relay-task/upstream/file.ts';
import { until } from '../../support/eventually.ts';
import { createLogRecorder } from '../../support/logs.ts';
import { closeAfterEach } from '../../support/opened.ts';
import { fakeTimers, writeSlowly } from '../../support/slow-writer.ts';
import { flagData, segmentData } from './support.ts';

const { behind } = closeAfterEach();

async function directory() {
  const path = await mkdtemp(join(tmpdir(), 'flags-file-'));
  behind(() => rm(path, { recursive: true }));
  return path;
}

/** A file source connected to real memory, as in the relay. */
async function follow(content: unknown, more: Partial<FileSourceOptions> & { name?: string } = {}) {
  const { name = 'flags.json', ...options } = more;
  const path = join(await directory(), name);
  const write = (next: unknown) => writeFile(path, typeof next === 'string' ? next : JSON.stringify(next));
  if (content !== undefined) await write(content);
  const { log, lines } = createLogRecorder();
  const changes: Change[] = [];
  const reloads: FileReload[] = [];
  const statuses: UpstreamStatus[] = [];
  const environment = createEnvironment({ name: 'test', log, onChange: (change) => void changes.push(change) });
  const start = async (own: Partial<FileSourceOptions> = {}) => {
    const source = await startFileSource({
      path,
      sink: environment,
      log,
      held: environment.get,
      onReload: (reload) => void reloads.push(reload),
      onStatus: (status) => void statuses.push(status),
      settleMs: 20,
      ...options,
      ...own,
    });
    behind(() => source.close());
    return source;
  };
  const heard = () =>
    changes
      .splice(0)
      .map(({ kind, items }) => [kind, ...items.map((i) => `${i.key}${i.version}${i.deleted ? 'x' : ''}`)].join(' '));
  const json = (kind: Kind, key: string) => JSON.parse(environment.get(kind, key)?.json ?? 'null');
  /** Writes and waits until the change has been read. */
  const edit = async (next: unknown) => {
    const before = reloads.length;
    await write(next);
    await until('the edit to be read', () => reloads.length > before);
  };
  return { path, write, edit, start, environment, heard, json, reloads, statuses, lines };
}

describe('a flags file', () => {
  const flag = { on: true, variations: ['red', 'blue'], fallthrough: { variation: 1 } };
  const yaml = `
flags:
  colour:
    on: true
    variations: [red, blue]
    fallthrough: { variation: 1 }
flagValues:
  title: Hello
  limits: { upload: 1.5 }
segments:
  beta: { included: [ada] }
`;
  const json = {
    flags: { colour: flag },
    flagValues: { title: 'Hello', limits: { upload: 1.5 } },
    segments: { beta: { included: ['ada'] } },
  };

  test.each([
    ['flags.json', JSON.stringify(json)],
    ['flags.json', `\uFEFF${JSON.stringify(json, null, 2)}`],
    ['flags.yaml', yaml],
    ['flags.YML', yaml],
    ['flags', yaml],
    ['flags.conf', JSON.stringify(json)],
  ])('named %s is read and completed as LaunchDarkly would send it', async (name, text) => {
    const { start, environment, json: item } = await follow(text, { name });
    await start();
    expect(item('features', 'colour')).toEqual({
      ...flagData('colour', 1, { variations: ['red', 'blue'], fallthrough: { variation: 1 } }),
      offVariation: null,
      salt: expect.any(String),
    });
    expect(item('segments', 'beta')).toMatchObject({
      ...segmentData('beta', 1, { included: ['ada'] }),
      salt: expect.any(String),
    });
    const ask = (key: string) => environment.evaluator.evaluate(key, { kind: 'user', key: 'u' }, null);
    expect(ask('colour')).toMatchObject({ value: 'blue', reason: { kind: 'FALLTHROUGH' } });
    expect(ask('title')).toMatchObject({ value: 'Hello', variationIndex: 0, reason: { kind: 'FALLTHROUGH' } });
    expect(ask('limits')).toMatchObject({ value: { upload: 1.5 } });
  });

  test('may have unknown fields, which are kept', async () => {
    const { start, json: item } = await follow({ flags: { a: { ...flagData('a', 3), future: { x: [1] } } } });
    await start();
    expect(item('features', 'a')).toMatchObject({ version: 3, future: { x: [1] } });
  });

  test('with the same flag in both sections is rejected', async () => {
    const { start } = await follow({ flags: { a: flagData('a', 1) }, flagValues: { a: 1 } });
    await expect(start()).rejects.toThrow('flag "a" is defined in both flags and flagValues');
  });
});

describe('a flags file at startup', () => {
  test.each([
    ['flags.json', undefined, 'file not found'],
    [
      'flags.json',
      '{\n  "flags": {\n    "a": {,\n',
      'line 3, column 11: expected a key in double quotes or }, found ","',
    ],
    ['flags.json', '', 'line 1, column 1: expected a value, found the end of the text'],
    ['flags.yaml', 'flags:\n  a: {on: true\n  b: 1\n', /line 3, column \d+: /],
    ['flags.yaml', 'flags:\n  a: {}\n  a: {}\n', 'line 3, column 3: Map keys must be unique'],
    ['flags.yaml', 'flags: *nowhere\n', 'nowhere'],
    ['flags.yaml', '', 'must be a map with flags, segments, flagValues, not empty'],
    ['flags.json', '[]', 'must be a map with flags, segments, flagValues, not a list'],
    ['flags.json', '{"flag":{}}', 'has none of flags, segments, flagValues'],
    ['flags.json', '{"flags":[]}', 'flags must be a map by key, not a list'],
  ])('%s with %j is FLAGS_FILE_INVALID with the path and the problem', async (name, text, problem) => {
    const { start, path, environment } = await follow(text, { name });
    const error = await start().catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ name: 'RelayError', code: 'FLAGS_FILE_INVALID' });
    expect((error as Error).message).toContain(`${path}: `);
    expect((error as Error).message).toMatch(problem);
    expect(environment.initialized).toBe(false);
  });

  test('with one invalid flag names it and serves the others', async () => {
    const { start, environment, reloads } = await follow({
      flags: {
        good: flagData('good', 1),
        bad: { rules: 7 },
        renamed: { key: 'other' },
        odd: { version: 'one' },
        text: 'on',
      },
    });
    const source = await start();
    expect([...environment.items('features')].map(({ key }) => key)).toEqual(['good']);
    expect(environment.unreadable()).toEqual([
      { kind: 'features', key: 'bad', reason: expect.stringContaining('rules') },
      { kind: 'features', key: 'renamed', reason: 'key must be "renamed" or left out, not "other"' },
      { kind: 'features', key: 'odd', reason: 'version must be a whole number from 0 or left out, not "one"' },
      { kind: 'features', key: 'text', reason: 'must be a map of its fields, not a string' },
    ]);
    expect(reloads).toMatchObject([{ changed: 1, readAt: expect.any(Number) }]);
    expect(source.status()).toMatchObject({ state: 'VALID', current: true, refused: false });
  });

  test('gets versions above those in the store, except for equal flags', async () => {
    const { start, environment, heard } = await follow({
      flags: { same: flagData('same', 1), other: flagData('other', 1) },
    });
    const stored = (key: string, more = {}) => ({
      kind: 'features' as const,
      key,
      version: 7,
      deleted: false,
      json: JSON.stringify(flagData(key, 7, more), null, 1),
    });
    environment.boot([stored('same'), stored('other', { on: false }), stored('gone')]);
    heard();
    await start();
    expect(heard()).toEqual(['patch other8 gone8x']);
    expect(environment.get('features', 'same')).toMatchObject({ version: 7 });
  });
});

describe('an edit of the flags file', () => {
  test('without new versions is a patch of what changed', async () => {
    const flags = { a: flagData('a', 3), b: flagData('b', 1) };
    const { start, edit, heard, reloads } = await follow({ flags, flagValues: { v: 1 } });
    await start();
    expect(heard()).toEqual(['put a3 b1 v1']);
    await edit({ flags: { ...flags, a: flagData('a', 3, { on: false }) }, flagValues: { v: 2 } });
    expect(heard()).toEqual(['patch a4 v2']);
    expect(reloads.at(-1)).toMatchObject({ changed: 2, unreadable: [] });
  });

  test('with an explicit version uses the larger one', async () => {
    const { start, edit, heard } = await follow({ flags: { a: flagData('a', 3), b: flagData('b', 5) } });
    await start();
    heard();
    await edit({ flags: { a: flagData('a', 10), b: flagData('b', 2, { on: false }) } });
    expect(heard()).toEqual(['patch a10 b6']);
    await edit({ flags: { a: flagData('a', 2), b: flagData('b', 2, { on: false }) } });
    expect(heard()).toEqual([]);
  });

  test('of an unknown field is a change, of white space and key order is not', async () => {
    const { start, edit, heard, reloads } = await follow({ flags: { a: { ...flagData('a', 1), future: 1 } } });
    await start();
    heard();
    await edit({ flags: { a: { ...flagData('a', 1), future: 2 } } });
    expect(heard()).toEqual(['patch a2']);
    const { key, ...rest } = flagData('a', 1);
    await edit(JSON.stringify({ flags: { a: { future: 2, ...rest, key } } }, null, 4));
    expect(heard()).toEqual([]);
    expect(reloads.at(-1)).toMatchObject({ changed: 0 });
  });

  test('that removes a flag is a deletion, and one that restores it is a change', async () => {
    const { start, edit, heard } = await follow({ flags: { a: flagData('a', 1), b: flagData('b', 1) } });
    await start();
    heard();
    await edit({ flags: { b: flagData('b', 1) } });
    expect(heard()).toEqual(['patch a2x']);
    await edit({ flags: { a: flagData('a', 1), b: flagData('b', 1) } });
    expect(heard()).toEqual(['patch a3']);
    await edit({ flags: { a: { ...flagData('a', 1), deleted: true }, b: flagData('b', 1) } });
    expect(heard()).toEqual(['patch a4x']);
  });

  test('that breaks the file is reported with its position and changes nothing until it is fixed', async () => {
    const { start, edit, heard, statuses, reloads, path } = await follow({ flags: { a: flagData('a', 1) } });
    const source = await start();
    heard();
    await edit('{"flags": {\n  "a": nope\n}}');
    expect(heard()).toEqual([]);
    const problem = `${path}: line 2, column 8: expected a value, found "nope"`;
    expect(reloads.at(-1)).toMatchObject({ changed: 0, problem });
    expect(source.status()).toMatchObject({
      state: 'INTERRUPTED',
      current: false,
      lastError: { kind: 'INVALID_DATA', message: problem },
    });
    await edit({ flags: { a: flagData('a', 2) } });
    expect(heard()).toEqual(['patch a2']);
    expect(source.status()).toMatchObject({ state: 'VALID', current: true });
    expect(statuses.map(({ state }) => state)).toEqual(['VALID', 'INTERRUPTED', 'VALID']);
  });

  test('that breaks one flag keeps its previous version', async () => {
    const { start, edit, heard, environment, reloads } = await follow({
      flags: { a: flagData('a', 1), b: flagData('b', 1) },
    });
    await start();
    heard();
    await edit({ flags: { a: { variations: 'none' }, b: flagData('b', 2) } });
    expect(heard()).toEqual(['patch b2']);
    expect(environment.get('features', 'a')).toMatchObject({ version: 1, deleted: false });
    expect(reloads.at(-1)?.unreadable).toMatchObject([{ key: 'a' }]);
    await edit({ flags: { a: flagData('a', 1), b: flagData('b', 2) } });
    expect(heard()).toEqual([]);
    expect(environment.unreadable()).toEqual([]);
  });

  test('that makes a mistake which SDKs accept is served and named once; so are the first ten of many', async () => {
    const unusual = (keys: string[], changes: Record<string, unknown>) => ({
      flags: Object.fromEntries(keys.map((key) => [key, flagData(key, 1, changes)])),
    });
    const { start, edit, heard, path, reloads, lines } = await follow(unusual(['a', 'b'], {}));
    await start();
    expect(reloads[0]?.remarks).toEqual([]);
    heard();
    await edit(unusual(['a'], { falthrough: 1 }));
    expect(heard()).toEqual(['patch a2 b2x']);
    const remark = { kind: 'features', key: 'a', at: 'falthrough' };
    expect(reloads.at(-1)).toMatchObject({ changed: 2, remarks: [remark] });
    await edit(unusual(['a'], { falthrough: 2 }));
    const told = () =>
      lines.splice(0).map((line) => {
        const [, message, fields = ''] = /^(.*?) (\{.*\})$/.exec(line) ?? [];
        return { message, fields: JSON.parse(fields) };
      });
    const reason = 'no SDK reads this property; did you mean fallthrough?';
    const message = 'Probably a mistake in the flags file; it is served as it is';
    expect(told()).toEqual([
      { message, fields: { path, ...remark, reason, runbook: 'operations.md#broken-flags-files' } },
    ]);

    await edit(unusual(Array.from('abcdefghijklmnop'), { falthrough: 1 }));
    expect(told().map((line) => [line.message, line.fields.key ?? line.fields.remarks])).toEqual([
      ...Array.from('bcdefghijk', (key) => [message, key]),
      ['More of the flags file is probably a mistake', 5],
    ]);
    await edit(unusual(['a'], {}));
    expect([reloads.at(-1)?.remarks, told()]).toEqual([[], []]);
    await edit(unusual(['a'], { falthrough: 1 }));
    expect(told()).toHaveLength(1);
  });

  test('by rename is noticed', async () => {
    const { start, heard, path, reloads } = await follow(
      { flags: { a: flagData('a', 1) } },
      { pollIntervalMs: 3_600_000 },
    );
    await start();
    heard();
    for (const version of [2, 3]) {
      await writeFile(`${path}~`, JSON.stringify({ flags: { a: flagData('a', version) } }));
      await rename(`${path}~`, path);
      await until('the edit to be read', () => reloads.length === version);
      expect(heard()).toEqual([`patch a${version}`]);
    }
  });

  test('by switching a symbolic link, as in Kubernetes, is noticed', async () => {
    const { start, heard, path, reloads, environment } = await follow(undefined);
    const [one, two] = [`${path}.1`, `${path}.2`];
    await writeFile(one, JSON.stringify({ flags: { a: flagData('a', 1) } }));
    await writeFile(two, JSON.stringify({ flags: { a: flagData('a', 2) } }));
    await symlink(one, path);
    await start();
    heard();
    await symlink(two, `${path}.new`);
    await rename(`${path}.new`, path);
    await until('the edit to be read', () => reloads.length === 2);
    expect(environment.get('features', 'a')).toMatchObject({ version: 2 });
  });

  test('is noticed by polling if its directory was replaced', async () => {
    const { start, environment, path, reloads } = await follow(
      { flags: { a: flagData('a', 1) } },
      { pollIntervalMs: 20 },
    );
    await start();
    const parent = join(path, '..');
    await rename(parent, `${parent}-old`);
    behind(() => rm(`${parent}-old`, { recursive: true }));
    await until('the loss to be seen', () => reloads.at(-1)?.problem !== undefined);
    await mkdir(parent);
    await writeFile(path, JSON.stringify({ flags: { a: flagData('a', 2) } }));
    await until('the edit to be read', () => environment.get('features', 'a')?.version === 2);
  });

  test('that is written slowly is read once it is complete', async () => {
    fakeTimers();
    try {
      const { start, heard, path, reloads } = await follow({ flags: { a: flagData('a', 1) } }, { settleMs: 800 });
      await start();
      heard();
      const text = JSON.stringify({ flags: { a: flagData('a', 2) } });
      await writeSlowly(path, [text.slice(0, 1), text.slice(0, 40), text.slice(0, -1), text], {
        settleMs: 800,
        isRead: () => reloads.length > 1,
      });
      jest.useRealTimers();
      await until('the edit to be read', () => reloads.length > 1);
      expect(heard()).toEqual(['patch a2']);
      expect(reloads.filter(({ problem }) => problem)).toEqual([]);
    } finally {
      jest.useRealTimers();
    }
  });

  test('that deletes the file changes nothing', async () => {
    const { start, heard, path, write, reloads, environment } = await follow({ flags: { a: flagData('a', 1) } });
    await start();
    heard();
    await unlink(path);
    await until('the loss to be seen', () => reloads.length === 2);
    expect(reloads.at(-1)?.problem).toBe(`${path}: file not found`);
    expect(environment.get('features', 'a')).toMatchObject({ version: 1, deleted: false });
    await write({ flags: { a: flagData('a', 2) } });
    await until('the return to be seen', () => environment.get('features', 'a')?.version === 2);
    expect(heard()).toEqual(['patch a2']);
  });
});

test('a closed file source reads nothing', async () => {
  const { start, write, reloads, environment } = await follow({ flagValues: { a: 1 } }, { pollIntervalMs: 10 });
  const source = await start();
  await source.close();
  await write({ flagValues: { a: 2 } });
  // Another source of the same file reads what it finds and what comes later, as fast as the closed one would.
  await start({ onReload() {} });
  await write({ flagValues: { a: 3 } });
  await until('the edit to be read', () => environment.get('features', 'a')?.json.includes('[3]') ?? false);
  expect([reloads.length, source.status().state]).toEqual([1, 'OFF']);
});
