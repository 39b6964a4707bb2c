import { createJsonGuard, describeExcessInSlices, shapeOf } from '../../../relay-task/common/json-shape.ts';
import { resultOf } from '../../../relay-task/common/slices.ts';

const limits = { maxParts: 10, maxDepth: 3 };

/** What the guard says about a text that comes in pieces of so many bytes. */
function judge(text: string, size: number): string | undefined {
  const guard = createJsonGuard(limits);
  const bytes = Buffer.from(text);
  try {
    for (let at = 0; at < bytes.length; at += size) guard(bytes.subarray(at, at + size));
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

test.each([
  ['[[[]]]', undefined],
  ['[[[[]]]]', 'answered with JSON that nests more than 3 deep'],
  ['[{"a":[{', 'answered with JSON that nests more than 3 deep'],
  [`[${'[],'.repeat(4)}[]]`, undefined],
  [`[${'[],'.repeat(5)}[]]`, 'answered with JSON of more than 10 parts'],
  [`[${'1,'.repeat(10)}1]`, 'answered with JSON of more than 10 parts'],
  [`["${'[{,'.repeat(20)}"]`, undefined],
  ['["\\"[[[[[[[[[[[[\\\\",[[[]]]]', 'answered with JSON that nests more than 3 deep'],
  ['["\\\\\\"[[[[[[[[[[[["]', undefined],
  ['', undefined],
])('of %s it says: %s', (text, said) => {
  for (const size of [1, 2, 3, 1_000]) expect(judge(text, size)).toBe(said);
});

test('a long text is counted across its pieces: in strings, behind backslashes and between surrogates nothing counts', () => {
  // Pieces of 64 Ki characters end inside of what is between quotes.
  for (const [inside, from] of [
    ['[,', 0],
    ['\\"[,', 0],
    ['\\"[,', 1],
    ['😀[,', 1],
  ] as const) {
    const text = `["${'x'.repeat(from)}${inside.repeat(40_000)}",${'1,'.repeat(9)}1]`;
    expect(JSON.parse(text)).toHaveLength(11);
    expect(resultOf(describeExcessInSlices(text, 12))).toBeUndefined();
    expect(resultOf(describeExcessInSlices(text, 11))).toBe(
      'it has more than 11 values, the most that this relay takes',
    );
    expect(shapeOf(Buffer.from(text))).toEqual({ depth: 1, values: 12 });
  }
});
