import type { BigSegmentPatch, Log } from '../ports.ts';
import type { BigSegmentInbox } from './big-segments-inbox.ts';
import { FailureError } from './download.ts';
import { type Failure, invalidData } from './status.ts';

/** The store of Big Segments. Calls reject when they fail or time out. */
export interface BigSegmentTarget {
  /** Rejects while the members are another environment's; they may be deleted first. */
  own(): Promise<void>;
  /** The version of the last patch; '' before the first. */
  metadata(): Promise<{ readonly cursor: string }>;
  /**
   * `applied`: the store is at the patch's version now; `already-applied`: it was, maybe because another relay brought it
   * there meanwhile.
   */
  apply(patch: BigSegmentPatch): Promise<'applied' | 'already-applied' | 'out-of-order'>;
  setSynchronizedOn(unixMs: number): Promise<void>;
}

interface PatchApplierOptions {
  readonly store: BigSegmentTarget;
  readonly inbox: BigSegmentInbox;
  readonly log: Log;
  readonly askGapMs: number;
  readonly askMs: number;
  /** Aborted: applies nothing more. */
  readonly signal: AbortSignal;
  /** Fetches the patches after a cursor ('' for all). */
  poll(cursor: string): Promise<BigSegmentPatch[]>;
  /** The store's content changed. `confirm`: no other relay is known to write the synchronization time after it. */
  onChanged(change: { readonly confirm: boolean }): void;
}

/** Applies patches to the store in the order of its cursor, which other relays may move as well. */
export function createPatchApplier(options: PatchApplierOptions) {
  const { store, inbox, log, askGapMs, askMs, signal, onChanged } = options;
  /** The store's cursor, as far as known. */
  let cursor: string | undefined;
  let askedAt = Number.NEGATIVE_INFINITY;

  /** Another relay may be ahead, or the store may have been wiped. */
  async function isBehind(): Promise<boolean> {
    if (inbox.length > 0) return false;
    const found = (await store.metadata()).cursor;
    return found !== cursor || performance.now() - askedAt >= askMs;
  }

  async function catchUp(): Promise<void> {
    await store.own();
    // A repeated cursor, at once or after a longer cycle, means that polling would never end.
    let before: string | undefined;
    let mark: string | undefined;
    for (let polls = 0, markAt = 1; !signal.aborted; polls += 1) {
      const found = (await store.metadata()).cursor;
      if (found === before || found === mark) throw new FailureError(stuckAt(found));
      if (found !== cursor) onChanged({ confirm: true });
      before = cursor = found;
      if (polls + 1 === markAt) {
        mark = found;
        markAt *= 2;
      }
      const patches = await options.poll(found);
      askedAt = performance.now();
      if (patches.length === 0) return;
      for (const patch of patches) if (signal.aborted || !(await place(patch))) break;
    }
  }

  async function place(patch: BigSegmentPatch): Promise<boolean> {
    const outcome = await store.apply(patch);
    if (outcome === 'out-of-order') return false;
    cursor = patch.version;
    onChanged({ confirm: outcome === 'applied' });
    return true;
  }

  /** Applies the patches that the stream delivered. */
  async function drain(): Promise<void> {
    for (let patch = inbox.shift(); patch && !signal.aborted; patch = inbox.shift()) {
      if (await place(patch)) continue;
      if (await skipToCursor(patch)) continue;
      if (performance.now() - askedAt >= askGapMs) {
        await catchUp();
        if (await place(patch)) continue;
      }
      // Either the patch is old, or the poll was older than the stream: the next check of the store polls again.
      log.debug('Discarded an out-of-order Big Segments patch');
      cursor = undefined;
    }
  }

  /** True: another relay was faster, and its last patch is queued here as well. */
  async function skipToCursor(patch: BigSegmentPatch): Promise<boolean> {
    const found = (await store.metadata()).cursor;
    if (found === '' || !(inbox.skipTo(found) || patch.version === found)) return false;
    cursor = found;
    onChanged({ confirm: false });
    return true;
  }

  return { isBehind, catchUp, drain };
}

function stuckAt(cursor: string): Failure {
  const where = cursor === '' ? 'an empty store' : `version ${cursor}`;
  return invalidData(`LaunchDarkly offers no Big Segments patch that applies to ${where}`);
}
