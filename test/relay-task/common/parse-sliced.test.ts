import fc from 'fast-check';
import { parseSliced } from '../../../relay-task/common/json-text.ts';

const seed = process.env.SEED === undefined ? {} : { seed: Number(process.env.SEED) };
const runs = { numRuns: process.env.LONG ? 20_000 : 100, ...seed };

describe('parseSliced', () => {
  test('returns members exactly as sent: numbers, key order, escapes, inner white space', () => {
    const text = '{"data" : { "flags":{ "a" :{"z":1.0, "b" :12345678901234567890,"é":"\\u00e9\\""} ,"c":-0}}}';
    const members = parseSliced(text).members(['data', 'flags']);
    expect([...(members ?? [])]).toEqual([
      ['a', '{"z":1.0, "b" :12345678901234567890,"é":"\\u00e9\\""}'],
      ['c', '-0'],
    ]);
  });

  test('keeps the last of duplicate keys, on the path as well as at its end', () => {
    const text = '{"data":{"a":1},"data":{"a":2,"\\u0061":3}}';
    expect(parseSliced(text).members(['data'])).toEqual(new Map([['a', '3']]));
  });

  test('unescapes keys and treats names from Object.prototype like any other', () => {
    const text = '{"__proto__":{"toString":1},"q\\"\\\\":[{"}":"]"}]}';
    const json = parseSliced(text);
    expect([...(json.members([]) ?? [])]).toEqual([
      ['__proto__', '{"toString":1}'],
      ['q"\\', '[{"}":"]"}]'],
    ]);
    expect(json.members(['__proto__'])).toEqual(new Map([['toString', '1']]));
  });

  test.each(['[1]', '"text"', '{"data":[{}]}', '{"data":null}', '{}'])('finds no object at "data" in %s', (text) => {
    expect(parseSliced(text).members(['data'])).toBeUndefined();
  });

  test('reads a value nested 200,000 levels deep', () => {
    const deep = `${'['.repeat(200_000)}${']'.repeat(200_000)}`;
    const members = parseSliced(`{"a":${deep},"b":2}`).members([]);
    expect([members?.get('a') === deep, members?.get('b')]).toEqual([true, '2']);
  });

  test.each(['', '{', '{"a":1,}', '{"a":01}', "{'a':1}", '{"a":1}x', '{"a":"\n"}', 'NaN'])('rejects %j', (text) => {
    expect(() => parseSliced(text)).toThrow(SyntaxError);
  });

  test('finds the members that JSON.parse finds, with equal values', () => {
    const space = fc.constantFrom('', ' ', '\n', '\t\r\n  ');
    fc.assert(
      fc.property(fc.dictionary(fc.string({ unit: 'binary' }), fc.jsonValue()), space, (object, gap) => {
        const inner = Object.entries(object).map(([key, value]) => {
          return `${gap}${JSON.stringify(key)}${gap}:${gap}${JSON.stringify(value, null, gap)}${gap}`;
        });
        const text = `${gap}{"data"${gap}:{${inner.join(',') || gap}}}${gap}`;
        const expected = Object.entries((JSON.parse(text) as { data: object }).data);
        const actual = [...(parseSliced(text).members(['data']) ?? [])];
        expect(new Map(actual.map(([key, slice]) => [key, JSON.parse(slice)]))).toEqual(new Map(expected));
        expect(actual.filter(([, slice]) => !text.includes(slice))).toEqual([]);
      }),
      runs,
    );
  }, 600_000);

  test('rejects text exactly when JSON.parse does', () => {
    const almost = fc
      .tuple(fc.json(), fc.nat(), fc.constantFrom('', '"', '{', ']', ',', '\\', '0', ' '))
      .map(([text, at, put]) => text.slice(0, at % (text.length + 1)) + put + text.slice((at % (text.length + 1)) + 1));
    fc.assert(
      fc.property(almost, (text) => {
        let valid = true;
        try {
          JSON.parse(text);
        } catch {
          valid = false;
        }
        if (valid) parseSliced(text).members([]);
        else expect(() => parseSliced(text)).toThrow(SyntaxError);
      }),
      runs,
    );
  }, 600_000);
});
