/** A heartbeat flag: its value is the time of its last change, so each reader can tell how long the change took to arrive. */
export interface Heartbeat {
  /** Index of the variation that it serves. */
  readonly variation: number;
  readonly value: unknown;
  /** Unix ms; undefined: the value holds no time yet. */
  readonly sentAt: number | undefined;
}

/** September 2001. A smaller number is no time in ms: seconds, for example. */
const EARLIEST_MS = 1e12;

/**
 * What a heartbeat flag serves to everyone: the variation of its default rule, or the one for off. The time is the value itself or the value's
 * `sentAt`. Targets and rules do not count. Undefined: it is no flag that serves one variation.
 */
export function heartbeatOf(json: string): Heartbeat | undefined {
  let flag: unknown;
  try {
    flag = JSON.parse(json);
  } catch {}
  const { on, fallthrough, offVariation, variations } = Object(flag);
  const variation = on ? Object(fallthrough).variation : offVariation;
  if (!Array.isArray(variations) || !Number.isInteger(variation) || !(variation in variations)) return undefined;
  const value = variations[variation];
  const time = Object(value).sentAt ?? value;
  return { variation, value, sentAt: Number.isSafeInteger(time) && time >= EARLIEST_MS ? time : undefined };
}
