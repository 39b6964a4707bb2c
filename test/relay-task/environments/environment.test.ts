import type { Item } from '../../../lib/flag-table/index.ts';
import { createEnvironment } from '../../../relay-task/environments/environment.ts';
import type { Change } from '../../../relay-task/ports.ts';
import { shortTombstone, tombstone } from '../../support/items.ts';
import { createLogRecorder } from '../../support/logs.ts';
import { flagData, segmentData } from '../upstream/support.ts';

function start() {
  const changes: Change[] = [];
  const { log, lines } = createLogRecorder();
  const environment = createEnvironment({ name: 'test', log, onChange: (change) => void changes.push(change) });
  /** The changes since the last call, as `put a2 b1x`; x marks a tombstone. */
  const heard = () =>
    changes
      .splice(0)
      .map(({ kind, items }) => [kind, ...items.map((i) => `${i.key}${i.version}${i.deleted ? 'x' : ''}`)].join(' '));
  const put = (...items: Item[]) => environment.put(items, [], 0);
  return { environment, changes, heard, put, lines };
}

const flag = (key: string, version: number, more: Record<string, unknown> = {}): Item => ({
  kind: 'features',
  key,
  version,
  deleted: false,
  json: JSON.stringify(flagData(key, version, more)),
});
const segment = (key: string, version: number): Item => ({
  kind: 'segments',
  key,
  version,
  deleted: false,
  json: JSON.stringify(segmentData(key, version)),
});
describe('the first data of an environment', () => {
  test('is announced as a put, even if it is empty', () => {
    const { environment, heard, put } = start();
    expect(environment.initialized).toBe(false);
    put();
    expect(environment.initialized).toBe(true);
    expect(heard()).toEqual(['put']);
  });

  test('cannot come from a patch, because one flag alone would look like the full set', () => {
    const { environment, heard } = start();
    environment.upsert(flag('a', 1), 0);
    expect(environment.initialized).toBe(false);
    expect(heard()).toEqual([]);
  });
});

describe('a reconnect', () => {
  test('with the same data announces nothing', () => {
    const { environment, heard, put } = start();
    put(flag('a', 1), segment('s', 1));
    heard();
    put(flag('a', 1), segment('s', 1));
    expect(heard()).toEqual([]);
    expect(environment.generation).toBe(1);
  });

  test('with newer, new and missing items is one patch: segments, flags, then deletions in reverse order', () => {
    const { heard, put } = start();
    put(flag('a', 1), flag('gone', 7), segment('s', 1), segment('lost', 3));
    heard();
    put(flag('a', 2), flag('new', 1), segment('s', 2));
    expect(heard()).toEqual(['patch s2 a2 new1 gone8x lost4x']);
  });

  test.each([
    ['a lower version', flag('a', 4)],
    ['the same version with different content', flag('a', 5, { on: false })],
    ['a tombstone of the same version', tombstone('features', 'a', 5)],
  ])('with %s is one put', (_what, item) => {
    const { environment, heard, put } = start();
    put(flag('a', 5), flag('b', 1));
    heard();
    put(item, flag('b', 2));
    expect(heard()).toEqual([expect.stringMatching(/^put .*b2/)]);
    expect(environment.get('features', 'a')).toBe(item);
  });

  test('with equal data in other bytes keeps the newer bytes and announces nothing', () => {
    const { environment, heard, put } = start();
    put(flag('a', 1));
    heard();
    const digest = environment.digest('all');
    const { contextTargets, ...older } = flagData('a', 1);
    const spaced = { ...flag('a', 1), json: JSON.stringify(older, null, 2) };
    put(spaced);
    expect(contextTargets).toEqual([]);
    expect(heard()).toEqual([]);
    expect(environment.get('features', 'a')).toBe(spaced);
    expect(environment.digest('all')).not.toBe(digest);
  });

  test('that restores a missing item accepts it at any version', () => {
    const { environment, heard, put } = start();
    put(flag('a', 5), segment('s', 2));
    put();
    // With every field: the PHP SDK reads them from a store.
    expect(environment.get('features', 'a')).toEqual(tombstone('features', 'a', 6));
    expect(environment.get('segments', 's')).toEqual(tombstone('segments', 's', 3));
    heard();
    put(flag('a', 5));
    expect(heard()).toEqual(['put a5']);
    put();
    heard();
    put(flag('a', 7));
    expect(heard()).toEqual(['patch a7']);
  });

  test('that drops a tombstone makes any later version acceptable', () => {
    const { heard, put, environment } = start();
    put(flag('a', 5));
    environment.upsert(tombstone('features', 'a', 6), 0);
    heard();
    environment.upsert(flag('a', 6), 0);
    expect(heard()).toEqual([]);
    put();
    environment.upsert(flag('a', 1), 0);
    expect(heard()).toEqual(['put a1']);
  });
});

describe('a patch', () => {
  test.each([4, 5])('of version %i does not replace version 5', (version) => {
    const { environment, heard, put } = start();
    put(flag('a', 5));
    heard();
    environment.upsert(flag('a', version, { on: false }), 0);
    environment.upsert(tombstone('features', 'a', version), 0);
    expect(heard()).toEqual([]);
    expect(environment.get('features', 'a')).toMatchObject({ version: 5, deleted: false });
  });

  test('carries the time at which its bytes arrived', () => {
    const { environment, changes, put } = start();
    put(flag('a', 5));
    environment.upsert(flag('a', 6), 1234.5);
    expect(changes.at(-1)).toMatchObject({ generation: 2, kind: 'patch', receivedAt: 1234.5 });
  });
});

describe('an invalid item', () => {
  test('keeps its previous version and does not count as missing', () => {
    const { environment, heard, put } = start();
    put(flag('a', 1), flag('b', 1));
    heard();
    environment.put([flag('b', 2)], [{ kind: 'features', key: 'a', reason: 'rules must be an array' }], 0);
    expect(heard()).toEqual(['patch b2']);
    expect(environment.get('features', 'a')).toMatchObject({ version: 1, deleted: false });
    expect(environment.unreadable()).toEqual([{ kind: 'features', key: 'a', reason: 'rules must be an array' }]);
    environment.upsert(flag('a', 3), 0);
    expect(environment.unreadable()).toEqual([]);
  });

  test('does not keep its previous version when that may be another environment’s', () => {
    const { environment, heard, put } = start();
    put(flag('a', 1), flag('b', 1));
    heard();
    environment.put([flag('b', 2)], [{ kind: 'features', key: 'a', reason: 'rules must be an array' }], 0, 'none');
    expect(heard()).toEqual(['patch b2 a2x']);
    expect(environment.get('features', 'a')).toEqual(tombstone('features', 'a', 2));
    expect(environment.unreadable()).toEqual([{ kind: 'features', key: 'a', reason: 'rules must be an array' }]);
  });

  test('of a patch is listed until a full set omits it', () => {
    const { environment, put } = start();
    put(flag('a', 1));
    environment.skip({ kind: 'features', key: 'a', reason: 'no' });
    environment.skip({ kind: 'features', key: 'a', reason: 'still no' });
    expect(environment.unreadable()).toEqual([{ kind: 'features', key: 'a', reason: 'still no' }]);
    put(flag('a', 2));
    expect(environment.unreadable()).toEqual([]);
  });
});

describe('data from a store', () => {
  test('is served at once, then compared with what upstream sends', () => {
    const { environment, heard } = start();
    expect(environment.boot([flag('a', 1), flag('b', 1), tombstone('features', 'c', 3)])).toBe(true);
    expect(environment.initialized).toBe(true);
    expect(heard()).toEqual(['put a1 b1 c3x']);
    environment.put([flag('a', 1), flag('b', 2)], [], 0);
    expect(heard()).toEqual(['patch b2']);
  });

  test('never replaces what upstream sent', () => {
    const { environment, heard, put } = start();
    put(flag('a', 1));
    heard();
    expect(environment.boot([flag('a', 9)])).toBe(false);
    expect(heard()).toEqual([]);
    expect(environment.get('features', 'a')).toMatchObject({ version: 1 });
  });

  test('that is newer than what upstream sent is taken, in sending order as one patch, and what is older or missing changes nothing', () => {
    const { environment, heard, put, changes } = start();
    put(flag('a', 5), flag('b', 2), flag('kept', 1), segment('s', 1));
    heard();
    const newer = [flag('c', 1), flag('a', 4), tombstone('features', 'b', 3), flag('d', 1), segment('s', 2)];
    expect(environment.follow(newer)).toBe(4);
    expect(heard()).toEqual(['patch s2 c1 d1 b3x']);
    expect(environment.get('features', 'a')).toMatchObject({ version: 5 });
    expect(environment.get('features', 'kept')).toMatchObject({ version: 1, deleted: false });
    expect(environment.follow([...newer, flag('b', 3)])).toBe(0);
    expect(changes).toEqual([]);
    // Upstream has the last word, also with lower versions.
    put(flag('a', 3));
    expect(environment.get('features', 'a')).toMatchObject({ version: 3 });
  });

  test('that is newer and invalid is named once, and its previous version stays', () => {
    const { environment, put, lines } = start();
    put(flag('a', 1), flag('b', 1));
    const broken = { ...flag('a', 2), json: '{"key":"a","version":2,' };
    expect(environment.follow([broken, flag('b', 2)])).toBe(1);
    expect(environment.follow([broken])).toBe(0);
    expect(environment.get('features', 'a')).toMatchObject({ version: 1 });
    expect(environment.unreadable()).toEqual([{ kind: 'features', key: 'a', reason: 'is not JSON' }]);
    expect(lines.filter((line) => line.includes('Items in the store are invalid and were left out'))).toHaveLength(1);
    expect(environment.follow([flag('a', 3)])).toBe(1);
    expect(environment.unreadable()).toEqual([]);
  });

  test('that are invalid are logged in one line, however many, and only some are named @heavy', () => {
    const { environment, lines } = start();
    const broken = Array.from({ length: 10_001 }, (_, index) => ({ ...flag(`broken-${index}`, 1), json: '[]' }));
    environment.boot([...broken, flag('a', 1)]);
    const skipped = () => lines.filter((line) => line.includes('Items in the store are invalid and were left out'));
    expect(skipped()).toHaveLength(1);
    expect(skipped()[0]).toContain('"items":10001');
    expect(skipped()[0]).toContain('broken-0');
    expect(environment.unreadable()).toHaveLength(10_000);
    expect(environment.follow(broken)).toBe(0);
    expect(skipped()).toHaveLength(2);
    expect(environment.follow(broken)).toBe(0);
    expect(skipped()).toHaveLength(2);
  });

  test('are read in slices, and nothing is parsed in the turn that takes them', () => {
    const { environment } = start();
    const stored = Array.from({ length: 20 }, (_, index) => flag(`flag-${index}`, 1));
    const parse = jest.spyOn(JSON, 'parse');
    const yields = (items: Item[]) => {
      parse.mockClear();
      let count = 0;
      for (const _ of environment.prepare(items)) count += 1;
      return count;
    };
    try {
      expect(yields(stored)).toBeGreaterThanOrEqual(20);
      expect(parse).toHaveBeenCalledTimes(20);
      expect(environment.boot(stored)).toBe(true);
      expect(environment.digest('all')).not.toBe('');
      expect(parse).toHaveBeenCalledTimes(20);
      // Only what is newer.
      yields([...stored.slice(1), flag('flag-0', 2)]);
      expect(parse).toHaveBeenCalledTimes(1);
    } finally {
      parse.mockRestore();
    }
  });

  test('that is newer does not begin an environment', () => {
    const { environment, heard } = start();
    expect(environment.follow([flag('a', 1)])).toBe(0);
    expect([environment.initialized, heard()]).toEqual([false, []]);
  });

  test('is completed where it lacks default fields, and is otherwise kept byte for byte', () => {
    const { environment } = start();
    const sparse = '{"key":"b","version":2,"later":1.50,"rules":[{"clauses":[{"op":"in","values":[1e2]}]}]}';
    const odd = { ...flag('a', 1), json: flag('a', 1).json.replace(/^\{/, '{ "later":1.0 , ') };
    const deleted = {
      ...tombstone('segments', 'd', 4),
      json: tombstone('segments', 'd', 4).json.replace('"d"', '"$deleted"'),
    };
    environment.boot([
      ...[odd, { ...flag('b', 2), json: sparse }, shortTombstone('features', 'c', 3), deleted],
      shortTombstone('segments', 'e', 5),
    ]);
    expect(environment.get('features', 'a')).toBe(odd);
    const completed = environment.get('features', 'b')!.json;
    const clause = { attribute: '', op: 'in', values: [100], negate: false };
    expect(JSON.parse(completed)).toEqual({
      ...{ ...JSON.parse(tombstone('features', 'b', 2).json), deleted: false, later: 1.5 },
      rules: [{ clauses: [clause], trackEvents: false }],
    });
    for (const bytes of ['"later":1.50', '"values":[1e2]']) expect(completed).toContain(bytes);
    expect(environment.get('features', 'c')).toEqual(tombstone('features', 'c', 3));
    expect(environment.get('segments', 'd')).toBe(deleted);
    expect(environment.get('segments', 'e')).toEqual(tombstone('segments', 'e', 5));
  });

  test('that is partly damaged loses only the damaged items', () => {
    const { environment, lines } = start();
    const broken = { ...flag('a', 1), json: '{"key":"a","version":1,' };
    const foreign = { ...flag('b', 1), key: 'c' };
    environment.boot([broken, foreign, flag('d', 1)]);
    expect([...environment.items('features')].map(({ key }) => key)).toEqual(['d']);
    expect(environment.unreadable().map(({ key, reason }) => [key, reason])).toEqual([
      ['a', 'is not JSON'],
      ['c', 'key must be "c" as in the store, not "b"'],
    ]);
    expect(lines).toEqual([expect.stringContaining('"items":2')]);
  });
});

describe('the compiled form of an item', () => {
  test('is built once and again only when the item changes', () => {
    const { environment, put } = start();
    put(flag('a', 1), flag('b', 1), segment('s', 1));
    const [a, b, s] = [environment.flag('a'), environment.flag('b'), environment.segment('s')];
    expect(environment.flag('a')).toBe(a);
    environment.upsert(flag('a', 2), 0);
    expect(environment.flag('a')).toMatchObject({ key: 'a', version: 2 });
    expect(environment.flag('b')).toBe(b);
    expect(environment.segment('s')).toBe(s);
    environment.upsert(tombstone('features', 'a', 3), 0);
    expect(environment.flag('a')).toMatchObject({ deleted: true });
    expect(environment.flag('nowhere')).toBeUndefined();
  });

  test('always evaluates the current items', () => {
    const { environment, put } = start();
    put(flag('a', 1));
    const ask = () => environment.evaluator.evaluate('a', { kind: 'user', key: 'u' }, 'fallback');
    expect(ask()).toMatchObject({ value: true, reason: { kind: 'FALLTHROUGH' } });
    environment.upsert(flag('a', 2, { on: false }), 0);
    expect(ask()).toMatchObject({ value: false, reason: { kind: 'OFF' } });
    environment.upsert(tombstone('features', 'a', 3), 0);
    expect(ask()).toMatchObject({ value: 'fallback', reason: { kind: 'ERROR', errorKind: 'FLAG_NOT_FOUND' } });
  });
});

describe('the digest', () => {
  test('is the same for the same items, whatever their history and order', () => {
    const one = start();
    one.put(flag('b', 1), flag('old', 1), segment('s', 1));
    one.environment.upsert(flag('a', 3), 0);
    one.environment.upsert(tombstone('features', 'old', 2), 0);
    const other = start();
    other.put(segment('s', 1), flag('a', 3), flag('b', 1));
    for (const scope of ['all', 'features', 'segments'] as const) {
      expect(one.environment.digest(scope)).toBe(other.environment.digest(scope));
      expect(one.environment.digest(scope)).toMatch(/^[0-9a-f]{32}$/);
    }
  });

  test('differs if a kind, key, version or content differs', () => {
    const sets = [[], [flag('a', 1)], [flag('a', 2)], [flag('b', 1)], [flag('a', 1, { on: false })], [segment('a', 1)]];
    const digests = sets.map((items) => {
      const { environment, put } = start();
      put(...items);
      return environment.digest('all');
    });
    expect(new Set(digests).size).toBe(sets.length);
  });

  test('of flags does not change with a segment', () => {
    const { environment, put } = start();
    put(flag('a', 1), segment('s', 1));
    const [flags, segments] = [environment.digest('features'), environment.digest('segments')];
    environment.upsert(segment('s', 2), 0);
    expect(environment.digest('features')).toBe(flags);
    expect(environment.digest('segments')).not.toBe(segments);
  });
});

test('invalid changes are remembered up to ten thousand', () => {
  const { environment, put } = start();
  put(flag('a', 1));
  for (let at = 0; at < 10_500; at += 1) environment.skip({ kind: 'features', key: `f${at}`, reason: 'no' });
  environment.skip({ kind: 'features', key: 'f1', reason: 'another' });
  expect(environment.unreadable()).toHaveLength(10_000);
  expect(environment.unreadable()[1]?.reason).toBe('another');
});
