import type { Evaluator, Flag, Segment } from '../../lib/evaluation/index.ts';
import type { Item, Kind } from '../../lib/flag-table/index.ts';
import type { Budget } from '../common/budget.ts';
import { showJson } from '../common/json.ts';
import { createKept, type Kept } from '../common/kept.ts';
import { createReasonLines, createSkippedLines } from '../common/paced-lines.ts';
import { inSendingOrder } from '../common/prerequisites.ts';
import type {
  BigSegments,
  Change,
  ClientView,
  CredentialKind,
  FailedItem,
  ItemView,
  Log,
  RefusedPattern,
  UnreadableItem,
  UpstreamSink,
} from '../ports.ts';
import { type Affected, createCompiled } from './compiled.ts';
import type { FDv2 } from './fdv2.ts';
import { createMemory, type Outcome } from './memory.ts';
import { createStates } from './states.ts';
import { prepareStored, readStored } from './stored.ts';

interface EnvironmentOptions {
  readonly name: string;
  readonly log: Log;
  /** Called synchronously after each change of memory. Must not throw. */
  onChange(change: Change): void;
  /** Where memberships of Big Segments are looked up; without it, Big Segments are not configured. */
  readonly bigSegments?: BigSegments | undefined;
  /**
   * For the items of all environments. A change that finds none is skipped and named; a whole set is held even so, since it has a limit of its
   * own. Without it, there is no limit.
   */
  readonly room?: Budget | undefined;
  /**
   * Called with the keys of flags whose results may differ although no item changed, so that streams of evaluated flags evaluate
   * them again: by `bigSegmentsChanged`, and when a flag or segment that changed faster than it was compiled is. Must not throw.
   */
  onRefresh?(flagKeys: readonly string[]): void;
  /** Where the texts of answers to clients are kept; in a small memory of its own by default. */
  readonly kept?: Kept | undefined;
}

/** One environment in memory, which decides what readers get. */
export interface Environment extends ItemView, UpstreamSink {
  readonly name: string;
  /** Finds for items of a store what `boot` and `follow` need, with a yield after each and within large ones. */
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
  /** Of items that were compiled so far. */
  refusedPatterns(): readonly RefusedPattern[];
  /** Whose compilation or evaluation threw. */
  failedItems(): readonly FailedItem[];
  /** Compiled at first use, tombstones included. */
  flag(key: string): Flag | undefined;
  /** Compiled at first use, tombstones included. */
  segment(key: string): Segment | undefined;
  readonly evaluator: Evaluator;
  /** Compiled flags that the audience may see, without tombstones, sorted by key. */
  flags(audience: CredentialKind): readonly Flag[];
  readonly clientView: ClientView;
  affected(items: readonly { readonly kind: Kind; readonly key: string }[]): Affected;
  /** Whether a segment is a Big Segment. */
  readonly hasBigSegments: boolean;
  /** Memberships in Big Segments changed: calls `onRefresh`. */
  bigSegmentsChanged(): void;
  /** To be awaited before the first call of `digest` or `state`: all items are hashed, in slices. Undefined: they are. */
  hashed(): Promise<void> | undefined;
  /** A fingerprint of the live items, equal in every relay that holds the same; for ETags. */
  digest(scope: Kind | 'all'): string;
  /** FDv2's state: the fingerprint of everything; '' before there is data. */
  state(): string;
  /** The events for clients that speak FDv2. States are remembered from the first call of `state` or of `fdv2` on. */
  readonly fdv2: FDv2;
  /** Gives back the room of its items. Nothing may be delivered any more. */
  leave(): void;
}

/** Changes that cannot be read are remembered up to so many; a whole set has a limit of its own. */
const MOST_UNREADABLE = 10_000;

/** An environment without data. */
export function createEnvironment(options: EnvironmentOptions): Environment {
  const { name, log, onChange, bigSegments, onRefresh, room, kept = createKept() } = options;
  const tellNoRoom = createReasonLines((fields) =>
    log.error('No memory for a change of a flag or segment; keeping the previous version', {
      environment: name,
      ...fields,
    }),
  );
  const tellSkipped = createSkippedLines((skipped) =>
    log.warn('Skipped invalid items in the store', { environment: name, ...skipped }),
  );
  const memory = createMemory({
    room,
    onReplaced(item, before) {
      states.replaced(item, before);
      compiled.replaced(item);
    },
  });
  const compiled = createCompiled(memory, bigSegments, kept, {
    onRefused: (pattern, more) =>
      log.warn('A regular expression is invalid and never matches', {
        environment: name,
        ...pattern,
        ...(more > 0 && { more }),
      }),
    onFailed: (item) =>
      log.error('Could not evaluate an item for clients; they get it without a value', { environment: name, ...item }),
    onLate(items) {
      const { flagKeys } = compiled.affected(items);
      if (initialized && flagKeys.length > 0) onRefresh?.(flagKeys);
    },
  });
  const states = createStates({
    get initialized() {
      return initialized;
    },
    get: memory.get,
    items: memory.items,
  });
  let unreadable = new Map<string, UnreadableItem>();
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

  function skip(item: UnreadableItem): void {
    if (unreadable.size < MOST_UNREADABLE || unreadable.has(nameOf(item))) unreadable.set(nameOf(item), item);
  }

  /** Applies a newer item, if there is room for it; undefined if not, or if it is not newer. */
  function apply(item: Item): Outcome | undefined {
    const outcome = memory.upsert(item);
    if (outcome !== 'no-room') return outcome;
    const reason = `the flags and segments of all environments take more than ${room?.maxBytes} bytes: give the relay more memory, or send less`;
    tellNoRoom(reason);
    skip({ kind: item.kind, key: item.key, reason });
    return undefined;
  }

  /** Without those that are invalid, which are noted. */
  function readableOf(items: readonly Item[]): Item[] {
    const readable: Item[] = [];
    const problems: string[] = [];
    for (const item of items) {
      const read = readStored(item);
      if ('json' in read) {
        readable.push(read);
        continue;
      }
      const { kind, key } = item;
      const { reason } = read;
      if (unreadable.get(nameOf(item))?.reason !== reason) problems.push(`${kind} ${showJson(key)}: ${reason}`);
      skip({ kind, key, reason });
    }
    tellSkipped(problems);
    return readable;
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
        memory.replace(readableOf(items), () => false),
        receivedAt,
      );
      return true;
    },

    follow(items) {
      if (!initialized) return 0;
      const receivedAt = performance.now();
      const newer = readableOf(items.filter(isNewer)).flatMap((item) => apply(item)?.items ?? []);
      for (const item of newer) unreadable.delete(nameOf(item));
      announce({ items: inSendingOrder(newer, memory.get), whole: false }, receivedAt);
      return newer.length;
    },

    put(items, skipped, receivedAt, keeping = 'unreadable') {
      unreadable = new Map(skipped.map((item) => [nameOf(item), item]));
      const isKept = (kind: Kind, key: string) => keeping === 'unreadable' && unreadable.has(nameOf({ kind, key }));
      const outcome = compiled.replacingAll(() => memory.replace(items, isKept));
      announce(outcome, receivedAt);
    },

    upsert(item, receivedAt) {
      // One item alone would look like the whole set, which follows and contains this item.
      if (!initialized) return;
      const outcome = apply(item);
      if (outcome === undefined) return;
      unreadable.delete(nameOf(item));
      announce(outcome, receivedAt);
    },

    skip,

    unreadable: () => [...unreadable.values()],
    refusedPatterns: compiled.refusedPatterns,
    failedItems: compiled.failedItems,
    flag: compiled.flag,
    segment: compiled.segment,
    evaluator: compiled.evaluator,
    flags: compiled.flags,
    clientView: compiled.clientView,
    affected: compiled.affected,
    get hasBigSegments() {
      return compiled.hasBigSegments;
    },
    bigSegmentsChanged() {
      const tell = () => {
        const flagKeys = compiled.usersOfBigSegments();
        if (initialized && flagKeys.size > 0) onRefresh?.([...flagKeys]);
      };
      const compiling = compiled.clientView.compile();
      if (compiling) void compiling.then(tell);
      else tell();
    },
    hashed: states.hashed,
    digest: states.digest,
    state: states.state,
    fdv2: states.fdv2,
    leave: memory.leave,
  };
}

const nameOf = ({ kind, key }: { kind: Kind; key: string }) => `${kind}/${key}`;
