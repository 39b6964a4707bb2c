import { isDeepStrictEqual } from 'node:util';
import type { LDClient } from '@launchdarkly/node-server-sdk';
import { toJson } from '../../support/random.ts';
import type { RandomEnvironment } from '../../support/random-environment.ts';
import { exemption, hasBigSegmentCycle, reasonOf, repaired, wrongTypes } from './exemptions.ts';
import type { OfficialSdk, Outcome } from './official-sdk.ts';

export type Method =
  | 'variationDetail'
  | 'boolVariationDetail'
  | 'numberVariationDetail'
  | 'stringVariationDetail'
  | 'allFlagsState';
/** One call to both evaluators. */
export interface Call {
  readonly method: Method;
  /** Undefined: all flags. */
  readonly flagKey: string | undefined;
  readonly options: object;
  official(client: LDClient, context: never): Promise<unknown>;
}

interface Verdict {
  readonly label: string;
  readonly equal: boolean;
  readonly official?: unknown;
}

export interface Case {
  readonly environment: RandomEnvironment;
  readonly context: unknown;
  readonly json: string;
  readonly contextJson: string;
  readonly sdk: OfficialSdk;
  readonly call: Call;
  readonly answer: unknown;
  readonly outcome: Outcome;
}

export async function judge(one: Case): Promise<Verdict> {
  const { outcome, answer, call } = one;
  if (outcome.kind === 'answered') {
    const official = plain(outcome.answer);
    if (isDeepStrictEqual(answer, official)) return { label: `${call.method} ${reasonOf(answer)}`, equal: true };
    const label = exemption(one, official);
    return label === undefined ? { label: 'DIFFERENT', equal: false, official } : { label, equal: true };
  }
  const label = exemption(one, undefined);
  if (label === undefined) return { label: 'DIFFERENT', equal: false, official: outcome };
  if (call.method === 'allFlagsState') return { label: `${label} (all flags)`, equal: true };
  const repair = outcome.kind === 'endless' ? undefined : await askRepaired(one);
  if (repair?.kind === 'answered') {
    const expected = plain(repair.answer);
    if (isDeepStrictEqual(answer, expected)) {
      return { label: `${label}, equal to the answer to the repaired data`, equal: true };
    }
    const excuse = wrongTypes(one, expected);
    return { label: excuse ?? 'DIFFERENT', equal: excuse !== undefined, official: { afterRepair: expected } };
  }
  // There is no answer to compare with. Data that the Go evaluator could not parse is malformed here, whatever the typed method returns.
  const endless = outcome.kind === 'endless' || (repair?.kind === 'endless' && hasBigSegmentCycle(one.environment));
  const reason = reasonOf(answer);
  const defined = ['MALFORMED_FLAG', 'USER_NOT_SPECIFIED', 'WRONG_TYPE'].some((kind) => reason === `ERROR ${kind}`);
  return { label: `${label}, ${reason}`, equal: endless || defined, official: outcome };
}

/** The SDK's outcome with missing lists replaced by empty ones, as the Go evaluator reads them; undefined if none is missing. */
async function askRepaired({ environment, json, contextJson, sdk, call }: Case): Promise<Outcome | undefined> {
  const fixed = toJson(repaired(JSON.parse(json)));
  if (fixed === json) return undefined;
  sdk.load(fixed, environment.bigSegments);
  const outcome = await sdk.call((client) => call.official(client, JSON.parse(contextJson) as never));
  sdk.load(json, environment.bigSegments);
  return outcome;
}

/** Removes undefined properties; everything else, including -0, stays the same. */
export function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, part]) => part !== undefined)
      .map(([name, part]) => [name, plain(part)]),
  );
}
