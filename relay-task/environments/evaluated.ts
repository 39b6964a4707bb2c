import { type Context, clientSideAvailability, type Evaluator, type Flag } from '../../lib/evaluation/index.ts';
import type { BigSegments, ClientView, CredentialKind, EvaluatedFlag, EvaluationOptions } from '../ports.ts';

export interface ClientViewOptions {
  flag(key: string): Flag | undefined;
  /** Live flags that the audience may see. */
  flags(audience: CredentialKind): readonly Flag[];
  readonly evaluator: Evaluator;
  readonly bigSegments?: BigSegments | undefined;
  /** Kinds of contexts whose keys Big Segments are asked for; none: there are no Big Segments. */
  bigSegmentKinds(): readonly string[];
}

/** Whether the flag is for this audience. */
export function mayBeSeen(flag: Flag, audience: CredentialKind): boolean {
  if (flag.deleted) return false;
  if (audience === 'sdkKey') return true;
  const { usingEnvironmentId, usingMobileKey } = clientSideAvailability(flag);
  return audience === 'environmentId' ? usingEnvironmentId : usingMobileKey;
}

/** What one state of a flag has answered so far. The same few answers repeat over all contexts, so each is made once. */
interface Answers {
  /** By the shared answer that the flag was compiled with, without and with the reason. */
  readonly shared: readonly [Map<object, EvaluatedFlag>, Map<object, EvaluatedFlag>];
  /** The others, by their text. */
  readonly byText: Map<string, EvaluatedFlag>;
}

const MAX_TEXTS = 1_000;

/** An environment's flags as client-side SDKs get them. Equal answers of one state of a flag are one object. */
export function createClientView(options: ClientViewOptions): ClientView {
  const { flag: flagOf, evaluator, bigSegments } = options;
  const answersOf = new WeakMap<Flag, Answers>();

  function evaluate(flag: Flag, context: Context, { audience, withReasons }: EvaluationOptions): EvaluatedFlag {
    let answers = answersOf.get(flag);
    if (answers === undefined) {
      answers = { shared: [new Map(), new Map()], byText: new Map() };
      answersOf.set(flag, answers);
    }
    const { detail, prerequisites, isExperiment } = evaluator.evaluateFlag(flag, context);
    const { reason } = detail;
    // Prerequisites depend on other flags; answers about Big Segments, and errors, are made anew for each evaluation.
    const isShared = prerequisites.length === 0 && reason.kind !== 'ERROR' && reason.bigSegmentsStatus === undefined;
    const shared = answers.shared[withReasons ? 1 : 0];
    const known = isShared ? shared.get(detail) : undefined;
    if (known) return known;

    // In ld-relay's order, with LaunchDarkly's `flagVersion`. What is false or empty is left out.
    const { key, version = 0, debugEventsUntilDate } = flag;
    let json = `{"value":${JSON.stringify(detail.value ?? null)},"variation":${detail.variationIndex},"version":${version},"flagVersion":${version}`;
    if (flag.trackEvents || isExperiment) json += ',"trackEvents":true';
    if (isExperiment) json += ',"trackReason":true';
    if (withReasons || isExperiment) json += `,"reason":${JSON.stringify(reason)}`;
    if (debugEventsUntilDate) json += `,"debugEventsUntilDate":${debugEventsUntilDate}`;
    const visible = prerequisites.filter((name) => {
      const prerequisite = flagOf(name);
      return prerequisite !== undefined && mayBeSeen(prerequisite, audience);
    });
    if (visible.length > 0) json += `,"prerequisites":${JSON.stringify(visible)}`;
    json += '}';

    const { byText } = answers;
    const made = byText.get(json) ?? Object.freeze({ key, version, json });
    if (byText.size >= MAX_TEXTS) byText.clear();
    byText.set(json, made);
    if (isShared) shared.set(detail, made);
    return made;
  }

  return {
    prepare(context) {
      if (!bigSegments) return undefined;
      const keys = new Set<string>();
      for (const kind of options.bigSegmentKinds()) {
        const key = keyOf(context, kind);
        if (key) keys.add(key);
      }
      return keys.size > 0 ? bigSegments.load([...keys]) : undefined;
    },
    evaluateOne(key, context, wanted) {
      const flag = flagOf(key);
      return flag && mayBeSeen(flag, wanted.audience) ? evaluate(flag, context, wanted) : undefined;
    },
    evaluateAll: (context, wanted) => options.flags(wanted.audience).map((flag) => evaluate(flag, context, wanted)),
  };
}

/** Parsed contexts answer this; the public type does not say so. */
function keyOf(context: Context, kind: string): string | undefined {
  return (context as Context & { keyOf(kind: string): string | undefined }).keyOf(kind);
}
