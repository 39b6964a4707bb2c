/** How old heartbeats are when a refresh finds them: how long changes take from LaunchDarkly to here. A bundle that does not import it does not carry it. */
import { heartbeatOf } from '../../lib/flag-table/index.ts';
import type { Data, OnData, ReaderStatus } from './freshness.ts';
import type { ReportOutput } from './report.ts';
import type { Surroundings } from './surroundings.ts';

export interface Heartbeats {
  /** For a reader. */
  readonly onData: OnData;
  /** For its report: the seconds that each heartbeat took, and how many came from the future, which count as 0. */
  readonly extra: NonNullable<ReportOutput['extra']>;
}

export interface HeartbeatsOptions extends Partial<Pick<Surroundings, 'now'>> {
  readonly flagKey: string;
  /** The reader's. */
  readonly refreshMs: number;
  status(): Pick<ReaderStatus, 'lastError'>;
}

/** The most values of a metric in a line. AWS: "Specification: Embedded metric format". */
const MOST = 100;

/**
 * A reader that was idle for longer than `refreshMs` has answered nothing from the flags that it held, so what it finds then is not
 * measured, unless it tried to read in between and failed. Clocks of two machines are compared.
 */
export function createHeartbeats({ flagKey, refreshMs, status, now = Date.now }: HeartbeatsOptions): Heartbeats {
  let taken: number[] = [];
  let ahead = 0;

  function sentAtIn({ snapshot }: Data): number {
    const item = snapshot?.get('features', flagKey);
    return (item && !item.deleted && heartbeatOf(item.json)?.sentAt) || 0;
  }

  return {
    onData(before, after) {
      try {
        const sentAt = sentAtIn(after);
        if (!before.snapshot || sentAt <= sentAtIn(before)) return;
        const at = now();
        const { readAt = 0 } = before;
        const slept = at - readAt > refreshMs && (status().lastError?.at ?? 0) < readAt;
        if (slept || taken.length >= MOST) return;
        if (sentAt > at) ahead += 1;
        taken.push(Math.max(0, at - sentAt) / 1_000);
      } catch {
        // A part of the snapshot is unreadable, which the reader says when it needs it.
      }
    },
    extra() {
      const told = {
        metrics: { ...(taken.length > 0 && { HeartbeatToEdge: [taken, 'Seconds'] as const }) },
        fields: { ...(ahead > 0 && { heartbeatsAhead: ahead }) },
      };
      taken = [];
      ahead = 0;
      return told;
    },
  };
}
