import { PersistentDataStoreWrapper } from '@launchdarkly/js-server-sdk-common';
import type { Item } from '../../../lib/flag-table/index.ts';
import {
  flagsInOrder,
  inSendingOrder,
  prerequisitesFirst,
  prerequisitesOf,
} from '../../../relay-task/common/prerequisites.ts';
import { flag, segment, tombstone } from '../../support/items.ts';
import { createMemory } from '../../support/memory.ts';
import { randomFrom } from '../../support/random.ts';

/** `a: ['b']`: a names b. */
type Graph = Readonly<Record<string, readonly string[]>>;

const naming = (key: string, ...names: readonly string[]) =>
  flag(key, 1, { prerequisites: names.map((name) => ({ key: name, variation: 0 })) });
const flagsOf = (graph: Graph) => Object.entries(graph).map(([key, names]) => naming(key, ...names));
const orderOf = (graph: Graph) => keysOf(inSendingOrder(flagsOf(graph), () => undefined));
const keysOf = (items: readonly Item[]) => items.map(({ key }) => key);

/** The order in which LaunchDarkly's Node SDK writes a set to a persistent store. */
function orderOfSdk(graph: Graph): string[] {
  const written: string[] = [];
  const core = {
    init(data: { key: { namespace: string }; item: { key: string }[] }[], done: () => void) {
      for (const { key, item } of data) if (key.namespace === 'features') written.push(...item.map((one) => one.key));
      done();
    },
  };
  const features = Object.fromEntries(flagsOf(graph).map(({ key, json }) => [key, JSON.parse(json)]));
  new PersistentDataStoreWrapper(core as never, 0).init({ features, segments: {} } as never, () => {});
  return written;
}

const cases: readonly [what: string, graph: Graph, order: string][] = [
  ['flags without prerequisites', { c: [], a: [], b: [] }, 'c a b'],
  ['a chain', { a: ['b'], b: ['c'], c: ['d'], d: [] }, 'd c b a'],
  ['a diamond', { a: ['b', 'c'], b: ['d'], c: ['d'], d: [] }, 'd b c a'],
  ['a cycle', { x: [], a: ['b'], b: ['c'], c: ['a'] }, 'x c b a'],
  ['a flag that names itself', { a: ['a', 'b'], b: [] }, 'b a'],
  ['a prerequisite that is missing', { a: ['missing', 'b'], b: [] }, 'b a'],
  ['a prerequisite that is named twice', { a: ['b', 'b'], b: [] }, 'b a'],
  ['keys that objects have', { a: ['constructor', '__proto__'], constructor: [] }, 'constructor a'],
];

test.each(cases)('%s: prerequisites come first, as in LaunchDarkly’s Node SDK', (_what, graph, order) => {
  expect(orderOf(graph).join(' ')).toBe(order);
  expect(orderOfSdk(graph).join(' ')).toBe(order);
});

test('random graphs, cycles among them, get the order of LaunchDarkly’s Node SDK @heavy', () => {
  for (let seed = 1; seed <= (process.env.LONG ? 5_000 : 300); seed++) {
    const random = randomFrom(`prerequisites ${seed}`);
    const keys = Array.from({ length: 1 + Math.floor(random() * 12) }, (_, index) => `flag-${index}`);
    const pick = () => keys[Math.floor(random() * keys.length)] ?? 'missing';
    const graph = Object.fromEntries(
      keys.map((key) => [
        key,
        Array.from({ length: Math.floor(random() * 3) }, () => (random() < 0.1 ? 'missing' : pick())),
      ]),
    );
    expect({ seed, order: orderOf(graph) }).toEqual({ seed, order: orderOfSdk(graph) });
  }
});

test('a chain of 100,000 prerequisites does not overflow the stack @heavy', () => {
  const count = 100_000;
  const sorted = prerequisitesFirst(['0'], (key) => (Number(key) < count ? [String(Number(key) + 1)] : []));
  expect(sorted.size).toBe(count + 1);
  expect([...sorted].slice(0, 2)).toEqual([String(count), String(count - 1)]);
});

test('a prerequisite comes first although only unchanged flags lead to it', () => {
  const memory = createMemory(naming('a', 'b'), naming('b', 'c'), naming('c'));
  const changed = [naming('a', 'b'), naming('c')];
  expect(keysOf(inSendingOrder(changed, memory.get))).toEqual(['c', 'a']);
});

test('segments come first, and deletions last: flags, then segments', () => {
  const items = [
    tombstone('segments', 'old-segment', 2),
    tombstone('features', 'old', 2),
    naming('a', 'b', 'old'),
    segment('s', 1),
    naming('b'),
  ];
  expect(keysOf(inSendingOrder(items, () => undefined))).toEqual(['s', 'b', 'a', 'old', 'old-segment']);
});

test('flags of a set keep their places, deleted ones too, unless they are prerequisites of an earlier one', () => {
  const memory = createMemory(
    naming('x'),
    naming('a', 'p'),
    tombstone('features', 'gone', 2),
    naming('y'),
    naming('p'),
  );
  expect(keysOf(flagsInOrder(memory.items('features'), memory.get))).toEqual(['x', 'p', 'a', 'gone', 'y']);
});

test.each([
  ['{"prerequisites":[{"key":"a","variation":0},{"key":"b"},{"key":"a"}]}', ['a', 'b']],
  ['{ "prerequisites" :\n[ {"variation":1, "key":"\\u0061"} ] }', ['a']],
  ['{"prerequisites":[{"key":1},{},{"key":null},{"key":"b"},null,"c",["d"]]}', ['b']],
  ['{"prerequisites":[]}', []],
  ['{"prerequisites":null}', []],
  ['{"prerequisites":{"key":"a"}}', []],
  ['{"variations":[{"prerequisites":[{"key":"a"}]}]}', []],
  ['{"prerequisites":[{"key":"a"', []],
  ['[{"prerequisites":[{"key":"a"}]}]', []],
])('prerequisites of %s', (json, keys) => {
  expect(prerequisitesOf({ kind: 'features', key: 'f', version: 1, deleted: false, json })).toEqual(keys);
});
