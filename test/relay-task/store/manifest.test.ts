import { createHash } from 'node:crypto';
import { checkManifest, encodeManifest } from '../../../relay-task/store/manifest.ts';
import { flag, segment, tombstone } from './memory.ts';

const items = [flag('b', 2), tombstone('features', 'gone', 9), segment('s', 3), flag('a', 1)];

test('states counts of what is live, and the digest of its sorted lines', () => {
  const digest = createHash('sha256').update('features/a 1\nfeatures/b 2\nsegments/s 3').digest('hex');
  expect(JSON.parse(encodeManifest(items, 0))).toEqual({ format: 1, flags: 2, segments: 1, missing: 0, digest });
});

test('is the same for the same set in any order, with or without tombstones, however it is serialised', () => {
  const same = [...items].reverse().filter(({ deleted }) => !deleted);
  expect(
    encodeManifest(
      same.map((item) => ({ ...item, json: ` ${item.json}` })),
      0,
    ),
  ).toBe(encodeManifest(items, 0));
});

test.each([
  ['the same set', items, 'whole'],
  ['a flag less', items.slice(1), 'partial'],
  ['a segment less', items.filter(({ kind }) => kind === 'features'), 'partial'],
  ['a flag more', [...items, flag('c', 1)], 'partial'],
  ['a flag of another version', [...items.slice(1), flag('b', 3)], 'partial'],
  ['a flag that was deleted', [...items.slice(1), tombstone('features', 'b', 3)], 'partial'],
  ['nothing at all', [], 'partial'],
] as const)('%s: %#', (_, found, verdict) => {
  expect(checkManifest(encodeManifest(items, 0), found).verdict).toBe(verdict);
});

test('tells what is there and what should be', () => {
  const check = checkManifest(encodeManifest(items, 0), items.slice(1));
  expect(check).toEqual({
    verdict: 'partial',
    reason: 'the manifest states 2 flags and 1 segments, there are 1 flags and 1 segments',
  });
});

test('of a set that never was whole is never whole', () => {
  expect(checkManifest(encodeManifest(items, 1), items)).toMatchObject({ verdict: 'partial' });
});

test.each([undefined, '', '{', 'null', '[]', '{"format":2,"digest":"x"}', '{"format":1}'])(
  'without one that is understood the set is unverified: %j',
  (text) => {
    expect(checkManifest(text, items)).toEqual({ verdict: 'unverified' });
  },
);
