import { BYTES_AT_ONCE, elementsIn } from '../../../relay-task/common/json-elements.ts';
import { randomFrom } from '../../support/random.ts';

/** The texts of its elements, whether it is an array, and in how many pieces it was read. */
function read(text: string) {
  const bytes = Buffer.from(text);
  const work = elementsIn(bytes);
  const elements: string[] = [];
  for (let pieces = 1; ; ) {
    const { done, value } = work.next();
    if (done) return { elements, isArray: value, pieces };
    if (value) elements.push(bytes.toString('utf8', value.from, value.to));
    else pieces += 1;
  }
}

test.each<[string, string[]]>([
  ['[]', []],
  [' [ \n] ', []],
  ['[1]', ['1']],
  ['\t[ 1 ,\r\n{"a":[1,2]} , "x" ]', ['1', '{"a":[1,2]}', '"x"']],
  [String.raw`["a\"b,]","\\",{"]":"}"}]`, [String.raw`"a\"b,]"`, String.raw`"\\"`, '{"]":"}"}']],
  ['["é,日本",[[],[{}]]]', ['"é,日本"', '[[],[{}]]']],
])('%j has its elements, as they were written', (text, elements) => {
  expect(read(text)).toEqual({ elements, isArray: true, pieces: 1 });
});

test.each<[string, string[]]>([
  ['[1,]', ['1', '']],
  ['[,1]', ['', '1']],
  ['[,]', ['', '']],
])('%j has empty elements, which are no JSON', (text, elements) => {
  expect(read(text)).toMatchObject({ elements, isArray: true });
});

test.each(['', ' ', '{}', '"[]"', '[', '[1', '[1,', '["a', '["a\\', '[1}', '[1]]', '[1] x', '[{]'])(
  '%j is not an array',
  (text) => {
    expect(read(text).isArray).toBe(false);
  },
);

test('elements are those of JSON.parse, and large arrays are read in pieces @heavy', () => {
  const random = randomFrom('elements');
  const value = (depth: number): unknown => {
    const kind = Math.floor(random() * (depth > 3 ? 3 : 5));
    if (kind === 0) return Math.floor(random() * 1e6);
    if (kind === 1) return '"\\[]{},é '.repeat(random() * 4);
    if (kind === 2) return random() < 0.5;
    const length = Math.floor(random() * 4);
    const parts = Array.from({ length }, () => value(depth + 1));
    return kind === 3 ? parts : Object.fromEntries(parts.map((part, index) => [`k,${index}]`, part]));
  };
  const values = Array.from({ length: 20_000 }, () => value(0));
  const text = JSON.stringify(values, undefined, 1);
  const { elements, isArray, pieces } = read(text);
  expect(isArray).toBe(true);
  expect(elements.map((element) => JSON.parse(element) as unknown)).toEqual(values);
  expect(pieces).toBeGreaterThan(text.length / BYTES_AT_ONCE / 2);
});
