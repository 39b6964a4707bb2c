const PERIOD_MS = 60_000;
const MOST_REASONS = 20;
const MOST_CHARACTERS = 200;

/** Of all reasons for which there is no place. */
const OTHERS = Symbol('others');

/**
 * Reports each reason at most once a minute, and how often it came meanwhile without being reported, so that whoever can cause a
 * report cannot fill the log. Reasons beyond the first twenty of a minute count as one. `now` is in ms.
 */
export function oncePerMinute<Details>(
  report: (details: Details, suppressed: number) => void,
  now: () => number = () => performance.now(),
): (reason: string, details: Details) => void {
  const places = new Map<string | typeof OTHERS, { readonly until: number; suppressed: number }>();

  /** Where the reason is counted. Makes room by forgetting what was reported more than a minute ago. */
  function placeOf(reason: string): string | typeof OTHERS {
    const short = reason.slice(0, MOST_CHARACTERS);
    if (places.has(short) || places.size < MOST_REASONS) return short;
    for (const [key, { until }] of places) if (until <= now()) places.delete(key);
    return places.size < MOST_REASONS ? short : OTHERS;
  }

  return (reason, details) => {
    const key = placeOf(reason);
    const place = places.get(key);
    if (place && place.until > now()) {
      place.suppressed += 1;
      return;
    }
    places.set(key, { until: now() + PERIOD_MS, suppressed: 0 });
    report(details, place?.suppressed ?? 0);
  };
}
