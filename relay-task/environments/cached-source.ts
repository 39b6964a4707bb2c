import { createBackoff } from '../common/backoff.ts';
import { sleep } from '../common/pause.ts';
import type { Keeper, Log } from '../ports.ts';
import { createSeal } from './sealed.ts';

export interface RememberedOptions {
  readonly keeper: Keeper;
  /** The sealing key is derived from it. */
  readonly secret: string;
  readonly log: Log;
  /** The first delay between attempts while the store does not answer; 2 s, doubled up to 60 s. */
  readonly retryMs?: number;
}

export interface Remembered {
  /**
   * The text that an earlier process stored; undefined when there is none that can be read. Retries until the store
   * answers or `close` is called. Never rejects.
   */
  recall(): Promise<string | undefined>;
  /** Stores this text instead, sealed, in the background; only the last of several, and an equal text not again. */
  keep(text: string): void;
  /** Waits for a write in progress. */
  close(): Promise<void>;
}

const MAX_RETRY_MS = 60_000;

/** One text that outlives the process, sealed before it leaves it. */
export function createRemembered({ keeper, secret, log, retryMs = 2_000 }: RememberedOptions): Remembered {
  const seal = createSeal(secret);
  let kept: string | undefined;
  let wanted: string | undefined;
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
        log.warn(`Could not ${verb} the last good auto-configuration; retrying`, { reason, delayMs });
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
      log.warn('Cannot use the last good auto-configuration', { reason: (error as Error).message });
      return undefined;
    }
  }

  async function writeNewest(): Promise<void> {
    const text = wanted;
    if (text === undefined) return;
    await keeper.write(await seal.close(text));
    kept = text;
  }

  async function write(): Promise<void> {
    // Most tasks start with nothing new, and what is stored already need not be written.
    await recalled;
    while (wanted !== kept && !closing.signal.aborted) await untilDone('store', writeNewest);
  }

  return {
    recall() {
      recalled ??= recall();
      return recalled;
    },

    keep(text) {
      wanted = text;
      writing ??= write().finally(() => {
        writing = undefined;
      });
    },

    async close() {
      closing.abort();
      await writing;
    },
  };
}
