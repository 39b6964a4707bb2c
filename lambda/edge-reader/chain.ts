/**
 * Call chains: what one service decided for a user travels with its calls in one small signed header, so that the services behind it make the same
 * decisions, even while a flag changes.
 */
import type { Detail } from '../../lib/evaluation/index.ts';
import { compareRev, parseRev } from '../../lib/flag-table/index.ts';
import { type IncomingHeaders, MOST_BAGGAGE_BYTES, readHeader, readMember, withMember } from './baggage.ts';
import { createDecisions } from './chain-decisions.ts';
import type { ChainReport } from './chain-report.ts';
import { type Chained, type ChainKey, createSeal, type Refusal } from './chain-seal.ts';
import type { EvaluationContext } from './context.ts';
import { harmless } from './harmless.ts';
import { createChecks } from './options.ts';
import type { Reader } from './reader.ts';
import { pause, within } from './within.ts';
import { type Asked, wrap } from './wrap.ts';

export type { IncomingHeaders } from './baggage.ts';
export { type ChainReport, createChainReport, type Handled } from './chain-report.ts';
export type { ChainKey, Refusal } from './chain-seal.ts';

type Told = Pick<ChainReport, 'onDecision' | 'chained' | 'handled'>;

export interface ChainOptions {
  readonly reader: Reader;
  /** The reader's environment: decisions of another are not accepted. Default: none. */
  readonly prefix?: string;
  /** The first signs; all are accepted, so that secrets can be changed. */
  readonly keys: readonly ChainKey[];
  /** How old decisions may be, counted from the first in the chain. Default 30,000. */
  readonly maxAgeMs?: number;
  /**
   * How long a flag that has not been decided yet waits for the revision of those that have, once for each revision that comes with the request or
   * with an answer. Default 50; 0: not at all.
   */
  readonly waitMs?: number;
  /** In lower case. A header of your own has the same form. Default `baggage`. */
  readonly header?: string;
  /** The name of the member in it. Environments that meet in one request need different ones. Default `edge-flags`. */
  readonly member?: string;
  /** Counts headers that were not used and revisions that were not reached, and compares variations; what it throws is logged. Default: none. */
  readonly report?: Told | undefined;
  /** Unix ms; for tests. */
  now?(): number;
}

export interface Chain {
  /** The service's part in a request for this context. Never throws: a header that cannot be used counts as none. */
  join(headers: IncomingHeaders | null | undefined, context: EvaluationContext): Call;
}

/** One request. Within it, each flag has one answer for the request's context; for other contexts it is just the reader. */
export interface Call extends Reader {
  /**
   * The headers for a call to another service: the header, with the other members of the incoming baggage, or of `outgoing` if that is
   * given. If no decisions fit, it has only those members.
   */
  headers(outgoing?: IncomingHeaders): Record<string, string>;
  /**
   * Adopts the decisions of the called service, if it sends `headers()` with its answer. Flags that are requested afterwards wait
   * for its revision.
   */
  learn(headers: IncomingHeaders | null | undefined): void;
  chained(): ChainState;
  /** Counts the request, with its duration, for each variation that was decided in it. */
  done(how: { readonly ms: number; readonly failed?: boolean }): void;
}

export interface ChainState {
  /** `ignored`: see `reason`. */
  readonly received: 'none' | 'used' | 'ignored';
  readonly reason?: Refusal | undefined;
  /** The age of the first decision in the chain, in ms. */
  readonly ageMs?: number | undefined;
  /**
   * Whether the reader has the chain's revision. `missed`: it has not read it, or had not when a flag was decided. `unknown`: the
   * chain has no revision, or the reader uses LaunchDarkly's own layout or no table.
   */
  readonly revision: 'held' | 'missed' | 'unknown';
}

/** By how much the clocks of two services may differ. */
const SKEW_MS = 5_000;
/** After a revision could not be reached, others do not wait for it. */
const MISSED_MS = 1_000;
/** From one read to the next while a replica is behind. */
const AGAIN_MS = 10;

/** Throws one Error that lists every problem in the options. */
export function createChain(options: ChainOptions): Chain {
  check(options);
  const { reader, prefix = '', keys, maxAgeMs = 30_000, waitMs = 50, now = Date.now } = options;
  const { header = 'baggage', member = 'edge-flags' } = options;
  const seal = createSeal(prefix, keys);
  const report = options.report && guarded(options.report);
  let missed = { rev: '', at: 0 };

  const isHeld = (rev: string | undefined) => compareRev(parseRev(reader.status().rev), parseRev(rev)) >= 0;

  /** LaunchDarkly's own layout and a reader without a table have none. */
  const hasRevisions = () => {
    const { source, state } = reader.status();
    return source !== 'official' && !(source === 'held' && state === 'ready');
  };

  /** Reads the table until it has the revision, or the time is over. */
  async function reach(rev: string): Promise<void> {
    const until = now() + waitMs;
    const isHopeless = missed.rev >= rev && Math.abs(now() - missed.at) < MISSED_MS;
    while (!isHeld(rev) && !isHopeless && now() < until) {
      await within(reader.refresh(), until - now());
      if (!isHeld(rev)) await pause(Math.min(AGAIN_MS, until - now()));
    }
    if (isHeld(rev)) return;
    if (!isHopeless) missed = { rev, at: now() };
    report?.chained('missed');
  }

  function open(text: string, contextKey: string | undefined): Chained | Refusal | undefined {
    if (text.length > MOST_BAGGAGE_BYTES) return 'oversize';
    const found = readMember(text, member);
    if (found === undefined) return undefined;
    if (contextKey === undefined) return 'other-context';
    const chained = seal.open(found, contextKey);
    if (typeof chained === 'string') return chained;
    const ageMs = now() - chained.at;
    return ageMs > maxAgeMs || ageMs < -SKEW_MS ? 'expired' : chained;
  }

  function join(headers: IncomingHeaders | null | undefined, context: EvaluationContext): Call {
    const decisions = createDecisions(context);
    const inTurn = createTurns();
    const incoming = readHeader(headers, header);
    const came = accept(incoming);
    const received = typeof came === 'object' ? came : undefined;
    const state = {
      received: received ? 'used' : came === undefined ? 'none' : 'ignored',
      reason: typeof came === 'string' ? came : undefined,
    } as const;
    let waiting: { readonly rev: string; readonly done: Promise<void> } | undefined;
    let isMissed = false;

    function accept(text: string) {
      const opened = open(text, decisions.contextKey);
      if (opened !== undefined) report?.chained(typeof opened === 'string' ? opened : 'used');
      if (typeof opened === 'object') decisions.take(opened);
      return opened;
    }
    /** Waits for each revision once; undefined: there is nothing to wait for. */
    function caughtUp(): Promise<void> | undefined {
      const wanted = decisions.sought();
      if (wanted === undefined || isHeld(wanted) || !hasRevisions()) return undefined;
      if (waiting?.rev !== wanted) {
        const done = reach(wanted).then(() => {
          isMissed ||= !isHeld(wanted);
        });
        waiting = { rev: wanted, done };
      }
      return waiting.done;
    }
    function revision(): ChainState['revision'] {
      const sought = decisions.sought();
      if (sought === undefined || !hasRevisions()) return 'unknown';
      return isMissed || !isHeld(sought) ? 'missed' : 'held';
    }
    function before(asked: Asked): Detail | undefined {
      const { type: _, ...question } = asked;
      const detail = decisions.known(asked);
      if (detail) report?.onDecision({ ...question, detail, ms: 0, elsewhere: decisions.isElsewhere(asked.flagKey) });
      return detail;
    }
    const after = (asked: Asked, detail: Detail) => decisions.decide(asked, detail, now(), reader.status().rev);

    const wrapped = wrap(reader, {
      before,
      ask(asked, own) {
        const work = async () => {
          await caughtUp();
          return before(asked) ?? after(asked, await own());
        };
        // An observer of the reader must not see an evaluation whose result is not used.
        return decisions.areFor(asked.context) ? inTurn(asked.flagKey, work) : work();
      },
      after,
    });

    return {
      ...wrapped,
      async allFlagsState(asked, stateOptions) {
        await caughtUp();
        const whole = await reader.allFlagsState(asked, stateOptions);
        return decisions.areFor(asked) ? decisions.within(whole) : whole;
      },
      headers(outgoing) {
        const base = outgoing === undefined ? incoming : readHeader(outgoing, header);
        const others = withMember(base, member, undefined);
        const room = MOST_BAGGAGE_BYTES - others.length - member.length - 2;
        const { contextKey } = decisions;
        const chained = decisions.chained();
        const value = contextKey === undefined || !chained ? undefined : seal.close(contextKey, chained, room);
        const merged = withMember(others, member, value);
        return merged === '' ? {} : { [header]: merged };
      },
      learn(answer) {
        accept(readHeader(answer, header));
      },
      chained: () => ({
        ...state,
        ageMs: received && Math.max(0, now() - received.at),
        revision: revision(),
      }),
      done({ ms, failed = false }) {
        for (const [flagKey, detail] of decisions.all) report?.handled({ flagKey, detail, ms, failed });
      },
    };
  }

  return { join };
}

function guarded(report: Told): Told {
  return {
    onDecision: harmless('onDecision', (decision) => report.onDecision(decision)),
    chained: harmless('chained', (how) => report.chained(how)),
    handled: harmless('handled', (what) => report.handled(what)),
  };
}

/** Runs works for the same key one after the other. */
function createTurns() {
  const underWay = new Map<string, Promise<unknown>>();
  return async <T>(key: string, work: () => Promise<T>): Promise<T> => {
    for (let other = underWay.get(key); other; other = underWay.get(key)) await other;
    const mine = work();
    underWay.set(key, mine);
    try {
      return await mine;
    } finally {
      underWay.delete(key);
    }
  };
}

function check(options: ChainOptions): void {
  const { keys, maxAgeMs = 1, waitMs = 0, header = 'a', member = 'a' } = options;
  const { add, must, only, end } = createChecks('edge reader: call chain');
  only(options, ['reader', 'prefix', 'keys', 'maxAgeMs', 'waitMs', 'header', 'member', 'report', 'now']);
  const list = Array.isArray(keys) ? keys : [];
  if (list.length === 0) add('keys are missing: expected [{ id, secret }]');
  // A secret is never shown, and an id might be one.
  for (const [index, key] of list.entries()) {
    const { id, secret } = Object(key);
    if (!/^[\w-]{1,32}$/.test(String(id)))
      add(`keys[${index}].id is invalid: expected 1 to 32 characters from a-z A-Z 0-9 _ -`);
    if (typeof secret !== 'string' || secret.length < 32)
      add(`keys[${index}].secret is invalid: expected at least 32 characters`);
  }
  must('maxAgeMs', maxAgeMs, Number.isInteger(maxAgeMs) && maxAgeMs > 0, 'an integer of at least 1');
  must('waitMs', waitMs, Number.isInteger(waitMs) && waitMs >= 0, 'an integer of at least 0');
  const token = /^[a-z0-9!#$%&'*+.^_`|~-]{1,64}$/;
  must('header', header, token.test(header), 'the name of a header in lower case');
  must('member', member, token.test(member), '1 to 64 characters of a token in lower case');
  end();
}
