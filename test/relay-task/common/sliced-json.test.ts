import { parseInSlices, VALUES_AT_ONCE } from '../../../relay-task/common/sliced-json.ts';
import { resultOf } from '../../../relay-task/common/slices.ts';
import { seededRandom } from '../store/seeded-random.ts';

/** What it parses to, and in how many pieces. */
function parse(text: string | Buffer): { value: unknown; pieces: number } {
  const work = parseInSlices(Buffer.from(text));
  for (let pieces = 1; ; pieces++) {
    const { done, value } = work.next();
    if (done) return { value, pieces };
  }
}

test.each([
  ...['null', ' true ', '-12.5e3', '""', '"a"', '[]', '{}', '[[],{}]', '\t[1 ,\n2\r]', '{"a":{"b":[null,"c"]}}'],
  ...[
    '"\\u00e9 \\" \\\\ \\n"',
    '"é 日本 😀"',
    '["\\\\","\\""]',
    '{"":0,"a b":"c:d,e]}"}',
    '{"a":1,"a":2}',
    '"\\ud83d\\ude00"',
  ],
])('%s parses in slices to what JSON.parse makes of it', (text) => {
  expect(parse(text).value).toEqual(JSON.parse(text));
});

test.each([
  ...[
    '',
    ' ',
    '[',
    '[1',
    '[1,',
    '[1,]',
    '[,1]',
    '{',
    '{"a"',
    '{"a":',
    '{"a":1',
    '{"a":1,}',
    '{a:1}',
    '{1:1}',
    '"a',
    '"\\',
  ],
  ...['"\n"', '01', '1 2', '[1 2]', 'nul', 'undefined', '[1}', '{"a":1]', '\ufeff[]', '"\\x"', '-', ':', ']'],
])('%j is refused in slices, as by JSON.parse', (text) => {
  expect(() => JSON.parse(text)).toThrow(SyntaxError);
  expect(() => parse(text)).toThrow(SyntaxError);
});

test('random JSON parses in slices to what JSON.parse makes of it, and so does every beginning of it @heavy', () => {
  const random = seededRandom(7);
  const pick = <T>(...list: T[]): T => list[Math.floor(random() * list.length)]!;
  const make = (depth: number): unknown => {
    const size = Math.floor(random() * 4);
    const kind = pick('text', 'word', ...(depth < 4 ? ['list', 'object'] : []));
    if (kind === 'text') return pick('', 'a', 'é"\\', '\n\u0001', ',]}:', '😀');
    if (kind === 'word') return pick<unknown>(null, true, false, 0, -1.5, 1e21);
    const values = Array.from({ length: size }, () => make(depth + 1));
    return kind === 'list'
      ? values
      : Object.fromEntries(values.map((value, index) => [pick('k', 'é', '') + index, value]));
  };
  for (let round = 0; round < 200; round++) {
    const made = make(0);
    const text = JSON.stringify(made, null, pick(0, 1));
    expect(parse(text).value).toEqual(made);
    const cut = text.slice(0, Math.floor(random() * text.length));
    const outcome = (work: () => unknown) => {
      try {
        return work();
      } catch {
        return 'refused';
      }
    };
    expect(outcome(() => parse(cut).value)).toEqual(outcome(() => JSON.parse(cut)));
  }
});

test('a long list of strings is parsed in many pieces @heavy', () => {
  const count = process.env.LONG ? 1_000_000 : 100_000;
  const hashes = Array.from({ length: count }, (_, index) => `hash ${index}`);
  const { value, pieces } = parse(JSON.stringify({ add: hashes }));
  expect((value as { add: string[] }).add[count - 1]).toBe(`hash ${count - 1}`);
  expect(pieces).toBeGreaterThanOrEqual(count / VALUES_AT_ONCE);
});

test('nested lists are refused before they exhaust the stack', () => {
  expect(() => parse('['.repeat(1_000_000))).toThrow(SyntaxError);
  expect(parse(`${'['.repeat(100)}${']'.repeat(100)}`).pieces).toBe(1);
});

test('of an object only some members are returned if these are asked for, and all are checked', () => {
  const only = (text: string) => resultOf(parseInSlices(Buffer.from(text), { only: ['kind'] }));
  expect(only('{"kind":"x","data":[{"kind":1},[2]],"more":{"kind":3}}')).toEqual({ kind: 'x' });
  expect(only('{"kind":{"kind":"x"}}')).toEqual({ kind: {} });
  expect(() => only('{"kind":"x","data":[1,{"a":}]}')).toThrow(SyntaxError);
});

test('a member named __proto__ changes no prototype', () => {
  const { value } = parse('{"__proto__":{"polluted":true},"a":1}');
  expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
  expect((value as { polluted?: boolean }).polluted).toBeUndefined();
});
