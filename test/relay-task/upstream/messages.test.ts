import { resultOf } from '../../../relay-task/common/slices.ts';
import { readDataSet, readMessage } from '../../../relay-task/upstream/messages.ts';
import { flagData } from './support.ts';

const flags = JSON.stringify({ a: flagData('a', 1) });

test.each([
  ['is not JSON', '{"flags":'],
  ['has no flags', '{"segments":{}}'],
  ['segments is a list', `{"flags":${flags},"segments":[]}`],
  [
    'cannot be read: its values nest deeper than 110000 levels',
    `{"flags":${flags},"x":${'['.repeat(120_000)}${']'.repeat(120_000)}}`,
  ],
])('a data set that %s is a problem, never an error', (problem, text) => {
  expect(resultOf(readDataSet(text))).toEqual({ problem });
});

test('a data set may hold any number of other values', () => {
  const text = `{"flags":${flags},"x":[${Array(20_000).fill('{}').join(',')}]}`;
  expect(resultOf(readDataSet(text))).toMatchObject({ items: [{ key: 'a' }], unreadable: [] });
});

test.each<[string, 'patch' | 'delete', string, object]>([
  ['names of its own', 'patch', '"path":"/flags/a"', { kind: 'skip', item: { kind: 'features', key: 'a' } }],
  ['names of its own', 'delete', '"path":"/segments/s"', { kind: 'skip', item: { kind: 'segments', key: 's' } }],
  ['a long list for its path', 'patch', `"path":[${'{},'.repeat(20_000)}0]`, { kind: 'invalid' }],
  ['a long path', 'patch', `"path":"/flags/${'k'.repeat(20_000)}"`, { kind: 'invalid' }],
])('a change with too many values, %s, is not kept and hardly parsed: %s', (_, event, members, outcome) => {
  const text = `{${Array.from({ length: 5_000 }, (__, at) => `"n${at}":1`).join(',')},${members}}`;
  const parse = jest.spyOn(JSON, 'parse');
  const sets = jest.spyOn(Map.prototype, 'set');
  try {
    expect(resultOf(readMessage(event, text, { maxBytes: 100_000 }))).toMatchObject(outcome);
    expect(parse.mock.calls.filter(([parsed]) => parsed.length > 1_000)).toEqual([]);
    expect(sets.mock.calls.length).toBeLessThan(20);
  } finally {
    parse.mockRestore();
    sets.mockRestore();
  }
});

describe.each([
  ['quotes in a text', `"${'\\"'.repeat(650_000)}"`],
  ['a number', '1'.repeat(1_300_000)],
])('of a flag with too much of %s', (_, long) => {
  const flagText = JSON.stringify(flagData('a', 1)).replace(/}$/, `,"more":${long}}`);
  const skipped = { kind: 'features', key: 'a', reason: expect.stringContaining('longer than 1 MiB') };

  test.each([
    ['patch', `{"path":"/flags/a","data":${flagText}}`, { kind: 'skip', item: skipped }],
    [
      'put',
      `{"data":{"flags":{"a":${flagText},"b":${JSON.stringify(flagData('b', 1))}}}}`,
      { kind: 'put', items: [{ key: 'b' }], unreadable: [skipped] },
    ],
  ])('a %s costs the flag; it is passed in slices and not parsed', (event, text, outcome) => {
    const parse = jest.spyOn(JSON, 'parse');
    let steps = 0;
    try {
      const work = readMessage(event, text, { maxBytes: 20_000_000 });
      let step = work.next();
      for (; !step.done; step = work.next()) steps += 1;
      expect(step.value).toMatchObject(outcome);
      expect(parse.mock.calls.filter(([parsed]) => parsed.length > 20_000)).toEqual([]);
    } finally {
      parse.mockRestore();
    }
    expect(steps).toBeGreaterThan(25);
  });
});
