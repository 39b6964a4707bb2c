import { forgetOldest } from '../common/forget-oldest.ts';
import type { BigSegmentMetadata, BigSegmentOwnerOptions } from './big-segments.ts';
import { ownerProblem } from './big-segments-owner.ts';

/**
 * `current`: the store holds what was known before, or more. `outdated`: it is complete, but behind, like a restored backup
 * or a replica that was promoted. `incomplete`: it was never synchronised, or was emptied and is not full again,
 * or it is another environment's.
 */
type Standing = { readonly kind: 'current' } | { readonly kind: 'outdated' | 'incomplete'; readonly reason: string };

const CURRENT: Standing = { kind: 'current' };
/** The clocks of two relays that write the time of synchronisation may differ by so much. */
const CLOCKS_DIFFER_MS = 60_000;
const MAX_PASSED = 1_000;

/** Of the environment whose flags are evaluated, see `BigSegmentOwnerOptions`. */
export interface StandingsOptions extends Pick<BigSegmentOwnerOptions, 'environment' | 'adopts'> {
  /** What a store said that was current before these. */
  readonly before?: BigSegmentMetadata | undefined;
}

interface Standings {
  /** The newest metadata of a store that was current. */
  readonly newest: BigSegmentMetadata | undefined;
  /** Judges a store by what it says now, and by what it and the others said before. */
  judge(store: number, metadata: BigSegmentMetadata): Standing;
}

/**
 * Whether a store can be relied on. Cursors have no order, so it is known from three things: which cursors were left
 * behind, that a store without a cursor is empty, and that a relay writes the time of synchronisation only when the store
 * holds everything. A store with the members of another environment counts as incomplete.
 */
export function createStandings({ environment, adopts, before }: StandingsOptions = {}): Standings {
  let newest = before;
  /** Cursors before the newest, oldest first. */
  const passed = new Set<string>();
  /** Stores that are incomplete, with the time of synchronisation that they had then. */
  const incomplete = new Map<number, number>();

  function accept(metadata: BigSegmentMetadata): void {
    if (newest && newest.cursor !== metadata.cursor) passed.add(newest.cursor);
    passed.delete(metadata.cursor);
    forgetOldest(passed, MAX_PASSED);
    newest = metadata;
  }

  function isIncomplete(store: number, { cursor, synchronizedOn }: BigSegmentMetadata): boolean {
    if (synchronizedOn === undefined) return true;
    // ld-relay keeps writing the time of synchronisation into a store that was emptied, and refills it later.
    if (cursor === '' && newest !== undefined && newest.cursor !== '') return true;
    const since = incomplete.get(store);
    if (since === undefined) return false;
    // It was synchronised since, or has come back to where it was.
    return synchronizedOn <= since && (cursor === '' || cursor !== newest?.cursor);
  }

  return {
    get newest() {
      return newest;
    },
    judge(store, metadata) {
      const { cursor, synchronizedOn = 0 } = metadata;
      const reason = ownerProblem(metadata, environment?.(), adopts?.());
      if (reason) return { kind: 'incomplete', reason };
      if (isIncomplete(store, metadata)) {
        incomplete.set(store, Math.max(incomplete.get(store) ?? 0, synchronizedOn));
        return { kind: 'incomplete', reason: newest ? lostData(cursor, newest.cursor) : NEVER };
      }
      incomplete.delete(store);
      if (newest && cursor !== newest.cursor) {
        const { synchronizedOn: known = 0 } = newest;
        const returned = passed.has(cursor) && synchronizedOn <= known;
        if (returned || synchronizedOn < known - CLOCKS_DIFFER_MS) {
          return { kind: 'outdated', reason: `the store is at version "${cursor}" again, after "${newest.cursor}"` };
        }
      }
      accept(metadata);
      return CURRENT;
    },
  };
}

const NEVER = 'they were never synchronised into the store';

function lostData(cursor: string, known: string): string {
  return `the store lost its data: it is at version "${cursor}" after "${known}", and not complete yet`;
}
