import { createBackoff } from '../common/backoff.ts';
import { sleep } from '../common/pause.ts';
import { inSlices } from '../common/slices.ts';
import type { Keeper, Log } from '../ports.ts';
import { createSeal } from './sealed.ts';

interface RememberedOptions {
  readonly keeper: Keeper;
  /** The sealing key is derived from it. */
  readonly secret: string;
  /** For messages: `the last good auto-configuration`. */
  readonly what: string;
  readonly log: Log;
  /** The first delay between attempts while the store does not answer; 2 s, doubled up to 60 s. */
  readonly retryMs?: number;
  /** The time between two writes, so that many changes cost few writes; 1 s. */
  readonly pauseMs?: number;
}

const MAX_RETRY_MS = 60_000;

/** One text that outlives the process, sealed before it leaves it. */
export function createRemembered(options: RememberedOptions) {
  const { keeper, secret, what, log, retryMs = 2_000, pauseMs = 1_000 } = options;
  const seal = createSeal(secret);
  let kept: string | undefined;
  let wanted: (() => Generator<unknown, string>) | undefined;
  let written: typeof wanted;
  let writing: Promise<void> | undefined;
  let recalled: Promise<string | undefined> | undefined;
  const closing = new AbortController();

  /** Repeats `attempt` until it succeeds; undefined once closed. */
  async function untilDone<T>(verb: 'read' | 'store', attempt: () => Promise<T>): Promise<T | undefined> {
    const backoff = createBackoff({ firstMs: retryMs, maxMs: MAX_RETRY_MS });
    while (!closing.signal.aborted) {
      try {
        return await attempt();
      } catch (error) {
        const delayMs = backoff.next();
        const reason = (error as Error).message;
        log.warn(`Could not ${verb} ${what}; retrying`, { reason, delayMs, runbook: 'operations.md#store-down' });
        await sleep(delayMs, closing.signal);
      }
    }
    return undefined;
  }

  async function recall(): Promise<string | undefined> {
    const bytes = await untilDone('read', () => keeper.read());
    if (bytes === undefined) return undefined;
    try {
      kept = await seal.open(bytes);
      return kept;
    } catch (error) {
      log.warn(`Cannot use ${what}; waiting for the source itself`, {
        reason: (error as Error).message,
        runbook: 'operations.md#store-down',
      });
      return undefined;
    }
  }

  async function writeNewest(): Promise<void> {
    const make = wanted;
    if (make === undefined) return;
    const text = await inSlices(make());
    if (text !== kept) await keeper.write(await seal.close(text));
    kept = text;
    written = make;
  }

  async function write(): Promise<void> {
    // Most tasks start with nothing new, and what is stored already need not be written.
    const aborted = new Promise((resolve) => closing.signal.addEventListener('abort', resolve, { once: true }));
    await Promise.race([recalled, aborted]);
    while (wanted !== written && !closing.signal.aborted) {
      await untilDone('store', writeNewest);
      await sleep(pauseMs, closing.signal);
    }
  }

  return {
    /**
     * The text that an earlier process stored; undefined when there is none that can be read. Retries until the store
     * answers or `close` is called. Never rejects.
     */
    recall(): Promise<string | undefined> {
      recalled ??= recall();
      return recalled;
    },

    /**
     * Stores the text that this makes instead, sealed, in the background; only the last of several, and an equal text not again.
     * It is made in slices, when it is written.
     */
    keep(make: () => Generator<unknown, string>): void {
      // Another function each time, so that what changes during a write is written, too.
      wanted = () => make();
      writing ??= write().finally(() => {
        writing = undefined;
      });
    },

    /** Waits for a write in progress, and writes what is not written yet. */
    async close(): Promise<void> {
      closing.abort();
      await writing;
      if (written === undefined || wanted === written) return;
      await writeNewest().catch((error: Error) => {
        log.warn(`Could not store ${what}; the next start finds an earlier one`, {
          reason: error.message,
          runbook: 'operations.md#store-down',
        });
      });
    },
  };
}
