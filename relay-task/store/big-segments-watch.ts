import type { Log } from '../ports.ts';
import type { BigSegmentMetadata, BigSegmentStore, Membership } from './big-segments.ts';

type ReadStore = Pick<BigSegmentStore, 'metadata' | 'membership'>;

export interface BigSegmentWatchOptions {
  /** The first one is used; the others replace it while it fails. */
  readonly stores: readonly ReadStore[];
  readonly log: Log;
  /** Memberships may differ: another relay moved the cursor, or a store that failed answers again. Must not throw. */
  onChange?(): void;
  /** How often the metadata is read. Default 5 s. */
  readonly pollMs?: number;
  /** How long an evaluation waits for the store. Default 2 s. */
  readonly timeoutMs?: number;
  /** How often a failed store is tried again. Until it answers, evaluations do not wait for it. Default 1 s. */
  readonly retryMs?: number;
}

/** Reads the metadata at intervals, and knows whether a store can be read. */
export function createBigSegmentWatch(options: BigSegmentWatchOptions) {
  const { stores, log, pollMs = 5_000, timeoutMs = 2_000, retryMs = 1_000 } = options;
  /** The store that answered last. Metadata is always asked of the first one first. */
  let preferred = 0;
  let metadata: BigSegmentMetadata | undefined;
  let available: boolean | undefined;
  let first: Promise<void> | undefined;
  let timer: NodeJS.Timeout | undefined;
  let closed = false;

  async function ask<T>(from: number, question: (store: ReadStore) => Promise<T>): Promise<T> {
    let failure: unknown = new Error('there is no store of Big Segments');
    for (const store of [...stores.slice(from), ...stores.slice(0, from)]) {
      try {
        const answer = await within(timeoutMs, question(store));
        preferred = stores.indexOf(store);
        return answer;
      } catch (error) {
        failure = error;
      }
    }
    throw failure;
  }

  function report(error: Error | undefined): void {
    const before = available;
    available = error === undefined;
    if (error && before !== false) {
      log.warn('Big Segments cannot be read; using the last known memberships', { reason: error.message });
      if (first) schedule(retryMs);
    }
    if (error || before !== false || closed) return;
    log.info('Big Segments can be read again');
    // Meanwhile some evaluations had to do without memberships.
    options.onChange?.();
  }

  /** Returns whether the cursor moved. */
  async function readMetadata(): Promise<boolean> {
    try {
      const read = await ask(0, (store) => store.metadata());
      const moved = metadata !== undefined && metadata.cursor !== read.cursor;
      metadata = read;
      report(undefined);
      return moved;
    } catch (error) {
      report(error as Error);
      return false;
    }
  }

  async function poll(): Promise<void> {
    const moved = await readMetadata();
    if (closed) return;
    schedule(available ? pollMs : retryMs);
    if (moved) options.onChange?.();
  }

  function schedule(ms: number): void {
    clearTimeout(timer);
    if (closed) return;
    timer = setTimeout(() => void poll(), ms);
    timer.unref();
  }

  return {
    metadata: () => metadata,
    /** Undefined: not known yet. */
    available: () => available,
    /** Undefined: no store answers. After a failure none is asked until the metadata can be read again. */
    async readMembership(hash: string): Promise<Membership | null | undefined> {
      if (available === false) return undefined;
      try {
        return await ask(preferred, (store) => store.membership(hash));
      } catch (error) {
        report(error as Error);
        return undefined;
      }
    },
    readMetadata,
    /** Reads the metadata from now on, if it did not before. Resolves when it was read once. */
    async start(): Promise<void> {
      if (!closed) first ??= poll();
      await first;
    },
    close(): void {
      closed = true;
      clearTimeout(timer);
    },
  };
}

async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${ms} ms`)), ms);
  });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}
