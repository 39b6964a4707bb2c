/**
 * What a store of Big Segments keeps: which contexts, by hash, each Big Segment includes and excludes; how far it has
 * followed LaunchDarkly (the cursor); and when it was last known to be in step.
 */
import { createHash } from 'node:crypto';
import type { Measures } from '../common/measures.ts';
import { inSlices } from '../common/slices.ts';
import type { BigSegmentPatch } from '../ports.ts';

/**
 * `applied`: this relay brought the store to where the patch leads. `already-applied`: it was there. `out-of-order`: the
 * cursor is elsewhere, or another relay came in between; LaunchDarkly has to be asked again.
 */
export type PatchOutcome = 'applied' | 'already-applied' | 'out-of-order';

export interface BigSegmentMetadata {
  /** The version of the last patch; '' when there was none. */
  readonly cursor: string;
  /** Unix ms; undefined: never. */
  readonly synchronizedOn: number | undefined;
  /** Hashes that are in more segments than the database can keep of one context; `EVERY_HASH`: too many to name. */
  readonly incomplete?: readonly string[];
  /** LaunchDarkly's ID of the environment whose members these are; undefined: not known. */
  readonly environment?: string;
  /** Members of an earlier environment are being deleted. */
  readonly emptying?: true;
}

export const EVERY_HASH = '*';

/** Segment reference to whether the context is included (true) or excluded (false). */
export type Membership = Readonly<Record<string, boolean>>;

/** What a store holds about some hashes. */
export interface BigSegmentReading {
  /** In the order of the hashes; null when nothing is known about one. */
  readonly memberships: readonly (Membership | null)[];
  /** Read at the same moment, so that a reader notices a store that was emptied. */
  readonly metadata: BigSegmentMetadata;
}

/** With the metadata, as many items as one request to DynamoDB may ask for. */
export const MAX_READ = 99;

/** Of every store. */
export interface BigSegmentOwnerOptions {
  /** LaunchDarkly's ID of the environment whose Big Segments this relay writes; undefined: not known. Default: never. */
  environment?(): string | undefined;
  /** Whether members that name no environment count as this one's. Default: always. */
  adopts?(): boolean;
  /** The name of the environment in metrics; '' by default. */
  readonly env?: string | undefined;
  /** For tests: how long members of another environment must be left alone before they are deleted. Default 60 s. */
  readonly quietMs?: number | undefined;
}

/** One environment's Big Segments in a database. Everything but `close` rejects, in time, when that fails. */
export interface BigSegmentStore {
  /** As of now, not of a replica. */
  metadata(): Promise<BigSegmentMetadata>;
  /**
   * To be called before patches are fetched. Resolves when the members are those of this relay's environment, as far as that is
   * known. Rejects while they are another's; these are deleted once no relay has kept them in step for a minute.
   */
  own(): Promise<void>;
  /**
   * Where one relay writes for all, waits for it as long as it is seen to write. A patch that was cut short may be applied
   * again by any relay, with the same result. While the members are another environment's, every patch is out of order.
   */
  apply(patch: BigSegmentPatch): Promise<PatchOutcome>;
  /** Rejects while the members are another environment's. */
  setSynchronizedOn(unixMs: number): Promise<void>;
  /** At most `MAX_READ` hashes. */
  read(hashes: readonly string[]): Promise<BigSegmentReading>;
  close(): Promise<void>;
}

/** Under this hash stores know a context: `base64(sha256(key))`, padded. Its key only, whatever its kind. */
export function hashOf(contextKey: string): string {
  return createHash('sha256').update(contextKey).digest('base64');
}

/** What a patch does to one hash. */
export interface HashChange {
  readonly hash: string;
  readonly included?: 'add' | 'remove';
  readonly excluded?: 'add' | 'remove';
}

/** So many hashes are grouped in one turn of the event loop, and make one part of a patch. */
export const HASHES_AT_ONCE = 1_024;

/**
 * A patch by hash: a context that is both added to and removed from one list is removed, as in ld-relay, which adds first.
 * In groups, and with pauses, so that a patch with a million members does not block the event loop.
 */
export async function* changesByHash(
  patch: BigSegmentPatch,
  hashesAtOnce = HASHES_AT_ONCE,
): AsyncGenerator<readonly HashChange[]> {
  const parts = await inSlices(partition(listsOf(patch), groupCount(patch, hashesAtOnce)));
  for (const [addIn = [], removeIn = [], addEx = [], removeEx = []] of parts) {
    yield grouped([
      ['included', 'add', addIn],
      ['included', 'remove', removeIn],
      ['excluded', 'add', addEx],
      ['excluded', 'remove', removeEx],
    ]);
  }
}

/** How many groups there are. */
export function groupCount(patch: BigSegmentPatch, hashesAtOnce = HASHES_AT_ONCE): number {
  const members = listsOf(patch).reduce((sum, list) => sum + list.length, 0);
  return Math.ceil(members / hashesAtOnce);
}

function listsOf({ included, excluded }: BigSegmentPatch) {
  return [included.add, included.remove, excluded.add, excluded.remove] as const;
}

/**
 * Each list in as many parts. A hash is in the same part of every list. Relays continue each other's patches part by part,
 * so that other releases must divide a patch in the same way, or into another number of parts.
 */
function* partition(lists: readonly (readonly string[])[], count: number): Generator<void, readonly string[][][]> {
  if (count <= 1) return [lists.map((list) => [...list])].slice(0, count);
  const parts = Array.from({ length: count }, () => lists.map((): string[] => []));
  let steps = 0;
  for (const [index, list] of lists.entries()) {
    for (const hash of list) {
      parts[partOf(hash, count)]?.[index]?.push(hash);
      if (++steps % HASHES_AT_ONCE === 0) yield;
    }
  }
  return parts;
}

function partOf(hash: string, count: number): number {
  let sum = 0;
  for (let at = 0; at < hash.length; at++) sum = (sum * 31 + hash.charCodeAt(at)) | 0;
  return Math.abs(sum) % count;
}

type Changes = readonly (readonly ['included' | 'excluded', 'add' | 'remove', readonly string[]])[];

function grouped(lists: Changes): HashChange[] {
  const changes = new Map<string, HashChange>();
  for (const [list, change, hashes] of lists) {
    for (const hash of hashes) changes.set(hash, { ...changes.get(hash), hash, [list]: change });
  }
  return [...changes.values()];
}

/** Included wins over excluded. Without a prototype: a segment may have any key. */
export function membershipOf(included: Iterable<string>, excluded: Iterable<string>): Membership | null {
  const membership: Record<string, boolean> = Object.create(null);
  for (const ref of excluded) membership[ref] = false;
  for (const ref of included) membership[ref] = true;
  return Object.keys(membership).length > 0 ? membership : null;
}

/** Counts patches by what became of them. */
export function countingPatches(
  store: BigSegmentStore,
  measures: Measures | undefined,
  labels: { readonly env: string; readonly database: 'dynamodb' | 'redis'; readonly prefix: string },
): BigSegmentStore {
  if (!measures) return store;
  const patches = measures.counter('big_segments_patches_total');
  return {
    ...store,
    async apply(patch) {
      let outcome: PatchOutcome | 'failed' = 'failed';
      try {
        outcome = await store.apply(patch);
        return outcome;
      } finally {
        patches.inc({ ...labels, outcome });
      }
    },
  };
}
