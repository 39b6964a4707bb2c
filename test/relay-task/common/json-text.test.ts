import fc from 'fast-check';
import { elementsOf, membersOf } from '../../../relay-task/common/json-text.ts';

const seed = process.env.SEED === undefined ? {} : { seed: Number(process.env.SEED) };
const runs = { numRuns: process.env.LONG ? 20_000 : 100, ...seed };
const spaces = fc.array(fc.constantFrom(' ', '\n', '\t', '\r'), { maxLength: 2 }).map((some) => some.join(''));
const values = fc.oneof(
  fc.json({ maxDepth: 4 }),
  fc.jsonValue({ maxDepth: 4 }).map((value) => JSON.stringify(value, null, 2)),
  fc.constantFrom(
    '1.0',
    '-0',
    '1e400',
    '-1E-7',
    '"]"',
    '"\\""',
    '"\\\\"',
    '"\\\\\\"}"',
    '[[],{}]',
    'null',
    'true',
    '""',
  ),
);

test('array elements are returned exactly as written', () => {
  fc.assert(
    fc.property(fc.array(values), spaces, (texts, space) => {
      expect(elementsOf(`${space}[${space}${texts.join(`${space},${space}`)}${space}]${space}`)).toEqual(
        texts.map((text) => text.trim()),
      );
    }),
    runs,
  );
});

test('object members are returned exactly as written, and the last duplicate wins', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.string({ unit: 'binary' }), values)), spaces, (members, space) => {
      const texts = members.map(([name, text]) => `${JSON.stringify(name)}${space}:${space}${text}${space}`);
      expect(membersOf(`${space}{${space}${texts.join(`,${space}`)}}`)).toEqual(
        new Map(members.map(([name, text]) => [name, text.trim()])),
      );
    }),
    runs,
  );
});

test('the nesting depth of a value does not matter', () => {
  const deep = '['.repeat(200_000) + ']'.repeat(200_000);
  expect(elementsOf(`[${deep},1]`)).toEqual([deep, '1']);
});
