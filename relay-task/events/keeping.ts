/** How one queue keeps its events in the spool. */
import type { Batch } from './parcel.ts';
import type { Kept } from './spool-index.ts';

export interface Keeping {
  /** Where they are now; undefined if the spool does not take them. */
  keep(batch: Pick<Batch, 'bytes' | 'events' | 'sender'>): readonly Kept[] | undefined;
  /** Resolves when it is on the disk that they are sent under this ID, or soon if that takes long. */
  assign(kept: readonly Kept[], id: string): Promise<void>;
  /** They were not accepted under the ID that they were sent under. */
  free(kept: readonly Kept[]): void;
  /** They were delivered or dropped. */
  settle(kept: readonly Kept[]): void;
  /** Another process has taken them over. */
  isTaken(kept: readonly Kept[] | undefined): boolean;
  /** At the end: resolves with what tells whether events stay in the spool for another process. */
  stays(): Promise<(kept: readonly Kept[] | undefined) => boolean>;
  /** So many events are for another process. */
  left(events: number): void;
}
