/** What has been decided in one request of a call chain: by other services, and by this one. It neither reads nor waits. */
import { type Detail, type FlagsState, parseContext } from '../../lib/evaluation/index.ts';
import { compareRev, parseRev } from '../../lib/flag-table/index.ts';
import type { Chained } from './chain-seal.ts';
import type { EvaluationContext } from './context.ts';
import type { Asked } from './wrap.ts';

interface Decisions {
  /** Undefined: the context is invalid, so nothing is decided for it. */
  readonly contextKey: string | undefined;
  /** By flag key. */
  readonly all: ReadonlyMap<string, Detail>;
  /** Whether they are for this context. */
  areFor(context: unknown): boolean;
  /** The answer to a question that was decided already. */
  known(asked: Asked): Detail | undefined;
  isElsewhere(flagKey: string): boolean;
  /** Takes over what another service decided; what was decided already stays. */
  take(chained: Chained): void;
  /** Decides a question, unless it was decided already, and returns the answer that counts. `at`: Unix ms; `rev`: of the reader. */
  decide(asked: Asked, detail: Detail, at: number, rev: string | undefined): Detail;
  /** When the first was made and the newest revision; undefined: there are none. */
  chained(): Chained | undefined;
  /** The newest revision that came from another service. */
  sought(): string | undefined;
  /** The state of all flags, as if those that were decided had been evaluated so. */
  within(whole: FlagsState): FlagsState;
}

export function createDecisions(context: EvaluationContext): Decisions {
  const contextKey = keyOf(context);
  const all = new Map<string, Detail>();
  const elsewhere = new Set<string>();
  let first: number | undefined;
  let newest: string | undefined;
  let sought: string | undefined;

  const areFor = (other: unknown) => other === context || (contextKey !== undefined && keyOf(other) === contextKey);

  function known(asked: Asked): Detail | undefined {
    const detail = areFor(asked.context) ? all.get(asked.flagKey) : undefined;
    return detail && ofType(detail, asked);
  }

  return {
    contextKey,
    all,
    areFor,
    known,
    isElsewhere: (flagKey) => elsewhere.has(flagKey),
    take({ decisions, at, rev }) {
      for (const [flagKey, detail] of decisions) {
        if (all.has(flagKey)) continue;
        all.set(flagKey, detail);
        elsewhere.add(flagKey);
      }
      first = Math.min(first ?? at, at);
      newest = newer(newest, rev);
      sought = newer(sought, rev);
    },
    decide(asked, detail, at, rev) {
      const before = known(asked);
      if (before || !areFor(asked.context) || contextKey === undefined || !travels(detail)) return before ?? detail;
      all.set(asked.flagKey, detail);
      first ??= at;
      newest = newer(newest, rev);
      return detail;
    },
    chained: () => (first === undefined || all.size === 0 ? undefined : { at: first, rev: newest, decisions: all }),
    sought: () => sought,
    within: (whole) => withDecisions(whole, all),
  };
}

/** The first, unless the second is newer. */
function newer(rev: string | undefined, other: string | undefined): string | undefined {
  return compareRev(parseRev(other), parseRev(rev)) > 0 ? other : rev;
}

function withDecisions(whole: FlagsState, decisions: ReadonlyMap<string, Detail>): FlagsState {
  const own = [...decisions].filter(
    ([key, { variationIndex }]) => variationIndex !== null && Object.hasOwn(whole, key),
  );
  if (own.length === 0) return whole;
  const metadata = own.map(([key, { variationIndex, reason }]) => {
    const { reason: had, ...rest } = Object(whole.$flagsState[key]);
    return [key, { ...rest, variation: variationIndex, ...(had && { reason }) }];
  });
  return {
    ...whole,
    ...Object.fromEntries(own.map(([key, { value }]) => [key, value])),
    $flagsState: { ...whole.$flagsState, ...Object.fromEntries(metadata) },
    $valid: whole.$valid,
  };
}

/** An answer that only says that the question was invalid is not a decision. */
function travels({ reason }: Detail): boolean {
  return reason.kind !== 'ERROR' || !['WRONG_TYPE', 'EXCEPTION', 'USER_NOT_SPECIFIED'].includes(reason.errorKind ?? '');
}

/** As the reader answers a question for a value of one type. */
function ofType(detail: Detail, { type, fallback }: Asked): Detail {
  if (type === undefined || typeof detail.value === type) return detail;
  const { reason } = detail;
  const wrong = { kind: 'ERROR', errorKind: 'WRONG_TYPE' } as const;
  return { value: fallback, variationIndex: null, reason: reason.kind === 'ERROR' ? reason : wrong };
}

/**
 * Identifies a context; undefined for an invalid one. Not its canonical key, which a user named `organization:acme` shares with that
 * organization.
 */
function keyOf(context: unknown): string | undefined {
  try {
    const parsed = parseContext(context);
    return parsed && JSON.stringify(parsed.kinds.toSorted().map((kind) => [kind, parsed.keyOf(kind)]));
  } catch {
    // A getter of the caller's.
    return undefined;
  }
}
