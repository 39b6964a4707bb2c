import { RelayError } from '../errors.ts';
import type { Store, StoredSet, StoreStatus } from '../ports.ts';
import type { Engine } from './engine.ts';

/** A store on an engine: what the flag table and the replicas have in common. */
export function createEngineStore(options: {
  readonly engine: Engine;
  /** For errors: which database. */
  readonly place: string;
  describe(error: unknown): string;
  readItems(): Promise<StoredSet | undefined>;
  readStamp(): Promise<string | undefined>;
  /** A reading went well (undefined) or failed. */
  onRead(error: unknown): void;
  setEligible(eligible: boolean): void;
  status(): StoreStatus;
  close(): Promise<void>;
}): Store {
  const { engine, setEligible } = options;
  let closing: Promise<void> | undefined;

  /** A stamp that can be read does not mean that the set can. */
  async function reading<T>(read: () => Promise<T>, isWhole: boolean): Promise<T> {
    try {
      const found = await read();
      if (isWhole) options.onRead(undefined);
      return found;
    } catch (error) {
      options.onRead(error);
      throw new RelayError('STORE_UNAVAILABLE', `${options.place}: ${options.describe(error)}`, { cause: error });
    }
  }

  return {
    read: () => reading(options.readItems, true),
    stamp: () => reading(options.readStamp, false),
    notify: engine.notify,
    setEligible,
    status() {
      const oversized = engine.oversized();
      return { ...options.status(), ...(oversized.length > 0 && { oversized }) };
    },
    flush: engine.flush,
    close() {
      closing ??= options.close();
      return closing;
    },
  };
}
