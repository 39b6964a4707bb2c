import {
  type Context,
  clientSideAvailability,
  createMemo,
  type Flag,
  type FlagResult,
  type Memo,
} from '../../lib/evaluation/index.ts';
import { createPace } from '../common/evaluation-pace.ts';
import type { Kept } from '../common/kept.ts';
import type {
  BigSegments,
  ClientView,
  CredentialKind,
  EvaluatedFlag,
  EvaluationOptions,
  Memberships,
} from '../ports.ts';
import { Answers } from './answer.ts';

interface ClientViewOptions {
  flag(key: string): Flag | undefined;
  /** Live flags that the audience may see. */
  flags(audience: CredentialKind): readonly Flag[];
  /** Live flags that others need, for any audience. */
  prerequisites(): ReadonlySet<Flag>;
  /** Brings both up to date in steps, so that they cost nothing afterwards. */
  follow(audience: CredentialKind): Generator<void, void>;
  evaluateFlag(flag: Flag, context: Context, memberships: Memberships | undefined, memo: Memo | undefined): FlagResult;
  compile(): Promise<void> | undefined;
  isBehind(): boolean;
  /** Evaluating the flag, or writing its value, threw. */
  onFailed(flagKey: string, error: unknown): void;
  readonly bigSegments?: BigSegments | undefined;
  /** The cache for the texts of answers. */
  readonly kept: Kept;
  /** The context kinds of the Big Segments; empty without Big Segments. */
  bigSegmentKinds(): ReadonlySet<string>;
}

/** Whether this audience may see the flag. */
export function mayBeSeen(flag: Flag, audience: CredentialKind): boolean {
  if (flag.deleted) return false;
  if (audience === 'sdkKey') return true;
  const { usingEnvironmentId, usingMobileKey } = clientSideAvailability(flag);
  return audience === 'environmentId' ? usingEnvironmentId : usingMobileKey;
}

/** Writing a character of JSON, in nanoseconds. */
const PER_CHARACTER = 2;

/** An environment's flags as client-side SDKs get them. Equal results of one state of a flag are the same object. */
export function createClientView(options: ClientViewOptions): ClientView {
  const { flag: flagOf, evaluateFlag, bigSegments, kept } = options;
  const answersOf = new WeakMap<Flag, Answers>();

  function answersTo(flag: Flag): Answers {
    let answers = answersOf.get(flag);
    if (answers === undefined) {
      answers = new Answers(flag, kept);
      answersOf.set(flag, answers);
    }
    return answers;
  }

  function evaluate(
    flag: Flag,
    context: Context,
    wanted: EvaluationOptions,
    memberships: Memberships | undefined,
    memo: Memo | undefined,
  ): EvaluatedFlag {
    try {
      return evaluateUnguarded(flag, context, wanted, memberships, memo);
    } catch (error) {
      options.onFailed(flag.key, error);
      return answersTo(flag).failure(wanted.withReasons);
    }
  }

  function evaluateUnguarded(
    flag: Flag,
    context: Context,
    { audience, withReasons }: EvaluationOptions,
    memberships: Memberships | undefined,
    memo: Memo | undefined,
  ): EvaluatedFlag {
    const answers = answersTo(flag);
    const { detail, prerequisites, isExperiment } = evaluateFlag(flag, context, memberships, memo);
    const { reason } = detail;
    // Results about Big Segments and errors are new objects each time.
    const isShared = reason.kind !== 'ERROR' && reason.bigSegmentsStatus === undefined;
    const visible = prerequisites.filter((name) => {
      const prerequisite = flagOf(name);
      return prerequisite !== undefined && mayBeSeen(prerequisite, audience);
    });
    const known = isShared ? answers.known(detail, withReasons, visible) : undefined;
    if (known) return known;

    const said = { isExperiment, withReason: withReasons, prerequisites: visible };
    return answers.of(detail, said, isShared, (characters) => {
      if (memo) memo.work += characters * PER_CHARACTER;
    });
  }

  const keysOf = (context: Context) => (bigSegments ? keysInBigSegments(context, options.bigSegmentKinds()) : NO_KEYS);

  return {
    compile: options.compile,
    get isBehind() {
      return options.isBehind();
    },
    prepare(context, how) {
      const keys = keysOf(context);
      return keys.size > 0 ? bigSegments?.load([...keys], how) : undefined;
    },
    isPrepared(context, memberships) {
      const keys = keysOf(context);
      if (keys.size === 0) return true;
      if (!memberships || bigSegments?.isPresent?.(memberships) === false) return false;
      for (const key of keys) if (!memberships.has(key)) return false;
      return true;
    },
    evaluateOne(key, context, wanted, memberships, memo) {
      const flag = flagOf(key);
      return flag && mayBeSeen(flag, wanted.audience) ? evaluate(flag, context, wanted, memberships, memo) : undefined;
    },
    *evaluateInSteps(context, wanted, memberships) {
      yield* options.follow(wanted.audience);
      const flags = options.flags(wanted.audience);
      const needed = options.prerequisites();
      const memo = createMemo();
      const isDue = createPace(memo);
      const answers: EvaluatedFlag[] = [];
      for (const flag of flags) {
        answers.push(evaluate(flag, context, wanted, memberships, memo));
        // The memo is held while others have their turns, and most flags are not prerequisites.
        if (!needed.has(flag)) forget(memo, flag);
        if (isDue()) yield;
      }
      return answers;
    },
  };
}

/** Memos have this map; their public type does not. */
function forget(memo: Memo, flag: Flag): void {
  (memo as Memo & { readonly flags: Map<Flag, unknown> }).flags.delete(flag);
}

const NO_KEYS: ReadonlySet<string> = new Set();

/** The keys by which Big Segments of these kinds know the context. */
function keysInBigSegments(context: Context, kinds: Iterable<string>): ReadonlySet<string> {
  const keys = new Set<string>();
  for (const kind of kinds) {
    const key = keyOf(context, kind);
    if (key) keys.add(key);
  }
  return keys;
}

/** Parsed contexts have this method; the public type does not. */
function keyOf(context: Context, kind: string): string | undefined {
  return (context as Context & { keyOf(kind: string): string | undefined }).keyOf(kind);
}
