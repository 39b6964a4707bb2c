import { type BackoffTimes, createBackoff } from '../common/backoff.ts';
import { describeError } from '../common/http-request.ts';
import type { BigSegmentPatch, Log, Outbound, UpstreamStatus } from '../ports.ts';
import { createPause } from './big-segments-pause.ts';
import { FailureError, type PollOptions, pollPatches } from './big-segments-poll.ts';
import { createBigSegmentStream } from './big-segments-stream.ts';
import { type EventStreamTimes, streamUrl } from './event-stream.ts';
import { createStatus, type Failure } from './status.ts';

/** The store of Big Segments. Calls reject when they fail or time out. */
export interface BigSegmentTarget {
  /** The version of the last patch; '' before the first. */
  metadata(): Promise<{ readonly cursor: string }>;
  /** `applied`: the store is at the patch's version; applying a patch twice is a no-op. */
  apply(patch: BigSegmentPatch): Promise<'applied' | 'out-of-order'>;
  setSynchronizedOn(unixMs: number): Promise<void>;
}

export interface BigSegmentTimes extends EventStreamTimes {
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

const FRESH_MS = 360_000;

/**
 * Keeps a store up to date with LaunchDarkly's Big Segments: polls until there are no more patches, then applies patches
 * from the stream, and polls again when the stream reconnects or a patch is out of order. Retries every failure without
 * limit, with jitter. Relays that share a store share its cursor: applying a patch twice is a no-op.
 * Throws CONFIG_INVALID when an address is not an http or https address.
 */
export function createBigSegmentSynchronizer(options: BigSegmentSynchronizerOptions): BigSegmentSynchronizer {
  const { store, log, timings = {} } = options;
  const { checkMs = 5_000, confirmMs = 30_000, askGapMs = 1_000, askMs = 300_000 } = timings;
  const backoff = createBackoff(timings.pollBackoff ?? { firstMs: 1_000, maxMs: 30_000 }, timings.random);
  const slow = createBackoff(timings.refusedBackoff ?? { firstMs: 300_000, maxMs: 3_600_000 }, timings.random);
  const status = createStatus({ freshMs: FRESH_MS });
  const withdrawn = new AbortController();
  const pause = createPause();
  const inbox: BigSegmentPatch[] = [];
  let running: Promise<void> | undefined;
  let closed = false;
  /** Patches may have been missed: poll LaunchDarkly. */
  let behind = true;
  let inTrouble = true;
  let changed = false;
  /** The store's cursor, as far as known. */
  let cursor: string | undefined;
  let confirmedAt = Number.NEGATIVE_INFINITY;
  let askedAt = Number.NEGATIVE_INFINITY;
  let askedWith = options.sdkKey;
  // Rejects an invalid address now rather than at the first poll.
  streamUrl(options.baseUri, '/', '');

  const stream = createBigSegmentStream({
    ...{ ...timings, streamUri: options.streamUri, sdkKey: options.sdkKey, userAgent: options.userAgent },
    ...{ outbound: options.outbound, log },
    onOpen() {
      status.admitted();
      askAgain();
      slow.reset();
      pause.end('trouble');
    },
    onAlive: status.alive,
    onPatches(patches) {
      inbox.push(...patches);
      pause.end('idle');
    },
    onOverflow: askAgain,
    onFailure(failure) {
      status.failed(failure);
      // If only the stream is blocked, polling at each reconnect keeps the store up to date.
      askAgain();
    },
    waiting: () => inbox.length,
  });

  function askAgain(): void {
    behind = true;
    pause.end('idle');
  }

  async function run(): Promise<void> {
    while (!closed) {
      try {
        await work();
        backoff.reset();
        slow.reset();
        if (!behind && inbox.length === 0) await pause.wait(checkMs, 'idle');
      } catch (error) {
        await recover(error);
      }
    }
  }

  async function recover(error: unknown): Promise<void> {
    if (closed) return;
    behind = true;
    inTrouble = true;
    const failure = failureOf(error);
    if (failure.refused && askedWith !== stream.key()) return;
    status.failed(failure);
    const delayMs = Math.round((failure.refused ? slow : backoff).next());
    const { kind, message, statusCode } = failure;
    log.warn('Big Segments synchronization failed; retrying', {
      ...{ kind, reason: message, statusCode, delayMs },
    });
    await pause.wait(delayMs, 'trouble');
  }

  async function work(): Promise<void> {
    try {
      if (!behind) await lookAtStore();
      const asks = behind;
      if (asks) {
        behind = false;
        await catchUp();
        if (!closed) stream.open();
      }
      await drain();
      if (closed || behind) return;
      if (stream.isOpen()) status.completed();
      await confirm(asks || stream.isOpen());
    } finally {
      if (changed && !closed) options.onBatch();
      changed = false;
    }
  }

  /** Another relay may be ahead, or the store may have been wiped. */
  async function lookAtStore(): Promise<void> {
    if (inbox.length > 0) return;
    const found = (await store.metadata()).cursor;
    if (found !== cursor || performance.now() - askedAt >= askMs) behind = true;
  }

  async function catchUp(): Promise<void> {
    let before: string | undefined;
    while (!closed) {
      const found = (await store.metadata()).cursor;
      if (found === before) throw new FailureError(stuckAt(found));
      if (found !== cursor) changed = true;
      before = cursor = found;
      askedWith = stream.key();
      const patches = await pollPatches(options, found, askedWith, withdrawn.signal);
      askedAt = performance.now();
      if (patches.length === 0) return;
      for (const patch of patches) if (closed || !(await place(patch))) break;
    }
  }

  async function place(patch: BigSegmentPatch): Promise<boolean> {
    if ((await store.apply(patch)) === 'out-of-order') return false;
    cursor = patch.version;
    changed = true;
    return true;
  }

  /** Applies the patches that the stream delivered. */
  async function drain(): Promise<void> {
    for (let patch = inbox.shift(); patch && !closed; patch = inbox.shift()) {
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
    const at = [patch, ...inbox].findLastIndex(({ version }) => version === found && version !== '');
    if (at < 0) return false;
    inbox.splice(0, at);
    cursor = found;
    changed = true;
    return true;
  }

  async function confirm(isCurrent: boolean): Promise<void> {
    const isDue = performance.now() - confirmedAt >= confirmMs;
    if (!changed && !inTrouble && !(isCurrent && isDue)) return;
    await store.setSynchronizedOn(Date.now());
    confirmedAt = performance.now();
    changed ||= inTrouble;
    inTrouble = false;
  }

  return {
    start() {
      if (!closed) running ??= run();
    },
    setKey(sdkKey) {
      if (closed) return;
      stream.setKey(sdkKey);
      // Try the new key at once, even if the previous one was rejected.
      if (!stream.isOpen()) {
        slow.reset();
        behind = true;
        pause.end('idle');
        pause.end('trouble');
      }
    },
    status: status.read,
    async close() {
      closed = true;
      stream.close();
      withdrawn.abort();
      pause.end('idle');
      pause.end('trouble');
      await running;
      status.closed();
    },
  };
}

function stuckAt(cursor: string): Failure {
  const where = cursor === '' ? 'an empty store' : `version ${cursor}`;
  return { kind: 'INVALID_DATA', message: `LaunchDarkly offers no Big Segments patch that applies to ${where}` };
}

function failureOf(error: unknown): Failure {
  if (error instanceof FailureError) return error.failure;
  return { kind: 'STORE_ERROR', message: describeError(error) };
}
