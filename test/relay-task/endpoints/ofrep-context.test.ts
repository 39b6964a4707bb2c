/** Expected values come from LaunchDarkly's own OpenFeature provider: the context that it passes to LaunchDarkly's SDK. */
import type { LDContext } from '@launchdarkly/node-server-sdk';
import { LaunchDarklyProvider } from '@launchdarkly/openfeature-node-server';
import type { EvaluationContext } from '@openfeature/server-sdk';
import { toLaunchDarkly } from '../../../lib/evaluation/index.ts';
import { contextFromOpenFeature } from '../../../relay-task/endpoints/ofrep-context.ts';
import { RandomChoices, randomFrom } from '../../support/random.ts';

const logged: string[] = [];
const note = (message: string) => void logged.push(message);
const provider = new LaunchDarklyProvider('sdk-key', {
  offline: true,
  logger: { error: note, warn: note, info() {}, debug() {} },
});
const client = provider.getClient();
let handed: unknown;
client.variationDetail = async (_key: string, context: LDContext, value: unknown) => {
  handed = context;
  return { value, reason: { kind: 'OFF' } };
};
afterAll(() => provider.onClose());

async function byLaunchDarkly(context: EvaluationContext): Promise<unknown> {
  await provider.resolveBooleanEvaluation('flag', false, context);
  return overTheWire(handed);
}
/** What JSON keeps of a value. */
const overTheWire = <T>(value: T): T => JSON.parse(JSON.stringify(value));

const contexts: readonly EvaluationContext[] = [
  { targetingKey: 'alice' },
  { key: 'alice' },
  { targetingKey: 'alice', key: 'bob' },
  { targetingKey: 'acme', kind: 'organization', name: 'Acme', anonymous: false },
  { targetingKey: 'a', kind: 7 },
  { targetingKey: 'a', kind: null },
  { targetingKey: 'a', kind: '' },
  { targetingKey: 'a', name: 7, anonymous: 'true' },
  { targetingKey: 'a', anonymous: true, plan: { tier: 'gold', since: new Date(0) }, list: [1, 'two', { three: [4] }] },
  { targetingKey: 'a', joined: new Date('2026-06-01T12:00:00Z'), nothing: null },
  { targetingKey: 'a', privateAttributes: ['email', '/address/street'], email: 'a@example.com' },
  { targetingKey: 'a', privateAttributes: 'email' },
  { targetingKey: 'a', _meta: { privateAttributes: ['x'] }, user: { key: 'no member' } },
  {
    kind: 'multi',
    user: { targetingKey: 'alice', name: 'Alice' },
    organization: { key: 'acme', privateAttributes: ['x'] },
  },
  { kind: 'multi', targetingKey: 'stays out', user: { targetingKey: 'a', kind: 'device' }, list: ['stays out'] },
  { kind: 'multi', user: { targetingKey: 'a', name: 1, anonymous: 1, deep: { a: { b: 1 } } } },
];

test.each(contexts.map((context) => [JSON.stringify(context), context]))(
  "%s becomes the context that LaunchDarkly's provider makes of it",
  async (_, context) => {
    const ours = toLaunchDarkly(overTheWire(context as Record<string, unknown>));
    expect(ours).toEqual(await byLaunchDarkly(context as EvaluationContext));
  },
);

class Contexts extends RandomChoices {
  context(): EvaluationContext {
    if (this.chance(0.3)) {
      return {
        kind: 'multi',
        ...Object.fromEntries(
          this.times(this.whole(1, 3), () => [this.name(), this.chance(0.8) ? this.single() : this.value(1)]),
        ),
      };
    }
    return this.single();
  }
  private single(): EvaluationContext {
    return Object.fromEntries(this.times(this.whole(0, 7), () => [this.name(), this.value(2)]));
  }
  private name(): string {
    return this.pick([
      'targetingKey',
      'key',
      'kind',
      'name',
      'anonymous',
      'privateAttributes',
      'email',
      'a/b',
      'user',
      'organization',
      '_meta',
      '',
    ]);
  }
  private value(depth: number): EvaluationContext[string] {
    const simple = () => this.pick(['', 'x', 'multi', 'user', 0, 1.5, true, false, null]);
    if (depth === 0 || this.chance(0.7)) return simple();
    if (this.chance(0.4)) return this.times(this.whole(0, 2), () => this.value(depth - 1));
    return Object.fromEntries(this.times(this.whole(0, 3), () => [this.name(), this.value(depth - 1)]));
  }
}

const seed = process.env.SEED ?? String(Date.now());
test(`random contexts become what LaunchDarkly's provider makes of them (SEED=${seed}) @heavy`, async () => {
  const contexts = new Contexts(randomFrom(seed));
  for (let count = process.env.LONG ? 20_000 : 300; count > 0; count--) {
    const context = contexts.context();
    const ours = toLaunchDarkly(overTheWire(context));
    expect({ context, becomes: ours }).toEqual({ context, becomes: await byLaunchDarkly(context) });
  }
});

test('attributes named like properties of Object.prototype are kept', () => {
  const body = JSON.parse('{"context":{"targetingKey":"a","constructor":"x","__proto__":{"y":1}}}');
  const read = contextFromOpenFeature(body);
  expect(read).toMatchObject({ canonical: '{"__proto__":{"y":1},"constructor":"x","key":"a","kind":"user"}' });
});
