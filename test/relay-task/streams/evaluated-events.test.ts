import type { EvaluatedFlag } from '../../../relay-task/ports.ts';
import { createEvaluatedEvents } from '../../../relay-task/streams/evaluated-events.ts';
import { evaluatedFlag } from '../../support/evaluated-flag.ts';

const { saysTheSame } = createEvaluatedEvents('chunked', () => {});

function answer(version: number, value: unknown, more: object = {}): EvaluatedFlag {
  return evaluatedFlag('f', { value, variation: 0, version, flagVersion: version, ...more });
}

test.each<[string, EvaluatedFlag, EvaluatedFlag, boolean]>([
  ['a higher version alone', answer(1, 'a'), answer(2, 'a'), true],
  ['a lower version', answer(2, 'a'), answer(1, 'a'), false],
  ['another value', answer(1, 'a'), answer(2, 'b'), false],
  ['another reason', answer(1, 'a', { reason: { kind: 'OFF' } }), answer(2, 'a', { reason: { kind: 'ERROR' } }), false],
  [
    'versions in the value',
    answer(1, [{ a: 1, version: 1, flagVersion: 1 }]),
    answer(2, [{ a: 1, version: 2, flagVersion: 2 }]),
    false,
  ],
  [
    'the same versions in the value',
    answer(1, [{ a: 1, version: 1, flagVersion: 1 }]),
    answer(2, [{ a: 1, version: 1, flagVersion: 1 }]),
    true,
  ],
  [
    'text that looks like versions',
    answer(1, 'a', { reason: { ruleId: ',"version":1,"flagVersion":1' } }),
    answer(2, 'a', { reason: { ruleId: ',"version":1,"flagVersion":1' } }),
    true,
  ],
])('clients are told of what differs otherwise than by its version: %s', (_, before, after, expected) => {
  expect(saysTheSame(before, after)).toBe(expected);
});

test('large answers are compared without parsing them', () => {
  const value = Array.from({ length: 10_000 }, (_, at) => ({ [`name-${at}`]: 1 }));
  const [before, after] = [answer(1, value), answer(2, value)];
  const parsed = jest.spyOn(JSON, 'parse');
  expect(saysTheSame(before, after)).toBe(true);
  expect(parsed).not.toHaveBeenCalled();
  parsed.mockRestore();
});
