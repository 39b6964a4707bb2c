import { resultOf } from '../../../relay-task/common/slices.ts';
import { readDataSet } from '../../../relay-task/upstream/messages.ts';
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
