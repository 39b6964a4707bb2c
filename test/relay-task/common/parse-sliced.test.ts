import fc from 'fast-check';
import { parseSliced } from '../../../relay-task/common/json-text.ts';

const seed = process.env.SEED === undefined ? {} : { seed: Number(process.env.SEED) };
const runs = { numRuns: process.env.LONG ? 20_000 : 100, ...seed };

describe('the text of the members of an object', () => {
  test('is exactly what was sent: numbers, key order, escapes, white space inside', () => {
    const text = '{"data" : { "flags":{ "a" :{"z":1.0, "b" :12345678901234567890,"é":"\\u00e9\\""} ,"c":-0}}}';
    const members = parseSliced(text).members(['data', 'flags']);
    expect([...(members ?? [])]).toEqual([
      ['a', '{"z":1.0, "b" :12345678901234567890,"é":"\\u00e9\\""}'],
      ['c', '-0'],
    ]);
  });

  test('of equal keys the last counts, on the way as well as at the end', () => {
    const text = '{"data":{"a":1},"data":{"a":2,"\\u0061":3}}';
    expect(parseSliced(text).members(['data'])).toEqual(new Map([['a', '3']]));
  });

  test('keys are unescaped, and those of Object.prototype are keys like any other', () => {
    const text = '{"__proto__":{"toString":1},"q\\"\\\\":[{"}":"]"}]}';
    const json = parseSliced(text);
    expect([...(json.members([]) ?? [])]).toEqual([
      ['__proto__', '{"toString":1}'],
      ['q"\\', '[{"}":"]"}]'],
    ]);
    expect(json.members(['__proto__'])).toEqual(new Map([['toString', '1']]));
  });

  test.each(['[1]', '"text"', '{"data":[{}]}', '{"data":null}', '{}'])('%s has no object at data', (text) => {
    expect(parseSliced(text).members(['data'])).toBeUndefined();
  });

  test('nesting of 200,000 levels is no deeper than any other', () => {
    const deep = `${'['.repeat(200_000)}${']'.repeat(200_000)}`;
    const members = parseSliced(`{"a":${deep},"b":2}`).members([]);
    expect([members?.get('a') === deep, members?.get('b')]).toEqual([true, '2']);
  });

  test.each(['', '{', '{"a":1,}', '{"a":01}', "{'a':1}", '{"a":1}x', '{"a":"\n"}', 'NaN'])('%j is refused', (text) => {
    expect(() => parseSliced(text)).toThrow(SyntaxError);
  });

  test('whatever JSON it is, the members parse to what JSON.parse says they are', () => {
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

  test('text is refused exactly when JSON.parse refuses it', () => {
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
