import { durationText } from '../common/duration-text.ts';
import { createPacedLines } from '../common/paced-lines.ts';
import type { Log } from '../ports.ts';
import { causeOf, failureText } from './failure-text.ts';
import type { Failure } from './status.ts';

/** How messages name what a connection is for. */
export interface OutageWords {
  /** Begins what is said once it works again: `LaunchDarkly's stream`. */
  readonly what: string;
  /** What LaunchDarkly may reject: `the SDK key of environment "production"`. */
  readonly key: string;
  /** What happens meanwhile, as `still serving 12 flags`; undefined: nothing is known. */
  meanwhile(): string | undefined;
}

/** `since` and `wasTold` are of the whole outage, the rest is of its present cause. */
interface Outage {
  readonly name: string;
  readonly since: number;
  wasTold: boolean;
  toldAt: number | undefined;
  suppressed: number;
}

/** Of one outage with one cause; others are at level debug. */
const AGAIN_MS = 600_000;

/**
 * Log lines about one connection to LaunchDarkly: one when it fails or fails for another cause, one when it works again. The peer decides
 * how often that happens, so each kind of line is paced.
 */
export function createOutageLines({ what, key, meanwhile, log }: OutageWords & { readonly log: Log }) {
  const paced = createPacedLines();
  let outage: Outage | undefined;

  return {
    failed(failure: Failure, delayMs: number): void {
      const cause = causeOf(failure);
      const { kind, message: reason, statusCode } = failure;
      const next = [meanwhile(), `next attempt in ${durationText(delayMs)}`].filter(Boolean).join(', ');
      const text = `${failureText(cause, failure, key)}; ${next}`;
      const fields = { cause, kind, reason, statusCode, delayMs, runbook: runbookOf(cause) } as const;
      const now = performance.now();
      const name = `${cause} ${statusCode}`;
      if (outage?.name !== name) {
        outage = {
          name,
          since: outage?.since ?? now,
          wasTold: outage?.wasTold ?? false,
          toldAt: undefined,
          suppressed: 0,
        };
      }
      const present = outage;
      const write = ({ suppressed = 0 } = {}) => {
        const left = present.suppressed + suppressed;
        Object.assign(present, { wasTold: true, toldAt: now, suppressed: 0 });
        const more = left > 0 ? { suppressed: left } : {};
        log[cause === 'key' || cause === 'address' ? 'error' : 'warn'](text, { ...fields, ...more });
      };
      if (present.toldAt === undefined) {
        // Soon after an earlier one: the line is late, but not left out if this lasts.
        if (paced(name, write)) return;
      } else if (now - present.toldAt >= AGAIN_MS) {
        write();
        return;
      } else {
        present.suppressed += 1;
      }
      log.debug(text, fields);
    },
    /** What arrived could be used. */
    worked(): void {
      if (!outage) return;
      const { since, wasTold } = outage;
      const afterMs = Math.round(performance.now() - since);
      outage = undefined;
      if (wasTold) log.info(`${what} works again after ${durationText(afterMs)}`, { afterMs });
    },
    isFailing: () => outage !== undefined,
  };
}

function runbookOf(cause: ReturnType<typeof causeOf>) {
  if (cause === 'key') return 'operations.md#upstream-refused';
  return cause === 'memory' ? 'operations.md#memory' : 'operations.md#upstream-disconnected';
}
