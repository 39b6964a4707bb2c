/** What becomes of a payload that was not delivered: it is sent again in parts, so that one bad event does not cost all others. */
import type { Verdict } from './courier.ts';
import { eventsIn, type Parcel, RELAY, sendersOf } from './parcel.ts';

/** What is known of a payload that is sent in parts. */
export interface Attempts {
  /** How many of its parts were rejected. */
  readonly rejections: number;
  /** Some of its events were delivered or dropped, so putting the rest aside cannot go round in circles. */
  readonly hasProgress: boolean;
  readonly senders: ReadonlySet<string>;
  /** Of an unconfirmed suspect: it shows whether its events are good. */
  readonly isTrial: boolean;
}

/** How often a rejected payload is split in any case … */
const SURELY_SPLIT = 3;
/**
 * … and how many of its parts may be rejected before a body is not split further, and several bodies wait for their next turn: one bad
 * event among 1,000 takes 11.
 */
const MOST_REJECTIONS = 16;
/** The same for several bodies in any case. */
const MOST_REJECTIONS_TOGETHER = 64;

/** `part`: the whole payload, or what was split from it; `depth`: how often that was because of a rejection. */
export function fateOf(
  verdict: Exclude<Verdict, 'delivered'>,
  part: Parcel,
  attempts: Attempts,
  depth: number,
): 'put-aside' | 'split' | 'drop' {
  if (eventsIn(part) === 1) return 'drop';
  if (verdict === 'too-large') return 'split';
  if (verdict !== 'rejected') return 'drop';
  if (isToBePutAside(part, attempts)) return 'put-aside';
  const { rejections } = attempts;
  if (part.parts.length > 1) return rejections < MOST_REJECTIONS_TOGETHER ? 'split' : 'drop';
  return depth < SURELY_SPLIT || rejections < MOST_REJECTIONS ? 'split' : 'drop';
}

function isToBePutAside(part: Parcel, { rejections, hasProgress, senders, isTrial }: Attempts): boolean {
  const [sender = RELAY, ...others] = sendersOf(part);
  if (others.length > 0) return rejections >= MOST_REJECTIONS;
  if (sender === RELAY) return false;
  if (senders.size > 1 || isTrial) return true;
  return part.parts.length > 1 && rejections >= MOST_REJECTIONS && hasProgress;
}
