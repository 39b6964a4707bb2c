import { errorText } from '../common/error-text.ts';
import { sleep } from '../common/pause.ts';
import type { Log } from '../ports.ts';
import { FailureError } from './download.ts';
import { createOutageLines } from './outage-lines.ts';
import { createRetries, type RetryOptions } from './retries.ts';
import type { Failure } from './status.ts';

interface RetryLoopOptions extends RetryOptions {
  work(): Promise<void>;
  /** False: it pauses before the next round. */
  hasWork(): boolean;
  /** Called when `work` fails. */
  onFailure(failure: Failure): 'retry-now' | 'back-off';
  readonly idleMs: number;
  readonly log: Log;
  /** Aborted: the loop ends after the current round. */
  readonly signal: AbortSignal;
}

/** Repeats `work`: after a pause while idle, after a backoff when it failed. */
export function createRetryLoop(options: RetryLoopOptions) {
  const { work, hasWork, log, signal } = options;
  const retries = createRetries(options);
  const outage = createOutageLines({
    what: 'Synchronization of Big Segments',
    key: 'the SDK key for Big Segments',
    meanwhile: () => 'keeping what the store has of Big Segments',
    log,
  });
  let running: Promise<void> | undefined;
  let present: { readonly reason: 'idle' | 'failure'; readonly controller: AbortController } | undefined;

  async function pause(ms: number, reason: 'idle' | 'failure'): Promise<void> {
    const controller = new AbortController();
    present = { reason, controller };
    await sleep(ms, controller.signal);
    present = undefined;
  }

  /** Has no effect on a later pause. */
  function end(reason: 'idle' | 'failure'): void {
    if (present?.reason === reason) present.controller.abort();
  }

  async function run(): Promise<void> {
    while (!signal.aborted) {
      try {
        await work();
        outage.worked();
        retries.succeeded();
        if (!hasWork()) await pause(options.idleMs, 'idle');
      } catch (error) {
        if (!signal.aborted) await recover(failureOf(error));
      }
    }
  }

  async function recover(failure: Failure): Promise<void> {
    if (options.onFailure(failure) === 'retry-now') return;
    const delayMs = retries.pauseMs(failure);
    outage.failed(failure, delayMs);
    await pause(delayMs, 'failure');
  }

  return {
    /** Idempotent. */
    start(): void {
      if (!signal.aborted) running ??= run();
    },
    /** Ends an idle pause, but no backoff. */
    wake: () => end('idle'),
    /** Ends any pause. */
    retryNow(): void {
      retries.admitted();
      end('idle');
      end('failure');
    },
    /** Call this after aborting the signal. */
    async ended(): Promise<void> {
      end('idle');
      end('failure');
      await running;
    },
  };
}

function failureOf(error: unknown): Failure {
  if (error instanceof FailureError) return error.failure;
  return { kind: 'STORE_ERROR', message: errorText(error) };
}
