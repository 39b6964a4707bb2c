import fc from 'fast-check';
import { describeExcessInSlices } from '../../../relay-task/common/json-shape.ts';
import { membersOf } from '../../../relay-task/common/json-text.ts';
import { resultOf } from '../../../relay-task/common/slices.ts';
import { takeApart } from '../../../relay-task/common/take-apart.ts';

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

const elementsOf = (array: string) => [
  ...(resultOf(takeApart(`{"all":${array}}`, [], ['all'])).parts.get('all') ?? new Map<string, string>()).values(),
];

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

test('object members are returned exactly as written, and the last duplicate wins @heavy', () => {
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

describe('too much', () => {
  const MEBIBYTE = 1024 * 1024;
  const LONG = MEBIBYTE + 128 * 1024;
  const nested = (levels: number) => '['.repeat(levels) + ']'.repeat(levels);
  const many = (values: number) =>
    `[${Array(values - 1)
      .fill('{}')
      .join(',')}]`;

  test.each([
    ['1,000 levels', nested(1_000), undefined],
    ['1,001 levels', `{"a":${nested(1_000)}}`, 'its values nest deeper than 1000 levels'],
    ['brackets in strings', JSON.stringify('["'.repeat(5_000)), undefined],
    ['as many values as allowed', many(2_500), undefined],
    ['more', many(2_600), expect.stringContaining('more than 5000 values')],
    ['a text of 1 MiB', `["${'x'.repeat(MEBIBYTE - 1)}",1]`, undefined],
    ['many of nearly 1 MiB', `[${`"${'x'.repeat(MEBIBYTE - 9)}",`.repeat(4)}1]`, undefined],
    ['a deep value', `${'['.repeat(900)}${' '.repeat(MEBIBYTE / 2)}${']'.repeat(900)}`, undefined],
    ['a longer text', `["${'x'.repeat(LONG)}",1]`, expect.stringContaining('longer than 1 MiB')],
    ['a text of escaped quotes', `{"a":"${'\\"'.repeat(LONG / 2)}"}`, expect.stringContaining('1 MiB')],
    ['a long name', `{"a":1,"${'x'.repeat(LONG)}":1}`, expect.stringContaining('1 MiB')],
    ['a long number', `[[],${'1'.repeat(LONG)}]`, expect.stringContaining('1 MiB')],
    ['long space', `[1,${' '.repeat(LONG)}2]`, expect.stringContaining('1 MiB')],
  ])('is told by counting: %s', (_, text, expected) =>
    expect(resultOf(describeExcessInSlices(text, 5_000, 1_000))).toEqual(expected),
  );

  test('is refused in what is taken apart: parts as well as what is left @heavy', () => {
    const take = (text: string) => () => resultOf(takeApart(text, [], ['a'], 5_000));
    expect(take(`{"a":${many(1_200)},"b":1}`)).not.toThrow();
    expect(take(`{"a":${many(6_000)},"b":1}`)).toThrow('more than 5000 values');
    expect(take(`{"a":{"c":1},"b":${many(6_000)}}`)).toThrow('more than 10001 values');
    expect(take(`{"a":{"${'x'.repeat(LONG)}":1}}`)).toThrow('longer than 1 MiB');
    expect(take(`{"a":{"c":1},"b":"${'x'.repeat(LONG)}"}`)).toThrow('longer than 1 MiB');
    expect(take(`{"a":{"c":"${'x'.repeat(LONG)}"},"b":1}`)).not.toThrow();
  });

  test('never ends up in a loop when an array is damaged', () => {
    for (const text of ['{"a":[}', '{"a":[:', '{"a":[1}]}', '{"a":[', '{"a":[,', '{"a":[1 2]}']) {
      expect(() => resultOf(takeApart(text, [], ['a']))).toThrow(SyntaxError);
    }
  });
});
