import { isDeepStrictEqual } from 'node:util';
import {
  compileFlag,
  compileSegment,
  createEvaluator,
  createGoDialect,
  createMemo,
  describeFlagProblem,
  describeSegmentProblem,
  type Flag,
  type Memo,
  parseGoContext,
  type Segment,
  sha1BucketFloat32,
} from '../../../lib/evaluation/index.ts';
import { compileRe2 } from '../../../relay-task/common/re2.ts';
import { randomFrom, toJson } from '../../support/random.ts';
import { type RandomEnvironment, randomEnvironment } from '../../support/random-environment.ts';
import type { GoAnswer, GoEvaluator, GoResponse } from './go-evaluator.ts';
import { sha1Hex } from './in-memory.ts';
import { plain } from './verdict.ts';

export interface GoRequest {
  readonly flags: Readonly<Record<string, unknown>>;
  readonly segments: Readonly<Record<string, unknown>>;
  readonly bigSegments?: RandomEnvironment['bigSegments'];
  readonly cases: readonly { readonly flag: string; readonly context: unknown }[];
}

export interface GoDifference {
  /** The request as JSON, with only this case. */
  readonly reproduction: string;
  readonly ours: unknown;
  readonly official: unknown;
}

export const goDialect = createGoDialect(compileRe2);

/** JSON of a random environment and of all its flags for all its contexts, without the items that the relay refuses. */
export function randomGoRequest(seed: string): string {
  const { flags, segments, bigSegments, contexts } = withoutNulls(randomEnvironment(randomFrom(seed)));
  const readable = (items: object, problem: (data: unknown) => string | undefined) =>
    Object.fromEntries(Object.entries(items).filter(([, item]) => problem(item) === undefined));
  const kept = readable(flags, describeFlagProblem);
  const cases = contexts.flatMap((context) => Object.keys(kept).map((flag) => ({ flag, context })));
  return toJson({
    flags: kept,
    segments: readable(segments, describeSegmentProblem),
    ...(bigSegments && { bigSegments }),
    cases,
  });
}

/** Without null members, which Go refuses in most places. Values stay as they are. */
function withoutNulls<T>(data: T, name = ''): T {
  if (typeof data !== 'object' || data === null || ['variations', 'values', 'contexts', 'memberships'].includes(name))
    return data;
  if (Array.isArray(data)) return data.map((part) => withoutNulls(part)) as T;
  const members = Object.entries(data).filter(([, part]) => part !== null);
  return Object.fromEntries(members.map(([key, part]) => [key, withoutNulls(part, key)])) as T;
}

/** Compares our answers to a request, given as JSON, with Go's. Returns how often each result occurred. */
export function compareWithGo(
  json: string,
  { unreadable, answers }: GoResponse,
  differences: GoDifference[],
): Record<string, number> {
  const request = JSON.parse(json) as GoRequest;
  const counts: Record<string, number> = {};
  const evaluate = evaluatorOf(request, new Set(unreadable));
  /** One for each context, so that a flag's answer is also compared when others have needed it before. */
  const memos = new Map<string, Memo>();
  for (const [index, one] of request.cases.entries()) {
    const context = JSON.stringify(one.context);
    const memo = memos.get(context) ?? createMemo();
    memos.set(context, memo);
    const alone = plain(evaluate(one.flag, one.context));
    const shared = plain(evaluate(one.flag, one.context, memo));
    const official = normalized(answers[index]!);
    const { reason } = official as { reason?: { kind: string; errorKind?: string } };
    const label = reason ? [reason.kind, reason.errorKind].filter(Boolean).join(' ') : Object.keys(official)[0]!;
    counts[label] = (counts[label] ?? 0) + 1;
    for (const ours of [alone, shared])
      if (!isDeepStrictEqual(ours, official))
        differences.push({ reproduction: toJson({ ...request, cases: [one] }), ours, official });
  }
  return counts;
}

/** Go writes -0 as 0. */
function normalized({ invalid, missing, ...answer }: GoAnswer): object {
  if (invalid !== undefined) return { invalid: true };
  return missing ? { missing } : answer;
}

function evaluatorOf({ flags, segments, bigSegments }: GoRequest, unreadable: ReadonlySet<string>) {
  const flagTable = new Map<string, Flag>();
  const segmentTable = new Map<string, Segment>();
  for (const [key, data] of Object.entries(flags))
    if (!unreadable.has(`flag ${key}`)) flagTable.set(key, compileFlag(data, goDialect));
  for (const [key, data] of Object.entries(segments))
    if (!unreadable.has(`segment ${key}`)) segmentTable.set(key, compileSegment(data, goDialect));
  const evaluator = createEvaluator(
    {
      flag: (key) => flagTable.get(key),
      segment: (key) => segmentTable.get(key),
      bucket: sha1BucketFloat32,
      ...(bigSegments && {
        bigSegments: (key) => {
          if (bigSegments.failKeys.includes(key)) throw new Error('unreadable');
          const membership = Object.hasOwn(bigSegments.memberships, key) ? bigSegments.memberships[key] : null;
          return { status: bigSegments.status, membership };
        },
      }),
    },
    goDialect,
  );
  return (key: string, rawContext: unknown, memo?: Memo) => {
    const context = parseGoContext(rawContext);
    if (!context) return { invalid: true };
    const flag = flagTable.get(key);
    if (!flag || flag.deleted) return { missing: true };
    const { detail, prerequisites, isExperiment } = evaluator.evaluateFlag(flag, context, memo);
    const { value } = detail;
    return { ...detail, value: Object.is(value, -0) ? 0 : value, prerequisites, isExperiment };
  };
}

/**
 * Flags with a boundary at the bucket of a context, so close that 32 bits of floating point may put the context on the other side
 * than 64 bits do: about a few of 100,000,000 contexts at each boundary.
 */
export function boundaryRequest(count: number, random: () => number): string {
  const flags: Record<string, unknown> = {};
  const cases: { flag: string; context: unknown }[] = [];
  while (cases.length < count) {
    const [flag, key] = [`f${cases.length}`, `k${Math.floor(random() * 1e9)}`];
    const bucket = Number.parseInt(sha1Hex(`${flag}.s.${key}`).slice(0, 15), 16) / 2 ** 60;
    const first = Math.round(bucket * 100_000);
    if (Math.abs(bucket - first / 100_000) > 3e-8) continue;
    const weights = random() < 0.5 ? [first] : [Math.floor(first / 3), first - Math.floor(first / 3)];
    const variations = [...weights, 100_000 - first].map((weight, variation) => ({ variation, weight }));
    flags[flag] = {
      key: flag,
      version: 1,
      on: true,
      variations: [0, 1, 2],
      salt: 's',
      fallthrough: { rollout: { variations } },
    };
    cases.push({ flag, context: { kind: 'user', key } });
  }
  return toJson({ flags, segments: {}, cases });
}

/** Asks Go about random environments until there are that many cases. */
export async function fuzzGo(options: { cases: number; seed: string; go: GoEvaluator }) {
  const counts: Record<string, number> = {};
  const differences: GoDifference[] = [];
  const boundaries = boundaryRequest(40, randomFrom(`${options.seed}:boundaries`));
  compareWithGo(boundaries, await options.go.ask(boundaries), differences);
  let cases = 0;
  for (let index = 0; cases < options.cases && differences.length < 5; index++) {
    const json = randomGoRequest(`${options.seed}:${index}`);
    const response = await options.go.ask(json);
    cases += response.answers.length;
    for (const [label, count] of Object.entries(compareWithGo(json, response, differences)))
      counts[label] = (counts[label] ?? 0) + count;
    counts.unreadable = (counts.unreadable ?? 0) + response.unreadable.length;
  }
  return { cases, counts, differences };
}
