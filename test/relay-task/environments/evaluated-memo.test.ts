/** What an evaluation of all flags keeps while others have their turns. */
import {
  compileFlag,
  createEvaluator,
  createGoDialect,
  type Flag,
  type Memo,
  parseGoContext,
  sha1BucketFloat32,
} from '../../../lib/evaluation/index.ts';
import { createKept } from '../../../relay-task/common/kept.ts';
import { createEnvironment } from '../../../relay-task/environments/environment.ts';
import { createClientView } from '../../../relay-task/environments/evaluated.ts';
import { flag } from '../../support/items.ts';
import { silentLog } from '../../support/logs.ts';

const dialect = createGoDialect(() => undefined);
const alice = parseGoContext({ kind: 'user', key: 'alice' })!;
const wanted = { audience: 'sdkKey', withReasons: true } as const;
const plain = Array.from({ length: 100 }, (_, index) => flag(`f${index}`, 1));
const needy = flag('needy', 1, { prerequisites: [{ key: 'f7', variation: 0 }] });

test('is only what is known of flags that others need', () => {
  const flags = new Map<string, Flag>();
  for (const { key, json } of [...plain, needy]) flags.set(key, compileFlag(JSON.parse(json), dialect));
  const find = (key: string) => flags.get(key);
  const evaluator = createEvaluator({ flag: find, segment: () => undefined, bucket: sha1BucketFloat32 }, dialect);
  let most = 0;
  let kept: string[] = [];
  const view = createClientView({
    flag: find,
    flags: () => [...flags.values()],
    *follow() {},
    prerequisites: () => new Set([find('f7')!]),
    evaluateFlag(one, context, _memberships, memo) {
      const { flags: known } = memo as Memo & { flags: Map<Flag, unknown> };
      const result = evaluator.evaluateFlag(one, context, memo);
      most = Math.max(most, known.size);
      kept = [...known.keys()].map(({ key }) => key);
      return result;
    },
    compile: () => undefined,
    isBehind: () => false,
    onFailed() {},
    bigSegmentKinds: () => new Set(),
    kept: createKept(),
  });
  const steps = view.evaluateInSteps(alice, wanted);
  let step = steps.next();
  while (!step.done) step = steps.next();
  expect(step.value).toHaveLength(101);
  expect(kept).toEqual(['f7', 'needy']);
  // Those that others need, and the one that was evaluated last.
  expect(most).toBe(2);
});

test('the flags that others need are known, also those that the audience may not see, and each is evaluated once', () => {
  const hidden = { clientSideAvailability: { usingMobileKey: false, usingEnvironmentId: false } };
  const chain = Array.from({ length: 12 }, (_, index) =>
    flag(`c${index + 10}`, 1, {
      ...(index % 2 === 1 && hidden),
      // Two ways to each: without what is known, their number doubles at every step.
      prerequisites: index === 0 ? [] : [0, 0].map((variation) => ({ key: `c${index + 9}`, variation })),
    }),
  );
  const environment = createEnvironment({ name: 'test', log: silentLog, onChange() {} });
  environment.put(chain, [], 0);
  const kept = jest.spyOn(Map.prototype, 'set');
  const steps = environment.clientView.evaluateInSteps(alice, { ...wanted, audience: 'environmentId' });
  let step = steps.next();
  while (!step.done) step = steps.next();
  const stored = kept.mock.calls.flatMap(([key, value]) =>
    typeof value === 'object' && value !== null && 'status' in value ? [(key as Flag).key] : [],
  );
  kept.mockRestore();
  expect(step.value.map(({ key }) => key)).toEqual(chain.filter((_, index) => index % 2 === 0).map(({ key }) => key));
  expect(stored.sort()).toEqual(chain.slice(0, 11).map(({ key }) => key));
});
