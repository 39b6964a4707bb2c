/** Senders of events that LaunchDarkly rejected lately: theirs are sent apart, so that no one else loses events with them. */
/**
 * `doubted`: its events were only rejected together with those of others, and some were accepted lately; `unknown`: none were yet, so it may be
 * one of any number of invented addresses.
 */
export type Suspicion = 'doubted' | 'unknown' | 'confirmed';

export interface Suspects {
  /** Whether there may be any. */
  readonly some: boolean;
  of(sender: string): Suspicion | undefined;
  /** Its events were in a payload that was rejected, maybe because of others'. */
  add(sender: string): void;
  /** Some of its events were accepted, maybe together with others'. */
  accept(sender: string): void;
  /** A payload of its events alone was rejected, or accepted, which ends a suspicion that was never confirmed. */
  judge(sender: string, verdict: 'rejected' | 'delivered'): void;
  /**
   * Whose turn it is: of these, one that is not confirmed, or who had the fewest requests. Time without events earns none.
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

/** Beyond so many, the one that was suspected longest ago is forgotten. */
const MOST_SUSPECTS = 1_000;
/** The same of those with accepted events. */
const MOST_KNOWN = 1_000;

export function createSuspects(forMs: number, now: () => number = () => performance.now()): Suspects {
  const suspects = new Map<string, Suspect>();
  /** Those with accepted events, the latest last. */
  const known = new Set<string>();
  /** What whoever had the last turn had spent before. */
  let spentByAll = 0;

  const spentBy = (sender: string) => Math.max(suspects.get(sender)?.spent ?? 0, spentByAll);

  function put(sender: string, isConfirmed: boolean) {
    const spent = spentBy(sender);
    suspects.delete(sender);
    suspects.set(sender, { until: now() + forMs, isConfirmed, spent });
    const [oldest] = suspects.keys();
    if (suspects.size > MOST_SUSPECTS && oldest !== undefined) suspects.delete(oldest);
  }

  return {
    get some() {
      return suspects.size > 0;
    },
    of(sender) {
      const suspect = suspects.get(sender);
      if (!suspect) return undefined;
      if (suspect.until > now()) return suspect.isConfirmed ? 'confirmed' : known.has(sender) ? 'doubted' : 'unknown';
      suspects.delete(sender);
      return undefined;
    },
    add(sender) {
      if (!suspects.has(sender)) put(sender, false);
    },
    accept(sender) {
      if (suspects.get(sender)?.isConfirmed) return;
      known.delete(sender);
      known.add(sender);
      const [oldest] = known;
      if (known.size > MOST_KNOWN && oldest !== undefined) known.delete(oldest);
    },
    judge(sender, verdict) {
      if (verdict === 'rejected') {
        put(sender, true);
        known.delete(sender);
      } else if (suspects.get(sender)?.isConfirmed === false) suspects.delete(sender);
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
