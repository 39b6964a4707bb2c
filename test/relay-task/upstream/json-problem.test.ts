import fc from 'fast-check';
import { describeJsonProblem } from '../../../relay-task/upstream/json-problem.ts';

const seed = process.env.SEED === undefined ? {} : { seed: Number(process.env.SEED) };
const runs = { numRuns: process.env.LONG ? 20_000 : 300, ...seed };

test.each([
  { text: '{\n  "a": 1\n  "b": 2\n}', line: 3, column: 3, message: 'expected a comma or }, found "\\"b\\":"' },
  { text: '{"a": 1,}', line: 1, column: 9, message: 'expected a key in double quotes, found "}"' },
  { text: '[1, x]', line: 1, column: 5, message: 'expected a value, found "x]"' },
  { text: '{"a": ', line: 1, column: 7, message: 'expected a value, found the end of the text' },
  { text: '{} {}', line: 1, column: 4, message: 'expected nothing more, found "{}"' },
  { text: '', line: 1, column: 1, message: 'expected a value, found the end of the text' },
])('$text is wrong in line $line, column $column', ({ text, ...place }) => {
  expect(describeJsonProblem(text)).toEqual(place);
});

test('a position is reported exactly when JSON.parse rejects the text @heavy', () => {
  const almost = fc
    .tuple(fc.json(), fc.nat(), fc.constantFrom('', '"', '{', ']', ',', ':', '\\', '0', '\u0001', '\u007f'))
    .map(([text, at, put]) => text.slice(0, at % (text.length + 1)) + put + text.slice((at % (text.length + 1)) + 1));
  fc.assert(
    fc.property(fc.oneof(almost, fc.json()), (text) => {
      let valid = true;
      try {
        JSON.parse(text);
      } catch {
        valid = false;
      }
      expect(describeJsonProblem(text) === undefined).toBe(valid);
    }),
    runs,
  );
}, 600_000);
