import type { BackoffTimes } from '../common/backoff.ts';
import type { Log, Outbound, UpstreamStatus } from '../ports.ts';
import { type BigSegmentTarget, createPatchApplier } from './big-segments-apply.ts';
import { createBigSegmentInbox } from './big-segments-inbox.ts';
import { createRetryLoop } from './big-segments-loop.ts';
import { type PollOptions, pollPatches } from './big-segments-poll.ts';
import { createBigSegmentStream } from './big-segments-stream.ts';
import { type EventStreamTimes, streamUrl } from './event-stream.ts';
import { createDelays } from './large.ts';
import { createStatus, FRESH_MS } from './status.ts';

export type { BigSegmentTarget } from './big-segments-apply.ts';

interface BigSegmentTimes extends EventStreamTimes {
  /** After a failure; from 1 s to 30 s. */
  readonly pollBackoff?: BackoffTimes;
  /** How often the store's cursor is checked while idle, in case it was wiped; 5 s. */
  readonly checkMs?: number;
  /** How often the synchronization time is written to the store; 30 s. */
  readonly confirmMs?: number;
  /** An out-of-order patch triggers a poll at once unless the last one is more recent than this; 1 s. */
  readonly askGapMs?: number;
  /** How often LaunchDarkly is polled even while the stream is open, to catch missed patches; 5 min. */
  readonly askMs?: number;
}

export interface BigSegmentSynchronizerOptions extends PollOptions {
  /** LaunchDarkly's stream server or another relay; `/big-segments` is appended to its path. */
  readonly streamUri: string;
  readonly sdkKey: string;
  readonly store: BigSegmentTarget;
  readonly outbound?: Outbound | undefined;
  readonly log: Log;
  /** The store's content changed, or it became up to date. Must not throw. */
  onBatch(): void;
  readonly timings?: BigSegmentTimes;
}

export interface BigSegmentSynchronizer {
  /** Idempotent. */
  start(): void;
  /** Switches to another key once LaunchDarkly accepts it; until then the old one stays in use if it still works. */
  setKey(sdkKey: string): void;
  status(): UpstreamStatus;
  /** Resolves when the last write has ended. */
  close(): Promise<void>;
}

/**
 * Keeps a store up to date with LaunchDarkly's Big Segments: polls until there are no more patches, then applies patches
 * from the stream, and polls again when the stream reconnects or a patch is out of order. Retries every failure without
 * limit, with jitter. Relays that share a store share its cursor: applying a patch twice is a no-op.
 * Throws CONFIG_INVALID when an address is not an http or https address.
 */
export function createBigSegmentSynchronizer(options: BigSegmentSynchronizerOptions): BigSegmentSynchronizer {
  const { store, log, timings = {} } = options;
  const { checkMs = 5_000, askGapMs = 1_000, askMs = 300_000 } = timings;
  const confirmation = createConfirmation(options);
  const status = createStatus({ freshMs: FRESH_MS });
  const delays = createDelays({ name: 'Polling Big Segments', log, onDelay: status.delayed });
  const inbox = createBigSegmentInbox(options.receivedMemory);
  const closing = new AbortController();
  const { signal } = closing;
  /** Patches may have been missed: poll LaunchDarkly. */
  let behind = true;
  let askedWith = options.sdkKey;
  // Rejects an invalid address now rather than at the first poll.
  streamUrl(options.baseUri, '/', '');

  const stream = createBigSegmentStream({
    ...timings,
    ...options,
    onOpen() {
      status.admitted();
      // The next poll also brings the queued patches, and those of an earlier key may belong to another environment.
      inbox.clear();
      behind = true;
      loop.retryNow();
    },
    onAlive: status.alive,
    onDelay: status.delayed,
    onPatches(patches) {
      const isAdded = inbox.add(patches);
      if (isAdded) loop.wake();
      return isAdded;
    },
    onOverflow: askAgain,
    onFailure(failure) {
      status.failed(failure);
      // If only the stream is blocked, polling at each reconnect keeps the store up to date.
      askAgain();
    },
  });

  const applier = createPatchApplier({
    store,
    inbox,
    log,
    askGapMs,
    askMs,
    signal,
    poll(cursor) {
      askedWith = stream.key();
      return pollPatches({ ...options, onDelay: delays.tell }, cursor, askedWith, signal);
    },
    onChanged: confirmation.changed,
  });

  const loop = createRetryLoop({
    work,
    hasWork: () => behind || inbox.length > 0,
    onFailure(failure) {
      behind = true;
      confirmation.failed();
      if (failure.refused && askedWith !== stream.key()) return 'retry-now';
      status.failed(failure);
      return 'back-off';
    },
    ...timings,
    backoff: timings.pollBackoff,
    idleMs: checkMs,
    log,
    signal,
  });

  function askAgain(): void {
    behind = true;
    loop.wake();
  }

  async function work(): Promise<void> {
    try {
      if (!behind && (await applier.isBehind())) behind = true;
      const asks = behind;
      if (asks) {
        behind = false;
        await applier.catchUp();
        if (!signal.aborted) stream.open();
      }
      await applier.drain();
      if (signal.aborted || behind) return;
      if (stream.isOpen()) status.completed();
      await confirmation.write(asks || stream.isOpen());
    } finally {
      if (!signal.aborted) confirmation.report();
    }
  }

  return {
    start: loop.start,
    setKey(sdkKey) {
      if (signal.aborted) return;
      stream.setKey(sdkKey);
      // Try the new key at once, even if the previous one was rejected.
      if (!stream.isOpen()) {
        behind = true;
        loop.retryNow();
      }
    },
    status: status.read,
    async close() {
      closing.abort();
      stream.close();
      await loop.ended();
      inbox.clear();
      status.closed();
    },
  };
}

/**
 * Writes the synchronization time to the store: after this relay's changes, after failures, and at intervals while it is up
 * to date.
 */
function createConfirmation({ store, onBatch, timings: { confirmMs = 30_000 } = {} }: BigSegmentSynchronizerOptions) {
  let confirmedAt = Number.NEGATIVE_INFINITY;
  let inTrouble = true;
  let changed = false;
  let unconfirmed = false;
  return {
    changed({ confirm }: { readonly confirm: boolean }): void {
      changed = true;
      unconfirmed ||= confirm;
    },
    failed(): void {
      inTrouble = true;
    },
    async write(isCurrent: boolean): Promise<void> {
      const isDue = performance.now() - confirmedAt >= confirmMs;
      if (!unconfirmed && !inTrouble && !(isCurrent && isDue)) return;
      await store.setSynchronizedOn(Date.now());
      confirmedAt = performance.now();
      unconfirmed = false;
      changed ||= inTrouble;
      inTrouble = false;
    },
    /** Reports that the content changed, or became up to date, since the last call. */
    report(): void {
      if (changed) onBatch();
      changed = false;
    },
  };
}
