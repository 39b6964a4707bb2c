import type { Budget } from '../common/budget.ts';
import type { Measures } from '../common/measures.ts';
import { RelayError } from '../errors.ts';
import type { ItemView, Store, StoredSet, StoreStatus } from '../ports.ts';
import type { Engine } from './engine.ts';
import type { StepOptions } from './engine-steps.ts';

/** What every store needs to know about its environment. */
export interface EngineStoreOptions extends Pick<StepOptions, 'source' | 'checkedNow' | 'onWritten' | 'log'> {
  /** No two environments may share one in a database. */
  readonly prefix: string;
  /** The environment's memory, which the database follows. */
  readonly view: ItemView;
  /** `auto`: writes while it may. `never`: only reads, as relays outside the flag table's home region must. */
  readonly writer: 'auto' | 'never';
  readonly measures?: Measures | undefined;
  /** The name of the environment in metrics; '' by default. */
  readonly env?: string | undefined;
  /** For what is read, of all stores that share it. Default: one for this store. */
  readonly readMemory?: Budget | undefined;
}

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
