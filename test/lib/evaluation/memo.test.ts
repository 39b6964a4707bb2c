/** What evaluations of many flags for one context remember. */
import {
  compileFlag,
  compileSegment,
  createEvaluator,
  createGoDialect,
  createMemo,
  type Flag,
  type Memo,
  parseGoContext,
  sha1BucketFloat32,
} from '../../../lib/evaluation/index.ts';
import { flag } from '../../support/items.ts';
import { randomFrom } from '../../support/random.ts';
import { randomEnvironment } from '../../support/random-environment.ts';

const dialect = createGoDialect(() => undefined);
type Data = Readonly<Record<string, unknown>>;

function compiled(flagData: Data, segmentData: Data = {}) {
  const flags = new Map(Object.entries(flagData).map(([key, data]) => [key, compileFlag(data, dialect)]));
  const segments = new Map(Object.entries(segmentData).map(([key, data]) => [key, compileSegment(data, dialect)]));
  const evaluator = createEvaluator(
    { flag: (key) => flags.get(key), segment: (key) => segments.get(key), bucket: sha1BucketFloat32 },
    dialect,
  );
  const prerequisites = new Set<Flag>();
  for (const { prerequisiteKeys } of flags.values())
    for (const key of prerequisiteKeys) {
      const needed = flags.get(key);
      if (needed) prerequisites.add(needed);
    }
  return { flags: [...flags.values()], evaluator, prerequisites };
}

const keptBy = (memo: Memo) => [...(memo as Memo & { flags: Map<Flag, unknown> }).flags.keys()].map(({ key }) => key);

test('only flags that others need are remembered, each once', () => {
  const plain = Object.fromEntries(Array.from({ length: 100 }, (_, index) => [`f${index}`, flag(`f${index}`, 1)]));
  const needy = flag('needy', 1, { prerequisites: [{ key: 'f7', variation: 0 }] });
  const data = Object.entries({ ...plain, needy }).map(([key, { json }]) => [key, JSON.parse(json)]);
  const { flags, evaluator, prerequisites } = compiled(Object.fromEntries(data));
  const memo = createMemo(prerequisites);
  for (const one of flags) evaluator.evaluateFlag(one, parseGoContext({ kind: 'user', key: 'a' })!, memo);
  expect(keptBy(memo)).toEqual(['f7']);
});

test('answers are the same whatever is remembered', () => {
  const random = randomFrom('memo');
  let answers = 0;
  for (let round = 0; round < 300; round++) {
    const { flags: flagData, segments, contexts } = JSON.parse(JSON.stringify(randomEnvironment(random)));
    const { flags, evaluator, prerequisites } = compiled(flagData, segments);
    for (const raw of contexts) {
      const context = parseGoContext(raw);
      if (!context) continue;
      const memos = [createMemo(), createMemo(prerequisites), createMemo({ has: () => false })];
      for (const one of flags) {
        const alone = evaluator.evaluateFlag(one, context);
        for (const memo of memos) expect(evaluator.evaluateFlag(one, context, memo)).toEqual(alone);
        answers++;
      }
    }
  }
  expect(answers).toBeGreaterThan(1_000);
});
