import { createHash } from 'node:crypto';
import { checkManifest, encodeManifest } from '../../../relay-task/store/manifest.ts';
import { flag, segment, tombstone } from './items.ts';

const items = [flag('b', 2), tombstone('features', 'gone', 9), segment('s', 3), flag('a', 1)];

test('a manifest has the counts of live items and the digest of their sorted lines', () => {
  const digest = createHash('sha256').update('features/a 1\nfeatures/b 2\nsegments/s 3').digest('hex');
  expect(JSON.parse(encodeManifest(items, 0))).toEqual({ format: 1, flags: 2, segments: 1, missing: 0, digest });
});

test('a manifest is the same for the same items in any order and format, with or without tombstones', () => {
  const same = [...items].reverse().filter(({ deleted }) => !deleted);
  expect(
    encodeManifest(
      same.map((item) => ({ ...item, json: ` ${item.json}` })),
      0,
    ),
  ).toBe(encodeManifest(items, 0));
});

test.each([
  ['matches the same set', items, 'whole'],
  ['does not match a set without one of its flags', items.slice(1), 'partial'],
  ['does not match a set without its segment', items.filter(({ kind }) => kind === 'features'), 'partial'],
  ['does not match a set with another flag', [...items, flag('c', 1)], 'partial'],
  ['does not match a set with another version of a flag', [...items.slice(1), flag('b', 3)], 'partial'],
  ['does not match a set with a deleted flag', [...items.slice(1), tombstone('features', 'b', 3)], 'partial'],
  ['does not match an empty set', [], 'partial'],
] as const)('a manifest %s', (_, found, verdict) => {
  expect(checkManifest(encodeManifest(items, 0), found).verdict).toBe(verdict);
});

test('a partial set is reported with expected and actual counts', () => {
  const check = checkManifest(encodeManifest(items, 0), items.slice(1));
  expect(check).toEqual({
    verdict: 'partial',
    reason: 'the manifest states 2 flags and 1 segments, there are 1 flags and 1 segments',
  });
});

test.each([['one'], [''], [undefined]])('a manifest says whose data the set is: %j', (source) => {
  expect(checkManifest(encodeManifest(items, 0, source), items)).toEqual({ verdict: 'whole', source });
});

test('a manifest without a source has the same bytes as in earlier versions', () => {
  expect(encodeManifest([], 0)).toBe(
    `{"format":1,"flags":0,"segments":0,"missing":0,"digest":"${createHash('sha256').digest('hex')}"}`,
  );
});

test('a manifest of an incomplete set never matches', () => {
  expect(checkManifest(encodeManifest(items, 1), items)).toMatchObject({ verdict: 'partial' });
});

test.each([undefined, '', '{', 'null', '[]', '{"format":2,"digest":"x"}', '{"format":1}'])(
  'without a valid manifest (%j) a set is unverified',
  (text) => {
    expect(checkManifest(text, items)).toEqual({ verdict: 'unverified', source: undefined });
  },
);
