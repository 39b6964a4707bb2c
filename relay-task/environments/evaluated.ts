import {
  type Context,
  clientSideAvailability,
  createMemo,
  type Flag,
  type FlagResult,
  type Memo,
} from '../../lib/evaluation/index.ts';
import { createPace } from '../common/evaluation-pace.ts';
import type {
  BigSegments,
  ClientView,
  CredentialKind,
  EvaluatedFlag,
  EvaluationOptions,
  Memberships,
} from '../ports.ts';
import { valueText } from './large-values.ts';

export interface ClientViewOptions {
  flag(key: string): Flag | undefined;
  /** Live flags that the audience may see. */
  flags(audience: CredentialKind): readonly Flag[];
  /** Live flags that others need, for any audience. */
  prerequisites(): ReadonlySet<Flag>;
  evaluateFlag(flag: Flag, context: Context, memberships: Memberships | undefined, memo: Memo | undefined): FlagResult;
  compile(): Promise<void> | undefined;
  isBehind(): boolean;
  /** Evaluating the flag, or writing its value, threw. */
  onFailed(flagKey: string, error: unknown): void;
  readonly bigSegments?: BigSegments | undefined;
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

/** The results of one state of a flag so far. A few results repeat over all contexts, so each is made once. */
interface Answers {
  /** By the shared result that the flag was compiled with, without and with the reason. */
  readonly shared: readonly [Map<object, EvaluatedFlag>, Map<object, EvaluatedFlag>];
  /** The others, by their text. */
  readonly byText: Map<string, EvaluatedFlag>;
}

/** What it takes to write a character of JSON, in nanoseconds. */
const PER_CHARACTER = 2;
const MAX_TEXTS = 1_000;

/** An environment's flags as client-side SDKs get them. Equal results of one state of a flag are the same object. */
export function createClientView(options: ClientViewOptions): ClientView {
  const { flag: flagOf, evaluateFlag, bigSegments } = options;
  const answersOf = new WeakMap<Flag, Answers>();

  function answersTo(flag: Flag): Answers {
    let answers = answersOf.get(flag);
    if (answers === undefined) {
      answers = { shared: [new Map(), new Map()], byText: new Map() };
      answersOf.set(flag, answers);
    }
    return answers;
  }

  /** The one answer with this text. */
  function answerOf({ byText }: Answers, { key, version = 0 }: Flag, json: string): EvaluatedFlag {
    const made = byText.get(json) ?? Object.freeze({ key, version, json });
    if (byText.size >= MAX_TEXTS) byText.clear();
    byText.set(json, made);
    return made;
  }

  /** As LaunchDarkly answers for a flag whose evaluation failed. */
  function failure(flag: Flag, withReasons: boolean): EvaluatedFlag {
    const version = JSON.stringify(flag.version ?? 0);
    const reason = withReasons ? ',"reason":{"kind":"ERROR","errorKind":"EXCEPTION"}' : '';
    const json = `{"value":null,"variation":null,"version":${version},"flagVersion":${version}${reason}}`;
    return answerOf(answersTo(flag), flag, json);
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
      return failure(flag, wanted.withReasons);
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
    // Prerequisites depend on other flags, and results about Big Segments and errors are new objects each time.
    const isShared = prerequisites.length === 0 && reason.kind !== 'ERROR' && reason.bigSegmentsStatus === undefined;
    const shared = answers.shared[withReasons ? 1 : 0];
    const known = isShared ? shared.get(detail) : undefined;
    if (known) return known;

    // In ld-relay's order, with LaunchDarkly's `flagVersion`. False and empty members are left out.
    // Numbers through JSON.stringify, too: one that JSON cannot express would make the answers about all flags invalid.
    const { debugEventsUntilDate } = flag;
    const version = JSON.stringify(flag.version ?? 0);
    let json = `{"value":${valueText(detail.value)},"variation":${JSON.stringify(detail.variationIndex)},"version":${version},"flagVersion":${version}`;
    if (flag.trackEvents || isExperiment) json += ',"trackEvents":true';
    if (isExperiment) json += ',"trackReason":true';
    if (withReasons || isExperiment) json += `,"reason":${JSON.stringify(reason)}`;
    if (debugEventsUntilDate) json += `,"debugEventsUntilDate":${JSON.stringify(debugEventsUntilDate)}`;
    const visible = prerequisites.filter((name) => {
      const prerequisite = flagOf(name);
      return prerequisite !== undefined && mayBeSeen(prerequisite, audience);
    });
    if (visible.length > 0) json += `,"prerequisites":${JSON.stringify(visible)}`;
    json += '}';
    if (memo) memo.work += json.length * PER_CHARACTER;

    const made = answerOf(answers, flag, json);
    if (isShared) shared.set(detail, made);
    return made;
  }

  /** The keys by which Big Segments know the context. */
  function keysOf(context: Context): ReadonlySet<string> {
    const keys = new Set<string>();
    if (!bigSegments) return keys;
    for (const kind of options.bigSegmentKinds()) {
      const key = keyOf(context, kind);
      if (key) keys.add(key);
    }
    return keys;
  }

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
    evaluateAll(context, wanted, memberships) {
      const memo = createMemo();
      return options.flags(wanted.audience).map((flag) => evaluate(flag, context, wanted, memberships, memo));
    },
    *evaluateInSteps(context, wanted, memberships) {
      const flags = options.flags(wanted.audience);
      const needed = options.prerequisites();
      const memo = createMemo();
      const isDue = createPace(memo);
      const answers: EvaluatedFlag[] = [];
      for (const flag of flags) {
        answers.push(evaluate(flag, context, wanted, memberships, memo));
        // It is held while others have their turns, and most flags are no prerequisites.
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

/** Parsed contexts have this method; the public type does not. */
function keyOf(context: Context, kind: string): string | undefined {
  return (context as Context & { keyOf(kind: string): string | undefined }).keyOf(kind);
}
