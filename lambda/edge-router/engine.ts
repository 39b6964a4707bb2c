/**
 * How the router decides, for a single flag as well as for many rules. It does not know how rules match or how answers are made, so a
 * router that does not need those has no code for them.
 */
import type { CloudFrontRequest, CloudFrontResultResponse } from 'aws-lambda';
import type { Detail, Reader } from '../edge-reader/index.ts';
import type { Headers } from './rules.ts';

/** A rule, ready to run. */
export interface ReadyRule {
  readonly flagKey: string;
  /** What its `*` stands for; undefined: the rule does not match this request. */
  matches(request: CloudFrontRequest): string | undefined;
  readonly variations: ReadonlyMap<string, ReadyAction>;
  /** The name of a variation. */
  readonly otherwise: string | undefined;
}

/** Each of the three functions returns undefined if it cannot be applied to this request; that part of the action is then skipped. */
export interface ReadyAction {
  readonly origin?: string;
  rewrite?(request: CloudFrontRequest, rest: string): string | undefined;
  respond?(request: CloudFrontRequest, rest: string): CloudFrontResultResponse | undefined;
  /** The headers that origin-request adds, by their id. */
  readonly requestHeaders?: string;
  readonly responseHeaders?: { readonly id: string; readonly headers: Headers };
}

/** One flag of a request. */
interface Decided {
  readonly flagKey: string;
  /** The name of a variation; `none` if none was selected. */
  readonly variation: string;
  /** The reader's reason, or `NO_VIEWER_ID`, `UNKNOWN_VARIANT`, `OVERRIDE`. */
  readonly reason: string;
  /** Why it is `otherwise`. */
  readonly why: string | undefined;
  /** Whether the flag was evaluated for a viewer: neither an error nor an override. */
  readonly kind: 'evaluated' | 'failed' | 'overridden';
}

/** What is to be done with a request. */
export interface Outcome {
  readonly decided: Decided[];
  /** The details that decided it, from the reader or from overrides, by flag key. */
  readonly given: Map<string, Given>;
  origin: string | undefined;
  uri: string | undefined;
  /** The answer that is sent instead of the origin's. */
  response: CloudFrontResultResponse | undefined;
  /** Their ids. */
  readonly requestHeaders: Set<string>;
  /** By id. */
  readonly responseHeaders: Map<string, Headers>;
}

export type Overrides = Readonly<Record<string, unknown>>;

/** `status` and `evaluate` are needed for several flags. */
export type Asking = Pick<Reader, 'variationDetail'> & Partial<Pick<Reader, 'evaluate' | 'status'>>;

type Context = Parameters<Reader['variationDetail']>[1];

/** A flag that is to be evaluated. */
interface Question {
  readonly flagKey: string;
  readonly fallback: string | undefined;
}

export interface Given {
  readonly value: unknown;
  readonly variationIndex?: number | null;
  readonly reason: Detail['reason'] | { readonly kind: 'NO_VIEWER_ID' | 'OVERRIDE' };
}

const NO_VIEWER: Given = { value: undefined, variationIndex: null, reason: { kind: 'NO_VIEWER_ID' } };

/** The flag's value is not one of the rule's variations. */
const UNKNOWN = 'UNKNOWN_VARIANT';

/**
 * Returns the function that decides a request. Without a context no flag is evaluated, and each rule's `otherwise` applies. `overrides` are values by
 * flag key that take precedence over the reader.
 *
 * All flags of a request are evaluated from one revision: if another one arrives meanwhile, they are all evaluated again,
 * from memory and in one turn; missing data is read before that.
 */
export function createEngine(rules: readonly ReadyRule[]) {
  const kinds = new Map(rules.map((rule) => [rule, kindsOf(rule)]));

  return async (
    request: CloudFrontRequest,
    reader: Asking,
    context: Context | undefined,
    overrides?: Overrides,
  ): Promise<Outcome> => {
    const turns = decideAll(rules, kinds, request, overrides);
    let turn = turns.next();
    // Neither the bootstrap nor LaunchDarkly's own layout has one.
    const revision = () => {
      const { source, rev } = Object(reader.status?.());
      return source + rev;
    };
    let first: string | undefined;
    let asked = 0;
    while (!turn.done) {
      const { flagKey, fallback } = turn.value;
      const detail = context ? await reader.variationDetail(flagKey, context, fallback) : NO_VIEWER;
      if (++asked === 1) first = revision();
      turn = turns.next(detail);
    }
    if (context === undefined) return turn.value;
    const { evaluate } = reader;
    const isOneRevision = asked < 2 || !evaluate || revision() === first;
    return isOneRevision ? turn.value : again(context, evaluate);

    async function again(context: Context, evaluate: Reader['evaluate']): Promise<Outcome> {
      const tried = new Set<string>();
      for (;;) {
        let lacking: Question | undefined;
        const turns = decideAll(rules, kinds, request, overrides);
        let turn = turns.next();
        while (!turn.done) {
          const { flagKey, fallback } = turn.value;
          const detail = evaluate(flagKey, context, fallback);
          const { reason } = detail;
          if (reason.kind === 'ERROR' && reason.errorKind === 'CLIENT_NOT_READY') lacking ??= turn.value;
          turn = turns.next(detail);
        }
        // Do not wait again for data that could not be read.
        if (!lacking || tried.has(lacking.flagKey)) return turn.value;
        // Such as Big Segments that only the newer flags use.
        tried.add(lacking.flagKey);
        await reader.variationDetail(lacking.flagKey, context, lacking.fallback);
      }
    }
  };
}

type Kind = 'origin' | 'path' | 'headers' | 'response';

/** What a rule could decide. */
function kindsOf({ variations }: ReadyRule): ReadonlySet<Kind> {
  const kinds = new Set<Kind>();
  for (const { origin, rewrite, respond, requestHeaders, responseHeaders } of variations.values()) {
    if (origin !== undefined) kinds.add('origin');
    if (rewrite) kinds.add('path');
    if (respond) kinds.add('response');
    if (requestHeaders || responseHeaders) kinds.add('headers');
  }
  return kinds;
}

/** Evaluates one flag after the other, each once, and none that could no longer change anything. */
function* decideAll(
  rules: readonly ReadyRule[],
  kinds: ReadonlyMap<ReadyRule, ReadonlySet<Kind>>,
  request: CloudFrontRequest,
  overrides: Overrides | undefined,
): Generator<Question, Outcome, Given> {
  const outcome = newOutcome();
  const known = outcome.given;
  const settled = (kind: Kind) =>
    (kind === 'origin' && outcome.origin !== undefined) || (kind === 'path' && outcome.uri !== undefined);

  for (const rule of rules) {
    const open = kinds.get(rule);
    if (open && open.size > 0 && [...open].every(settled)) continue;
    const rest = rule.matches(request);
    if (rest === undefined) continue;
    const { flagKey, otherwise: fallback } = rule;
    // Overrides, such as those of testers, come before the reader.
    let given: Given | undefined =
      overrides && Object.hasOwn(overrides, flagKey)
        ? { value: overrides[flagKey], reason: { kind: 'OVERRIDE' } }
        : known.get(flagKey);
    given ??= yield { flagKey, fallback };
    const { name, ...decided } = choose(rule, given);
    if (!known.has(flagKey)) outcome.decided.push({ flagKey, variation: name ?? 'none', ...decided });
    known.set(flagKey, given);
    const action = name === undefined ? undefined : rule.variations.get(name);
    if (action) apply(action, request, rest, outcome);
    if (outcome.response) break;
  }
  return outcome;
}

export function newOutcome(): Outcome {
  const nothing = { origin: undefined, uri: undefined, response: undefined };
  return { decided: [], given: new Map(), ...nothing, requestHeaders: new Set(), responseHeaders: new Map() };
}

/** The variation, by its name, and why it is that one. */
function choose({ variations, otherwise }: ReadyRule, { value, variationIndex, reason }: Given) {
  const failed = reason.kind === 'ERROR';
  const overridden = reason.kind === 'OVERRIDE';
  // Without a variation, as for a flag that is off, the value is the fallback of the evaluation, which may be another rule's.
  const isOurs = failed || variationIndex === null;
  const known = !isOurs && variations.has(String(value));
  const why = failed ? reason.errorKind : known || isOurs || overridden ? undefined : UNKNOWN;
  return {
    name: known ? String(value) : otherwise,
    reason: failed ? `ERROR ${why}` : (why ?? reason.kind),
    why,
    kind: failed ? 'failed' : overridden ? 'overridden' : 'evaluated',
  } as const;
}

function apply(action: ReadyAction, request: CloudFrontRequest, rest: string, outcome: Outcome): void {
  const { origin, requestHeaders, responseHeaders } = action;
  if (responseHeaders) outcome.responseHeaders.set(responseHeaders.id, responseHeaders.headers);
  outcome.response = action.respond?.(request, rest);
  outcome.origin ??= origin;
  outcome.uri ??= action.rewrite?.(request, rest);
  if (requestHeaders) outcome.requestHeaders.add(requestHeaders);
}
