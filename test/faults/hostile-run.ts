import { answered, forkTypeScript, stopChild } from './clients.ts';
import type { HostileOptions } from './hostile.ts';

export interface HostileRun extends HostileOptions {
  readonly port: number;
  readonly seed: string;
  readonly requests: number;
  /** No new ones are sent after so long; a slow machine sends fewer. */
  readonly mostMs: number;
  /** Connections at once. */
  readonly atOnce: number;
}

export interface HostileOutcome {
  requests: number;
  attacks: number;
  /** Answers by status. */
  statuses: Record<string, number>;
  /** Connections that the relay closed. */
  closed: number;
  /** Connections that it did not accept. */
  refused: number;
  kinds: Record<string, number>;
  /** Answers 500, by attack. */
  failures: Record<string, number>;
}

interface HostileSender {
  /** Rejects if the child ends before it has sent everything. */
  readonly finished: Promise<HostileOutcome>;
  /** Ends it, and resolves with what it has done. */
  stop(): Promise<HostileOutcome>;
  close(): Promise<void>;
}

export function startHostileRequests(run: HostileRun): HostileSender {
  const child = forkTypeScript('hostile-child.ts', [JSON.stringify(run)]);
  const finished = answered<HostileOutcome>(child);
  finished.catch(() => {});
  return {
    finished,
    async stop() {
      child.send('stop');
      const outcome = await finished;
      await stopChild(child);
      return outcome;
    },
    close: () => stopChild(child),
  };
}
