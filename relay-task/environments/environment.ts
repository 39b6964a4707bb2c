import type { Item } from '../../lib/flag-table/index.ts';
import type { Budget } from '../common/budget.ts';
import { createKept, type Kept } from '../common/kept.ts';
import { inSendingOrder } from '../common/prerequisites.ts';
import type { BigSegments, Change, ItemView, Log, UnreadableItem, UpstreamSink } from '../ports.ts';
import { createCompiled, type Readable } from './compiled.ts';
import { createEnvironmentLines } from './environment-lines.ts';
import { createMemory, type Outcome } from './memory.ts';
import { createStates, type States } from './states.ts';
import { prepareStored } from './stored.ts';
import { createUnreadableItems } from './unreadable-items.ts';

interface EnvironmentOptions {
  readonly name: string;
  readonly log: Log;
  /** Called synchronously after each change of memory. Must not throw. */
  onChange(change: Change): void;
  /** Where memberships of Big Segments are looked up; without it, Big Segments are not configured. */
  readonly bigSegments?: BigSegments | undefined;
  /**
   * Memory for the items of all environments. A change that does not fit is skipped and logged. A whole set is always held, since it has a
   * limit of its own. Default: no limit.
   */
  readonly room?: Budget | undefined;
  /**
   * Called with the keys of flags whose results may differ although no item changed, so that streams of evaluated flags evaluate
   * them again: by `bigSegmentsChanged`, and when a flag or segment is compiled that changed faster than it was. Must not throw.
   */
  onRefresh?(flagKeys: readonly string[]): void;
  /** The cache for the texts of answers to clients; by default a small one of its own. */
  readonly kept?: Kept | undefined;
}

/** One environment in memory, which decides what readers get. */
export interface Environment
  extends ItemView,
    UpstreamSink,
    Readable,
    Pick<States, 'digest' | 'fdv2' | 'hashed' | 'state'> {
  readonly name: string;
  /** Does for items of a store what `boot` and `follow` would have to do at once; yields after each and within large ones. */
  prepare(items: readonly Item[]): Generator<void, void>;
  /**
   * Items of a store, served until upstream delivers. Ignored (returns false) once there is data. Invalid items are left
   * out and named in `unreadable`; incomplete ones are completed.
   */
  boot(items: readonly Item[]): boolean;
  /**
   * `keeping`: the items that stay although the set does not contain them, by default those that are in it but could not be
   * read; none if what is held may be another environment's.
   */
  put(
    items: readonly Item[],
    unreadable: readonly UnreadableItem[],
    receivedAt: number,
    keeping?: 'unreadable' | 'none',
  ): void;
  /**
   * Items of a store that are newer than those in memory; what the store lacks stays. Returns how many were. Otherwise as
   * `boot`.
   */
  follow(items: readonly Item[]): number;
  /** Items that were invalid when they last arrived. */
  unreadable(): readonly UnreadableItem[];
  /** Whether a segment is a Big Segment. */
  readonly hasBigSegments: boolean;
  /** Gives back the room of its items. Nothing may be delivered any more. */
  leave(): void;
}

/** An environment without data. */
export function createEnvironment(options: EnvironmentOptions): Environment {
  const { name, log, onChange, bigSegments, onRefresh, room, kept = createKept() } = options;
  const lines = createEnvironmentLines(name, log);
  const unreadable = createUnreadableItems(lines.onSkipped);
  const memory = createMemory({
    room,
    onReplaced(item, before) {
      states.replaced(item, before);
      compiled.replaced(item);
    },
    onNoRoom({ kind, key }) {
      const reason = `the flags and segments of all environments take more than ${room?.maxBytes} bytes: give the relay more memory, or send less`;
      lines.onNoRoom(reason);
      unreadable.add({ kind, key, reason });
    },
  });
  const compiled = createCompiled(memory, bigSegments, kept, {
    ...lines,
    onRefresh(flagKeys) {
      if (initialized && flagKeys.length > 0) onRefresh?.(flagKeys);
    },
  });
  const states = createStates(memory, () => initialized);
  let initialized = false;
  let generation = 0;

  function announce({ items, whole }: Outcome, receivedAt: number) {
    const first = !initialized;
    if (!first && items.length === 0) return;
    initialized = true;
    generation += 1;
    const kind = first || whole ? 'put' : 'patch';
    states.changed(kind, items);
    onChange({ generation, kind, items, receivedAt });
  }

  const isNewer = ({ kind, key, version }: Item) => version > (memory.get(kind, key)?.version ?? -1);

  return {
    name,
    get initialized() {
      return initialized;
    },
    get generation() {
      return generation;
    },
    get: memory.get,
    items: memory.items,

    *prepare(items) {
      for (const item of items) {
        if (!initialized || isNewer(item)) yield* prepareStored(item);
        yield;
      }
    },

    boot(items) {
      if (initialized) return false;
      const receivedAt = performance.now();
      announce(
        memory.replace(unreadable.readable(items), () => false),
        receivedAt,
      );
      return true;
    },

    follow(items) {
      if (!initialized) return 0;
      const receivedAt = performance.now();
      const newer = unreadable.readable(items.filter(isNewer)).flatMap((item) => memory.upsert(item)?.items ?? []);
      for (const item of newer) unreadable.delete(item);
      announce({ items: inSendingOrder(newer, memory.get), whole: false }, receivedAt);
      return newer.length;
    },

    put(items, skipped, receivedAt, keeping = 'unreadable') {
      unreadable.replace(skipped);
      const isKept = keeping === 'unreadable' ? unreadable.has : () => false;
      const outcome = compiled.replacingAll(() => memory.replace(items, isKept));
      announce(outcome, receivedAt);
    },

    upsert(item, receivedAt) {
      // One item alone would look like the whole set, which follows and contains this item.
      if (!initialized) return;
      const outcome = memory.upsert(item);
      if (outcome === undefined) return;
      unreadable.delete(item);
      announce(outcome, receivedAt);
    },

    skip: unreadable.add,
    unreadable: unreadable.list,
    ...compiled.readable,
    get hasBigSegments() {
      return compiled.hasBigSegments();
    },
    hashed: states.hashed,
    digest: states.digest,
    state: states.state,
    fdv2: states.fdv2,
    leave: memory.leave,
  };
}
