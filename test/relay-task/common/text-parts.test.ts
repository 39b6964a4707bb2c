import fc from 'fast-check';
import { membersInSlices, namesIn } from '../../../relay-task/common/json-text.ts';
import { resultOf } from '../../../relay-task/common/slices.ts';
import { JsonExcessError, takeApart } from '../../../relay-task/common/take-apart.ts';

const seed = process.env.SEED === undefined ? {} : { seed: Number(process.env.SEED) };
const runs = { numRuns: process.env.LONG ? 20_000 : 100, ...seed };

describe('membersInSlices', () => {
  const membersOf = (text: string, names = Object.keys(JSON.parse(text) as object)) =>
    resultOf(membersInSlices(text, names));

  test('returns members exactly as sent: numbers, key order, escapes, inner white space', () => {
    const text = ' { "a" :{"z":1.0, "b" :12345678901234567890,"é":"\\u00e9\\""} ,"c":-0}';
    expect([...membersOf(text)]).toEqual([
      ['a', '{"z":1.0, "b" :12345678901234567890,"é":"\\u00e9\\""}'],
      ['c', '-0'],
    ]);
  });

  test('keeps the last of duplicate keys', () => {
    expect(membersOf('{"a":2,"\\u0061":3}')).toEqual(new Map([['a', '3']]));
  });

  test('unescapes keys and treats names from Object.prototype like any other', () => {
    expect([...membersOf('{"__proto__":{"toString":1},"q\\"\\\\":[{"}":"]"}]}')]).toEqual([
      ['__proto__', '{"toString":1}'],
      ['q"\\', '[{"}":"]"}]'],
    ]);
  });

  test('reads a value nested 200,000 levels deep, and yields in it', () => {
    const deep = `${'['.repeat(200_000)}${']'.repeat(200_000)}`;
    const work = membersInSlices(`{"a":${deep},"b":2}`, ['a', 'b']);
    expect([work.next().done, work.next().done]).toEqual([false, false]);
    const members = resultOf(work);
    expect([members.get('a') === deep, members.get('b')]).toEqual([true, '2']);
  });

  test('keeps nothing of members with other names, or that are too long', () => {
    const text = `{${Array.from({ length: 5_000 }, (_, at) => `"n${at}":${at}`).join(',')},"\\u0061":"a","b":[1,2,3,4]}`;
    const sets = jest.spyOn(Map.prototype, 'set');
    try {
      expect(resultOf(membersInSlices(text, ['a', 'b', 'c'], 8))).toEqual(new Map([['a', '"a"']]));
      expect(sets.mock.calls.length).toBeLessThan(10);
    } finally {
      sets.mockRestore();
    }
    expect(resultOf(membersInSlices('{"a":1,"a":[1,2,3,4]}', ['a'], 8))).toEqual(new Map());
  });

  test('yields within long space and long names as within long values @heavy', () => {
    const long = 1_000_000;
    for (const text of [
      `{${' '.repeat(long)}"a":1}`,
      `{"a"${' '.repeat(long)}:1}`,
      `{"a":${' '.repeat(long)}1}`,
      `{"a":1${' '.repeat(long)}}`,
      `{"${'\\"'.repeat(long / 2)}":1,"a":1}`,
      `{"b":"${'\\"'.repeat(long / 2)}","a":1}`,
      `{"b":${'1'.repeat(long)},"a":1}`,
      `{${'"":2,'.repeat(long / 5)}"a":1}`,
    ]) {
      let yields = 0;
      const work = membersInSlices(text, ['a']);
      let step = work.next();
      for (; !step.done; step = work.next()) yields += 1;
      expect([text.slice(0, 10), step.value]).toEqual([text.slice(0, 10), new Map([['a', '1']])]);
      expect(yields).toBeGreaterThan(10);
    }
  });

  test.each(['{"a"', '{"a":1', '{"a":"\\"', '{a:1}', '{', '{"a":[}'])('refuses %s', (text) => {
    expect(() => membersOf(text, ['a'])).toThrow(SyntaxError);
  });

  test('finds the members that JSON.parse finds, with equal values @heavy', () => {
    const space = fc.constantFrom('', ' ', '\n', '\t\r\n  ');
    fc.assert(
      fc.property(fc.dictionary(fc.string({ unit: 'binary' }), fc.jsonValue()), space, (object, gap) => {
        const inner = Object.entries(object).map(([key, value]) => {
          return `${gap}${JSON.stringify(key)}${gap}:${gap}${JSON.stringify(value, null, gap)}${gap}`;
        });
        const text = `${gap}{${inner.join(',') || gap}}${gap}`;
        const actual = [...membersOf(text)];
        const expected = Object.entries(JSON.parse(text) as object);
        expect(new Map(actual.map(([key, slice]) => [key, JSON.parse(slice)]))).toEqual(new Map(expected));
        expect(actual.filter(([, slice]) => !text.includes(slice))).toEqual([]);
      }),
      runs,
    );
  }, 600_000);
});

test('names are found that are texts, and no longer than a key or a path', () => {
  const text = `{"path":"/flags/\\u0061","kind":{"a":1},"key":"${'k'.repeat(20_000)}"}`;
  expect(resultOf(namesIn(text, ['path', 'kind', 'key', 'none']))).toEqual(new Map([['path', '/flags/a']]));
});

describe('takeApart', () => {
  const take = (text: string) => resultOf(takeApart(text, ['data'], ['flags', 'segments']));

  test('takes the members of the named objects out, exactly as sent, and yields after each', () => {
    const text =
      ' {"path":"/", "data" : { "flags":{ "a" :{"z":1.0, "b":["}"]} ,"\\u0063":-0},"more":{"x":1},"segments":{}}} ';
    const steps = takeApart(text, ['data'], ['flags', 'segments']);
    expect([steps.next().done, steps.next().done]).toEqual([false, false]);
    expect(steps.next().value).toEqual({
      frame: { path: '/', data: { flags: { a: null, c: null }, more: { x: 1 }, segments: {} } },
      parts: new Map([
        [
          'flags',
          new Map([
            ['a', '{"z":1.0, "b":["}"]}'],
            ['c', '-0'],
          ]),
        ],
        ['segments', new Map()],
      ]),
    });
  });

  test('of equal names the last counts, whatever it is', () => {
    const { frame, parts } = take('{"data":{"flags":{"a":1,"a":2}},"data":{"flags":{"b":3},"segments":[{"c":4}]}}');
    expect(frame).toEqual({ data: { flags: { b: null }, segments: [null] } });
    expect(parts).toEqual(
      new Map([
        ['flags', new Map([['b', '3']])],
        ['segments', new Map([['0', '{"c":4}']])],
      ]),
    );
  });

  test.each(['[1]', '"data"', '{"data":[{"flags":{"a":1}}]}', '{"flags":{"a":1}}', '{"data":null}'])(
    'leaves %s as it is',
    (text) => {
      expect(take(text)).toEqual({ frame: JSON.parse(text), parts: new Map() });
    },
  );

  /** Steps, and the longest text that was parsed. */
  function watch(work: Generator<void, unknown>): { steps: number; longest: number; problem: unknown } {
    const parse = jest.spyOn(JSON, 'parse');
    let steps = 1;
    let problem: unknown;
    try {
      while (!work.next().done) steps += 1;
    } catch (error) {
      problem = error;
    }
    const longest = Math.max(0, ...parse.mock.calls.map(([parsed]) => parsed.length));
    parse.mockRestore();
    return { steps, longest, problem };
  }
  const others = (count: number) => Array.from({ length: count }, (_, at) => `"n${at}":1,`).join('');

  test.each([
    ['beside them', `{${others(100_000)}"data":{"flags":{"a":1}}}`],
    ['in their object', `{"data":{${others(100_000)}"flags":{"a":1}}}`],
  ])('what is no part is read in slices, and refused as soon as it is too much: %s @heavy', (_, text) => {
    const all = watch(takeApart(text, ['data'], ['flags']));
    expect(all.steps).toBeGreaterThan(200);
    expect(all.longest).toBeLessThan(20_000);
    const refused = watch(takeApart(text, ['data'], ['flags'], 1_000_000));
    expect(refused.problem).toBeInstanceOf(JsonExcessError);
    expect(String(refused.problem)).toContain('more than 10000 values');
    expect(refused.steps).toBeGreaterThan(10);
    expect(refused.steps).toBeLessThan(40);
    expect(refused.longest).toBe(0);
  });

  test('the names of many parts are parsed in slices @heavy', () => {
    const { steps, longest } = watch(takeApart(`{"data":{"flags":{${others(20_000)}"a":1}}}`, ['data'], ['flags']));
    expect([steps > 20_000, longest < 20_000]).toEqual([true, true]);
  });

  test.each([
    '{"data":{"flags":{"a":{"b":x},"a":{}}}}',
    '{"data":{"flags":{"a":[1 2],"a":{}}}}',
    '{"data":{"flags":{"a":{"b":x}},"flags":{"a":{}}}}',
    '{"data":{"flags":{"a":{"b":x}},"flags":[]}}',
  ])('a part that another one of its name replaces must be JSON too: %s', (text) => {
    expect(() => take(text)).toThrow(SyntaxError);
    expect(take(text.replace('x', '1').replace('1 2', '1,2')).parts.get('flags')?.size).toBeLessThan(2);
  });

  const property = (texts: fc.Arbitrary<string>) =>
    fc.assert(
      fc.property(texts, (text) => {
        let expected: unknown;
        try {
          expected = JSON.parse(text);
        } catch {
          expect(() => {
            for (const taken of take(text).parts.values()) for (const part of taken.values()) JSON.parse(part);
          }).toThrow(SyntaxError);
          return;
        }
        const { frame, parts } = take(text);
        const { data } = frame as { data?: Record<string, Record<string, unknown>> };
        for (const name of ['flags', 'segments']) {
          const present = data?.[name];
          if (typeof present !== 'object' || present === null || Array.isArray(present)) continue;
          for (const key of Object.keys(present)) {
            expect(present[key]).toBeNull();
            const value: unknown = JSON.parse(parts.get(name)?.get(key) ?? '');
            Object.defineProperty(present, key, { value, enumerable: true });
          }
        }
        expect(frame).toEqual(expected);
      }),
      runs,
    );
  const members = fc.dictionary(fc.string(), fc.jsonValue());
  const sets = fc
    .record({ path: fc.jsonValue(), data: fc.record({ segments: members, flags: members, other: members }) })
    .map((set) => JSON.stringify(set));

  test('frame and parts together are the whole @heavy', () => property(sets), 600_000);

  test('one of them is invalid exactly when the text is @heavy', () => {
    const almost = fc
      .tuple(sets, fc.nat(), fc.constantFrom('', '"', '{', '}', ']', ',', ':', '\\', '0', ' ', '\u0001'))
      .map(([text, at, put]) => text.slice(0, at % (text.length + 1)) + put + text.slice((at % (text.length + 1)) + 1));
    property(almost);
  }, 600_000);
});
