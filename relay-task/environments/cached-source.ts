import type { Keeper, Log } from '../ports.ts';
import { createSeal } from './sealed.ts';

export interface RememberedOptions {
  readonly keeper: Keeper;
  /** What the sealing key is made of. */
  readonly secret: string;
  readonly log: Log;
  /** Between attempts while the store does not answer; 2 s at first, doubled up to 60 s. */
  readonly retryMs?: number;
}

export interface Remembered {
  /**
   * What was kept before this process, undefined when there is nothing that can be read. Asks until the store answers
   * or `close` is called. Never rejects.
   */
  recall(): Promise<string | undefined>;
  /** Keeps this instead, sealed, in the background; of several only the last. The same text is written once. */
  keep(text: string): void;
  /** Waits for a writing that is under way. */
  close(): Promise<void>;
}

const MAX_RETRY_MS = 60_000;

/** One text that is to outlive the process, sealed before it leaves. */
export function createRemembered({ keeper, secret, log, retryMs = 2_000 }: RememberedOptions): Remembered {
  const seal = createSeal(secret);
  let kept: string | undefined;
  let wanted: string | undefined;
  let writing: Promise<void> | undefined;
  let recalled: Promise<string | undefined> | undefined;
  let closed = false;
  const wakers = new Set<() => void>();

  /** Until `attempt` succeeds; undefined once closed. */
  async function untilDone<T>(what: string, attempt: () => Promise<T>): Promise<T | undefined> {
    for (let delayMs = retryMs; !closed; delayMs = Math.min(delayMs * 2, MAX_RETRY_MS)) {
      try {
        return await attempt();
      } catch (error) {
        log.warn(`the last good auto-configuration could not be ${what}, it will be tried again`, {
          reason: (error as Error).message,
          delayMs,
        });
        await pause(delayMs);
      }
    }
    return undefined;
  }

  function pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        wakers.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, ms);
      wakers.add(wake);
    });
  }

  async function recall(): Promise<string | undefined> {
    const bytes = await untilDone('read', () => keeper.read());
    if (bytes === undefined) return undefined;
    try {
      kept = await seal.open(bytes);
      return kept;
    } catch (error) {
      log.warn('the last good auto-configuration cannot be used', { reason: (error as Error).message });
      return undefined;
    }
  }

  async function write() {
    // Most tasks start with nothing new: what is kept already need not be written.
    await recalled;
    while (wanted !== undefined && wanted !== kept && !closed) {
      await untilDone('kept', async () => {
        const text = wanted!;
        await keeper.write(await seal.close(text));
        kept = text;
      });
    }
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
      closed = true;
      for (const wake of wakers) wake();
      await writing;
    },
  };
}
