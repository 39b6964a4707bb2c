import fc from 'fast-check';
import { decodeInSlices, PIECE_CHARACTERS, parseTextInSlices } from '../../../relay-task/common/sliced-text.ts';
import { resultOf } from '../../../relay-task/common/slices.ts';

const seed = process.env.SEED === undefined ? {} : { seed: Number(process.env.SEED) };
const runs = { numRuns: process.env.LONG ? 20_000 : 200, ...seed };

const numbered = (count: number) => Array.from({ length: count }, (_, at) => at);

/** As JSON, since `toEqual` tells neither the order of members nor -0; 'refused' for a SyntaxError. */
function outcome(parse: () => unknown): string | undefined {
  try {
    return JSON.stringify(parse());
  } catch (error) {
    if (error instanceof SyntaxError) return 'refused';
    throw error;
  }
}

describe('a text', () => {
  const long = `"${'x'.repeat(40_000)}"`;
  const deep = (levels: number) => `${'['.repeat(levels)}${long}${']'.repeat(levels)}`;

  test.each([
    ['short', '{"a":[1,2]}'],
    ['with an object called __proto__', `{"__proto__":{"a":1},"b":${long}}`],
    ['with an escaped __proto__', `{"__pr\\u006fto__":{"a":1},"b":${long}}`],
    ['with half of a surrogate pair', `["\\ud800",${long}]`],
    ['with half of a surrogate pair that is not escaped', `["\ud800",${long}]`],
    ['deep', deep(500)],
    ['with much of everything', `{"2":${long},"1":[1e400,-0,{"é😀":"\\n"}],"1":null}`],
  ])('%s is what JSON.parse makes of it', (_, text) => {
    const found = resultOf(parseTextInSlices(text));
    expect(JSON.stringify(found)).toBe(JSON.stringify(JSON.parse(text)));
  });

  test.each([
    `[${long}`,
    `[${long},]`,
    `[,${long}]`,
    `{"a":-[${long}]}`,
    `[[${long}] []]`,
    `[${long}]]`,
    `\f[${long}]`,
    `[${long}]\u00a0`,
    '',
  ])('that is not JSON is refused', (text) => {
    expect(() => JSON.parse(text)).toThrow(SyntaxError);
    expect(() => resultOf(parseTextInSlices(text))).toThrow(SyntaxError);
  });

  test('that is long is what JSON.parse makes of it, whatever is in it, or refused with it @heavy', () => {
    const filling = fc.constantFrom(...['"x"', '[]', '{}', '{"a":[1]}', '[[[]]]'], JSON.stringify('y'.repeat(5_000)));
    const padded = fc
      .tuple(fc.array(fc.oneof(fc.json(), filling), { minLength: 1 }), fc.nat(3), fc.constantFrom(',', ' , ', '\n,\t'))
      .map(([texts, depth, comma]) => {
        const list = Array.from({ length: 400 }, (_, at) => texts[at % texts.length]).join(comma);
        return `${'[{"a":'.repeat(depth)}[${list}]${'}]'.repeat(depth)}`;
      });
    const almost = fc
      .tuple(padded, fc.nat(), fc.constantFrom(...['', '"', '{', '}', '[', ']', ',', ':', '\\', '0', '-', ' ', '\f']))
      .map(([text, at, put]) => text.slice(0, at % text.length) + put + text.slice((at % text.length) + 1));
    fc.assert(
      fc.property(fc.oneof(padded, almost), (text) => {
        expect(outcome(() => resultOf(parseTextInSlices(text)))).toBe(outcome(() => JSON.parse(text)));
      }),
      runs,
    );
  }, 600_000);

  test.each<[string, string]>([
    ['a long list', JSON.stringify({ a: [{ b: numbered(20_000).map((at) => `key-${at}`) }] })],
    ['objects with names of their own', JSON.stringify(numbered(10_000).map((at) => ({ [`name-${at}`]: 1 })))],
    ['arrays and objects in one another', `${'{"a":['.repeat(15_000)}${']}'.repeat(15_000)}`],
    [
      'one object with many names',
      JSON.stringify(Object.fromEntries(numbered(10_000).map((at) => [`name-${at}`, at]))),
    ],
  ])('with %s is parsed in small pieces', (_, text) => {
    const parsed = jest.spyOn(JSON, 'parse');
    let yields = 0;
    try {
      const work = parseTextInSlices(text);
      while (!work.next().done) yields += 1;
      expect(Math.max(...parsed.mock.calls.map(([piece]) => piece.length))).toBeLessThan(2 * PIECE_CHARACTERS);
    } finally {
      parsed.mockRestore();
    }
    expect(yields).toBeGreaterThan(text.length / PIECE_CHARACTERS / 2);
  });
});

describe('bytes', () => {
  const PIECE_BYTES = 256 * 1024;

  test('are decoded as in one go, wherever a piece ends, valid or not @heavy', () => {
    const part = fc.oneof(
      fc.constantFrom('x', 'é', '字', '🙂').map((character) => Buffer.from(character)),
      fc.uint8Array({ minLength: 1, maxLength: 3 }),
      fc.array(fc.integer({ min: 0x80, max: 0xbf }), { minLength: 1, maxLength: 6 }),
      fc.constantFrom([0xe5], [0xf0, 0x9f], [0xff], [0xed, 0xa0, 0x80], [0xf0, 0x9f, 0x99, 0x82, 0x80]),
    );
    fc.assert(
      fc.property(fc.array(part, { minLength: 1, maxLength: 12 }), fc.nat(12), (parts, before) => {
        const odd = Buffer.concat(parts.map((one) => Buffer.from(one)));
        const bytes = Buffer.concat([Buffer.alloc(PIECE_BYTES - before, 'x'), odd, odd]);
        expect(resultOf(decodeInSlices(bytes))).toBe(bytes.toString('utf8'));
      }),
      runs,
    );
  });

  test.each(['x', '字'])('are decoded in pieces: %s', (character) => {
    const bytes = Buffer.from(character.repeat(3_000_000 / Buffer.byteLength(character)));
    const decoding = decodeInSlices(bytes);
    const toText = jest.spyOn(Buffer.prototype, 'toString');
    let pauses = 0;
    let step = decoding.next();
    for (; !step.done; step = decoding.next()) pauses += 1;
    const longest = Math.max(...toText.mock.results.map(({ value }) => String(value).length));
    toText.mockRestore();
    expect([pauses, longest <= PIECE_BYTES, step.value.length]).toEqual([11, true, bytes.toString().length]);
  });

  test.each(['', 'short'])('of "%s" are that text at once', (text) => {
    expect(decodeInSlices(Buffer.from(text)).next()).toEqual({ done: true, value: text });
  });
});
