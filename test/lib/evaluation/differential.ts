import { type Evaluator, type Flag, sha1Bucket } from '../../../lib/evaluation/index.ts';
import { randomFrom, toJson } from '../../support/random.ts';
import { type RandomEnvironment, randomEnvironment } from '../../support/random-environment.ts';
import { byHex, evaluatorOf, type Items } from './in-memory.ts';
import { type OfficialSdk, startOfficialSdk } from './official-sdk.ts';
import { type Call, judge, type Method, plain } from './verdict.ts';

export interface Report {
  readonly seed: string;
  readonly cases: number;
  /** How often each result occurred: method and reason, or the exemption of a case that is not compared. */
  readonly counts: Readonly<Record<string, number>>;
  readonly differences: readonly Difference[];
}

/** One difference, with everything needed to reproduce it. */
interface Difference {
  readonly seed: string;
  readonly case: number;
  readonly method: Method;
  readonly reproduction: string;
  readonly ours: unknown;
  readonly official: unknown;
}

const MOST_DIFFERENCES = 5;

/**
 * Compares our evaluator with LaunchDarkly's Node server SDK. Where the SDK throws, the SDK's answer to a repaired input is
 * compared instead; see `exemption` for the rest.
 */
export async function compareWithOfficialSdk(options: { cases: number; seed: string }): Promise<Report> {
  const sdk = await startOfficialSdk();
  const counts: Record<string, number> = {};
  const differences: Difference[] = [];
  let number = 0;
  try {
    for (let index = 0; number < options.cases && differences.length < MOST_DIFFERENCES; index++) {
      const environment = randomEnvironment(randomFrom(`${options.seed}:${index}`));
      number = await compareEnvironment({
        environment,
        sdk,
        first: number,
        limit: options.cases,
        seed: options.seed,
        counts,
        differences,
      });
    }
  } finally {
    sdk.close();
  }
  return { seed: options.seed, cases: number, counts, differences };
}

async function compareEnvironment(run: {
  environment: RandomEnvironment;
  sdk: OfficialSdk;
  first: number;
  limit: number;
  seed: string;
  counts: Record<string, number>;
  differences: Difference[];
}): Promise<number> {
  const { environment, sdk, counts } = run;
  const json = toJson({ flags: environment.flags, segments: environment.segments });
  const ours = ourEvaluator(json, environment.bigSegments);
  sdk.load(json, environment.bigSegments);
  const random = randomFrom(`${run.seed}:${run.first}:methods`);
  let number = run.first;
  for (const context of environment.contexts) {
    const contextJson = toJson(context);
    for (const flagKey of [...Object.keys(environment.flags), 'none', '$all']) {
      if (number >= run.limit || run.differences.length >= MOST_DIFFERENCES) return number;
      if (flagKey === 'none' && random() < 0.8) continue;
      if (flagKey === '$all' && random() < 0.5) continue;
      const call = flagKey === '$all' ? allFlagsCall(random) : variationCall(flagKey, random);
      const answer = plain(call.ours(ours, JSON.parse(contextJson)));
      const outcome = await sdk.call((client) => call.official(client, JSON.parse(contextJson) as never));
      const verdict = await judge({ environment, context, json, contextJson, sdk, call, answer, outcome });
      counts[verdict.label] = (counts[verdict.label] ?? 0) + 1;
      if (!verdict.equal) {
        const reproduction = toJson({ ...environment, contexts: undefined, context, flagKey, ...call.options });
        run.differences.push({
          seed: run.seed,
          case: number,
          method: call.method,
          reproduction,
          ours: answer,
          official: verdict.official,
        });
      }
      number++;
    }
  }
  return number;
}

/** A call, in the form that our evaluator takes. */
interface OurCall extends Call {
  ours(evaluator: Ours, context: unknown): unknown;
}
type Ours = Evaluator & { readonly flags: ReadonlyMap<string, Flag> };

function variationCall(flagKey: string, random: () => number): OurCall {
  const methods = {
    variationDetail: 'evaluate',
    boolVariationDetail: 'boolVariation',
    numberVariationDetail: 'numberVariation',
    stringVariationDetail: 'stringVariation',
  } as const;
  const method =
    random() < 0.85 ? 'variationDetail' : (Object.keys(methods) as (keyof typeof methods)[])[Math.floor(random() * 4)]!;
  const fallbacks = ['fallback', null, false, 7, { deep: [1] }];
  const fallback = fallbacks[Math.floor(random() * fallbacks.length)] as never;
  return {
    method,
    flagKey,
    options: { method, fallback },
    ours: (evaluator, context) => evaluator[methods[method]](flagKey, context, fallback),
    official: async (client, context) => client[method](flagKey, context, fallback),
  };
}

function allFlagsCall(random: () => number): OurCall {
  const options = {
    clientSideOnly: random() < 0.3,
    withReasons: random() < 0.7,
    detailsOnlyForTrackedFlags: random() < 0.4,
  };
  return {
    method: 'allFlagsState',
    flagKey: undefined,
    options: { method: 'allFlagsState', options },
    ours: ({ flags, ...evaluator }, context) => evaluator.allFlagsState(context, { flags: flags.values(), ...options }),
    official: async (client, context) => (await client.allFlagsState(context, options)).toJSON(),
  };
}

/** Environments alternate between the two implementations of hashing, by the length of their JSON. */
function ourEvaluator(json: string, bigSegments: RandomEnvironment['bigSegments']): Ours {
  const { flags, segments } = JSON.parse(json) as Record<'flags' | 'segments', Items>;
  return evaluatorOf(flags, segments, bigSegments, json.length % 2 === 0 ? byHex : sha1Bucket);
}
