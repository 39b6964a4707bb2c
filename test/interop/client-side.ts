/** The example environment as client-side SDKs see it, contexts that reach all of its rules, and the expected answers. */
import { hash } from 'node:crypto';
import {
  bucketByHex,
  compileFlag,
  compileSegment,
  createEvaluator,
  type Evaluator,
} from '../../lib/evaluation/index.ts';
import { type Environment, exampleContexts, exampleEnvironment } from '../support/example-environment.ts';
import { RandomChoices, randomFrom } from '../support/random.ts';
import type { Answer, SomeContext } from './browser-clients.ts';

/** A flag that client-side SDKs must not see, although a flag that they do see depends on it. */
const serverOnly = 'search-backend';

/** All flags except one are available to client-side SDKs. */
export function clientSideEnvironment(): Environment {
  const environment = exampleEnvironment();
  for (const [key, flag] of Object.entries(environment.flags)) {
    const available = key !== serverOnly;
    flag.clientSideAvailability = { usingMobileKey: available, usingEnvironmentId: available };
  }
  return environment;
}

type Edited = { readonly key: string; readonly [field: string]: unknown };

/** One of the environment's items with these fields changed. */
export function edited(kind: keyof Environment, key: string, changes: Record<string, unknown>): Edited {
  return { ...clientSideEnvironment()[kind][key], key, ...changes };
}

/** Set it to reproduce a failure. */
const SEED = process.env.SEED ?? 'interop';

class ContextChoices extends RandomChoices {
  context(): SomeContext {
    const user = () => ({
      key: this.pick(['alice', 'bob', 'mallory', `user-${this.whole(0, 9999)}`, `é😀 ${this.whole(0, 99)}/?#%`]),
      ...(this.chance(0.4) && { email: this.pick(['x@example.com', 'x@example.org']) }),
      ...(this.chance(0.4) && { app: { version: `${this.whole(1, 3)}.${this.whole(0, 2)}.${this.whole(0, 2)}` } }),
      ...(this.chance(0.4) && {
        joined: this.pick(['2026-02-01T00:00:00Z', '2025-12-31T23:59:59Z', 1_800_000_000_000]),
      }),
      ...(this.chance(0.2) && { anonymous: true }),
    });
    const organization = () => ({ key: this.pick(['acme', 'globex', `org-${this.whole(0, 9999)}`]) });
    const shape = this.random();
    if (shape < 0.6) return { kind: 'user', ...user() };
    if (shape < 0.7) return { kind: 'organization', ...organization() };
    return { kind: 'multi', user: user(), organization: organization() };
  }
}

/** The example's own contexts, then random ones up to `count`. */
export function contexts(count: number): readonly SomeContext[] {
  const choices = new ContextChoices(randomFrom(SEED));
  const all = [...exampleContexts] as SomeContext[];
  while (all.length < count) all.push(choices.context());
  return all.slice(0, count);
}

export const seedNote = `SEED=${SEED}`;

/** Our evaluator over an environment in plain JSON. */
export function evaluatorOf({ flags, segments }: Environment): Evaluator {
  return createEvaluator({
    flag: (key) => (flags[key] ? compileFlag(flags[key]) : undefined),
    segment: (key) => (segments[key] ? compileSegment(segments[key]) : undefined),
    bucket: bucketByHex((text) => hash('sha1', text, 'hex')),
  });
}

/** The answers that a client-side SDK must give for every flag: `fallback` for flags that it must not see. */
export function clientSideAnswers(
  environment: Environment,
  context: SomeContext,
  fallback: unknown,
): Record<string, Answer> {
  const { flags } = environment;
  const evaluator = evaluatorOf(environment);
  const unknown = { value: fallback, variationIndex: null, reason: { kind: 'ERROR', errorKind: 'FLAG_NOT_FOUND' } };
  return Object.fromEntries(
    Object.entries(flags).map(([key, flag]) => {
      const { usingEnvironmentId } = flag.clientSideAvailability as { usingEnvironmentId: boolean };
      return [key, usingEnvironmentId ? (evaluator.evaluate(key, context, fallback) as unknown as Answer) : unknown];
    }),
  );
}
