/** Senders of events that LaunchDarkly rejected lately: theirs are sent apart, so that no one else loses events with them. */
export interface Suspects {
  /** Whether there may be any. */
  readonly some: boolean;
  has(sender: string): boolean;
  /** Its events were in a payload that was rejected, maybe because of others'. */
  add(sender: string): void;
  /** A payload of its events alone was rejected, or accepted, which ends a suspicion that was never confirmed. */
  judge(sender: string, verdict: 'rejected' | 'delivered'): void;
}

/** Beyond so many, the one that was suspected longest ago is forgotten. */
const MOST_SUSPECTS = 1_000;

export function createSuspects(forMs: number, now: () => number = () => performance.now()): Suspects {
  const suspects = new Map<string, { readonly until: number; readonly isConfirmed: boolean }>();

  function put(sender: string, isConfirmed: boolean) {
    suspects.delete(sender);
    suspects.set(sender, { until: now() + forMs, isConfirmed });
    const [oldest] = suspects.keys();
    if (suspects.size > MOST_SUSPECTS && oldest !== undefined) suspects.delete(oldest);
  }

  return {
    get some() {
      return suspects.size > 0;
    },
    has(sender) {
      const suspect = suspects.get(sender);
      if (suspect && suspect.until <= now()) suspects.delete(sender);
      return suspects.has(sender);
    },
    add(sender) {
      if (!suspects.has(sender)) put(sender, false);
    },
    judge(sender, verdict) {
      if (verdict === 'rejected') put(sender, true);
      else if (suspects.get(sender)?.isConfirmed === false) suspects.delete(sender);
    },
  };
}
