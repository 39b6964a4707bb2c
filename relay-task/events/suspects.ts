/** Senders whose events LaunchDarkly recently rejected. Their events are sent separately, so that no one else loses events with them. */
import { forgetOldest } from '../common/forget-oldest.ts';

/**
 * `doubted`: its events were only rejected together with others', and some were accepted recently; `unknown`: none were accepted yet, so it
 * may be one of any number of invented addresses.
 */
type Suspicion = 'doubted' | 'unknown' | 'confirmed';

export interface Suspects {
  /**
   * Senders whose suspicion has begun, changed or ended since `place`, which is 0 at first and then the last `until`. `senders` is undefined
   * if too many have changed to tell which.
   */
  changedSince(place: number): { readonly senders: readonly string[] | undefined; readonly until: number };
  of(sender: string): Suspicion | undefined;
  /** Its events were in a payload that was rejected, maybe because of others'. */
  add(sender: string): void;
  /** Some of its events were accepted, maybe together with others'. */
  accept(sender: string): void;
  /** A payload of its events alone was rejected, or accepted, which ends a suspicion that was never confirmed. */
  judge(sender: string, verdict: 'rejected' | 'delivered'): void;
  /**
   * Whose turn it is among these: an unconfirmed one, or else the one with the fewest requests. Time without events earns no credit.
   * ("Start-time fair queueing": Goyal, Vin and Cheng, 1996)
   */
  next(senders: Iterable<string>): string | undefined;
  /** One request for its events. */
  spend(sender: string): void;
}

interface Suspect {
  readonly until: number;
  readonly isConfirmed: boolean;
  /** In requests, counted from when the first suspect had its first turn. */
  readonly spent: number;
}

/** Beyond this many, the oldest suspicion is forgotten. */
const MOST_SUSPECTS = 1_000;
/** The same for senders with accepted events. */
const MOST_KNOWN = 1_000;
/** How many changes are remembered; sometimes twice as many. */
const MOST_CHANGES = 1_000;

export function createSuspects(forMs: number, now: () => number = () => performance.now()): Suspects {
  const suspects = new Map<string, Suspect>();
  /** Those with accepted events, the latest last. */
  const known = new Set<string>();
  /** What the sender of the last turn had spent before. */
  let spentByAll = 0;

  /** The latest last; `forgotten` others came before them. */
  const changes: string[] = [];
  let forgotten = 0;

  function changed(sender: string) {
    changes.push(sender);
    if (changes.length < 2 * MOST_CHANGES) return;
    changes.splice(0, MOST_CHANGES);
    forgotten += MOST_CHANGES;
  }

  function forget(sender: string) {
    if (suspects.delete(sender)) changed(sender);
  }

  /** The oldest come first. */
  function forgetOver() {
    for (const [sender, { until }] of suspects) {
      if (until > now()) return;
      forget(sender);
    }
  }

  const spentBy = (sender: string) => Math.max(suspects.get(sender)?.spent ?? 0, spentByAll);

  function put(sender: string, isConfirmed: boolean) {
    const spent = spentBy(sender);
    suspects.delete(sender);
    suspects.set(sender, { until: now() + forMs, isConfirmed, spent });
    changed(sender);
    const oldest = forgetOldest(suspects, MOST_SUSPECTS);
    if (oldest !== undefined) changed(oldest);
  }

  return {
    changedSince(place) {
      forgetOver();
      return {
        senders: place < forgotten ? undefined : changes.slice(place - forgotten),
        until: forgotten + changes.length,
      };
    },
    of(sender) {
      const suspect = suspects.get(sender);
      if (!suspect) return undefined;
      if (suspect.until > now()) return suspect.isConfirmed ? 'confirmed' : known.has(sender) ? 'doubted' : 'unknown';
      forget(sender);
      return undefined;
    },
    add(sender) {
      forgetOver();
      if (!suspects.has(sender)) put(sender, false);
    },
    accept(sender) {
      if (suspects.get(sender)?.isConfirmed) return;
      if (!known.delete(sender) && suspects.has(sender)) changed(sender);
      known.add(sender);
      const oldest = forgetOldest(known, MOST_KNOWN);
      if (oldest !== undefined && suspects.has(oldest)) changed(oldest);
    },
    judge(sender, verdict) {
      if (verdict === 'rejected') {
        put(sender, true);
        known.delete(sender);
      } else if (suspects.get(sender)?.isConfirmed === false) forget(sender);
    },
    next(senders) {
      let next: string | undefined;
      let least = Infinity;
      for (const sender of senders) {
        if (suspects.get(sender)?.isConfirmed === false) return sender;
        const spent = spentBy(sender);
        if (spent >= least) continue;
        next = sender;
        least = spent;
      }
      if (next !== undefined) spentByAll = least;
      return next;
    },
    spend(sender) {
      const suspect = suspects.get(sender);
      if (suspect) suspects.set(sender, { ...suspect, spent: spentBy(sender) + 1 });
    },
  };
}
