/** Says of which environments no heartbeat has arrived for long: without them nothing tells how long changes take. */
import type { Log } from '../ports.ts';

/** An environment that should have heartbeats. */
export interface Expected {
  readonly environment: string;
  readonly flag: string;
}

interface OverdueOptions {
  expected(): Iterable<Expected>;
  /** How long heartbeats may stay away. */
  readonly limitMs: number;
  /** Whether an environment's are overdue; undefined: none are expected any more. */
  tell(environment: string, isOverdue: boolean | undefined): void;
  readonly log: Log;
  readonly timings?: OverdueTimings | undefined;
}

export interface OverdueTimings {
  /** Between looks; 10 s. */
  readonly lookMs?: number;
  /** Monotonic ms. */
  monotonic?(): number;
}

interface Followed {
  readonly flag: string;
  /** Monotonic ms of the last heartbeat, or when the flag was first expected. */
  since: number;
  isOverdue: boolean;
}

const LOOK_MS = 10_000;

export function startOverdue({ expected, limitMs, tell, log, timings = {} }: OverdueOptions) {
  const { lookMs = LOOK_MS, monotonic = () => performance.now() } = timings;
  const followed = new Map<string, Followed>();

  function change(environment: string, one: Followed, isOverdue: boolean): void {
    one.isOverdue = isOverdue;
    tell(environment, isOverdue);
    const fields = { environment, flag: one.flag };
    if (isOverdue) {
      log.warn('Heartbeats do not arrive; the way from LaunchDarkly is not measured meanwhile', {
        ...fields,
        overSeconds: Math.round(limitMs / 1_000),
        runbook: 'operations.md#heartbeats-overdue',
      });
    } else log.info('Heartbeats arrive again', fields);
  }

  function look(): void {
    const left = new Set(followed.keys());
    for (const { environment, flag } of expected()) {
      left.delete(environment);
      const one = followed.get(environment);
      if (one?.flag !== flag) {
        followed.set(environment, { flag, since: monotonic(), isOverdue: false });
        tell(environment, false);
      } else if (!one.isOverdue && monotonic() - one.since > limitMs) change(environment, one, true);
    }
    for (const environment of left) {
      followed.delete(environment);
      tell(environment, undefined);
    }
  }

  look();
  const timer = setInterval(look, lookMs);
  timer.unref();
  return {
    arrived(environment: string): void {
      const one = followed.get(environment);
      if (!one) return;
      one.since = monotonic();
      if (one.isOverdue) change(environment, one, false);
    },
    close: () => clearInterval(timer),
  };
}
