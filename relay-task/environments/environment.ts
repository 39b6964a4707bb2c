import {
  compileFlag,
  compileSegment,
  createEvaluator,
  describeFlagProblem,
  describeSegmentProblem,
  type Evaluator,
  type EvaluatorOptions,
  type Flag,
  type Segment,
  sha1Bucket,
} from '../../lib/evaluation/index.ts';
import type { Item, Kind } from '../../lib/flag-table/index.ts';
import type { Change, ItemView, Log, UnreadableItem, UpstreamSink } from '../ports.ts';
import { digestOf } from './digest.ts';
import { createMemory, type Outcome } from './memory.ts';

export interface EnvironmentOptions {
  readonly name: string;
  readonly log: Log;
  /** Called synchronously after memory changed. Must not throw. */
  onChange(change: Change): void;
  /** Where memberships of Big Segments are looked up; without it they are not configured. */
  readonly bigSegments?: EvaluatorOptions['bigSegments'];
}

/** One environment in memory, which is the authority over what readers get. */
export interface Environment extends ItemView, UpstreamSink {
  readonly name: string;
  /** Whether upstream has delivered a whole set; data of a store is served before, too. */
  readonly confirmed: boolean;
  /**
   * Items of a store, to be served until upstream delivers. Ignored, with false, once there is data. Items that cannot
   * be understood are left out and named in `unreadable`.
   */
  boot(items: readonly Item[]): boolean;
  /** Items that could not be understood when they last arrived. */
  unreadable(): readonly UnreadableItem[];
  /** Compiled at first use, tombstones included. */
  flag(key: string): Flag | undefined;
  /** Compiled at first use, tombstones included. */
  segment(key: string): Segment | undefined;
  readonly evaluator: Evaluator;
  /** A fingerprint of the live items, equal in every relay that holds the same; for ETags. */
  digest(scope: Kind | 'all'): string;
}

/** An environment without data. */
export function createEnvironment({ name, log, onChange, bigSegments }: EnvironmentOptions): Environment {
  const flags = new Map<string, Flag>();
  const segments = new Map<string, Segment>();
  const digests = new Map<Kind | 'all', string>();
  const memory = createMemory({
    onReplaced(kind, key) {
      (kind === 'features' ? flags : segments).delete(key);
      digests.clear();
    },
  });
  let unreadable = new Map<string, UnreadableItem>();
  let initialized = false;
  let confirmed = false;
  let generation = 0;
  let evaluator: Evaluator | undefined;

  function announce({ items, whole }: Outcome, receivedAt: number) {
    const first = !initialized;
    if (!first && items.length === 0) return;
    initialized = true;
    generation += 1;
    onChange({ generation, kind: first || whole ? 'put' : 'patch', items, receivedAt });
  }

  function compiled<T>(cache: Map<string, T>, kind: Kind, key: string, compile: (data: unknown) => T): T | undefined {
    const held = cache.get(key);
    if (held !== undefined) return held;
    const item = memory.get(kind, key);
    if (item === undefined) return undefined;
    const made = compile(JSON.parse(item.json));
    cache.set(key, made);
    return made;
  }

  const flag = (key: string) => flags.get(key) ?? compiled(flags, 'features', key, compileFlag);
  const segment = (key: string) => segments.get(key) ?? compiled(segments, 'segments', key, compileSegment);

  return {
    name,
    get initialized() {
      return initialized;
    },
    get confirmed() {
      return confirmed;
    },
    get generation() {
      return generation;
    },
    get: memory.get,
    items: memory.items,

    boot(items) {
      if (initialized) return false;
      const receivedAt = performance.now();
      const readable = items.filter((item) => {
        const reason = describeStoredProblem(item);
        if (reason === undefined) return true;
        const { kind, key } = item;
        unreadable.set(nameOf(item), { kind, key, reason });
        log.warn('an item of the store could not be understood and was skipped', {
          environment: name,
          kind,
          key,
          reason,
        });
        return false;
      });
      announce(
        memory.replace(readable, () => false),
        receivedAt,
      );
      return true;
    },

    put(items, skipped, receivedAt) {
      unreadable = new Map(skipped.map((item) => [nameOf(item), item]));
      const outcome = memory.replace(items, (kind, key) => unreadable.has(nameOf({ kind, key })));
      confirmed = true;
      announce(outcome, receivedAt);
    },

    upsert(item, receivedAt) {
      // A whole set follows and holds this item, too; one item alone would pass for all there is.
      if (!initialized) return;
      const outcome = memory.upsert(item);
      if (outcome === undefined) return;
      unreadable.delete(nameOf(item));
      announce(outcome, receivedAt);
    },

    skip(item) {
      unreadable.set(nameOf(item), item);
    },

    unreadable: () => [...unreadable.values()],
    flag,
    segment,
    get evaluator() {
      evaluator ??= createEvaluator({ flag, segment, bucket: sha1Bucket, ...(bigSegments && { bigSegments }) });
      return evaluator;
    },

    digest(scope) {
      let digest = digests.get(scope);
      if (digest === undefined) {
        digest = digestOf(scope === 'all' ? bothKinds(memory.items) : memory.items(scope));
        digests.set(scope, digest);
      }
      return digest;
    },
  };
}

function* bothKinds(items: (kind: Kind) => Iterable<Item>): Iterable<Item> {
  yield* items('features');
  yield* items('segments');
}

const nameOf = ({ kind, key }: { kind: Kind; key: string }) => `${kind}/${key}`;

/** Stores are written by others as well, so that their items are distrusted like upstream's. */
function describeStoredProblem({ kind, key, version, deleted, json }: Item): string | undefined {
  let data: unknown;
  try {
    data = JSON.parse(json);
  } catch {
    return 'is not JSON';
  }
  if (!Number.isSafeInteger(version)) return `version must be a whole number, not ${version}`;
  if (deleted) return undefined;
  const { key: ownKey } = (data ?? {}) as { key?: unknown };
  if (ownKey !== key) return `key must be ${JSON.stringify(key)} as in the table, not ${JSON.stringify(ownKey)}`;
  return kind === 'features' ? describeFlagProblem(data) : describeSegmentProblem(data);
}
