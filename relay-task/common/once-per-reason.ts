const MOST_REASONS = 20;
const MOST_CHARACTERS = 200;

/** Reports each reason once and only so many, so that a peer that repeats itself, or never does, does not fill the log. */
export function oncePerReason(report: (reason: string) => void): (reason: string) => void {
  const reported = new Set<string>();
  return (text) => {
    const reason = text.slice(0, MOST_CHARACTERS);
    if (reported.size >= MOST_REASONS || reported.has(reason)) return;
    reported.add(reason);
    report(reason);
  };
}
