import { type Attributes, decodeHead } from '../../lib/flag-table/index.ts';
import type { Log } from '../ports.ts';
import type { Sight } from './lease-decision.ts';
import { hasOurFormat, isYielding } from './lease-head.ts';
import type { Clock, Timings } from './timings.ts';

/** What a task without the lease has seen of the head, and since when it has not changed. */
export interface Sightings {
  /** The head as it was just read. */
  see(attributes: Attributes | undefined): Sight;
  /** Whether another task was seen to renew its lease lately. */
  isHeldByOther(): boolean;
  forget(): void;
}

export function createSightings(options: {
  readonly prefix: string;
  readonly clock: Clock;
  readonly timings: Pick<Timings, 'expireMs'>;
  readonly log: Log;
  /** The head differs from the one seen before. */
  onChange(): void;
}): Sightings {
  const { prefix, clock, timings, log } = options;
  let last: { readonly mark: string; readonly since: number; readonly owner: string } | undefined;

  /** Monotonic ms since which the head has had this mark. */
  function sinceOf(mark: string, owner: string): number {
    if (last?.mark === mark) return last.since;
    last = { mark, since: clock.now(), owner };
    options.onChange();
    return last.since;
  }

  return {
    see(attributes) {
      if (!attributes) {
        last = undefined;
        return { kind: 'absent' };
      }
      const head = decodeHead(attributes);
      if (!('problem' in head)) {
        const seenSince = sinceOf(`${head.owner} ${head.epoch} ${head.beat}`, head.owner);
        return { kind: 'readable', head, yielding: isYielding(attributes), seenSince };
      }
      const mark = JSON.stringify(attributes);
      if (last?.mark !== mark)
        log.warn('Cannot read the head of the flag table', {
          prefix,
          reason: head.problem,
          runbook: 'operations.md#store-down',
        });
      return { kind: 'unreadable', foreign: !hasOurFormat(attributes), seenSince: sinceOf(mark, '?') };
    },
    isHeldByOther: () => last !== undefined && last.owner !== '' && clock.now() - last.since < timings.expireMs,
    forget() {
      last = undefined;
    },
  };
}
