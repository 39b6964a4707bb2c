import { type BackoffTimes, createBackoff } from '../common/backoff.ts';
import { describeError } from '../common/http-request.ts';
import type { BigSegmentPatch, Log, Outbound, UpstreamStatus } from '../ports.ts';
import { createPause } from './big-segments-pause.ts';
import { FailureError, type PollOptions, pollPatches } from './big-segments-poll.ts';
import { createBigSegmentStream } from './big-segments-stream.ts';
import { type EventStreamTimes, streamUrl } from './event-stream.ts';
import { createStatus, type Failure } from './status.ts';

/** Where Big Segments are kept. Everything rejects, in time, when it fails. */
export interface BigSegmentTarget {
  /** The version of the last patch; '' when there was none. */
  metadata(): Promise<{ readonly cursor: string }>;
  /** `applied`: the store is where the patch leads, whoever brought it there. */
  apply(patch: BigSegmentPatch): Promise<'applied' | 'out-of-order'>;
  setSynchronizedOn(unixMs: number): Promise<void>;
}

export interface BigSegmentTimes extends EventStreamTimes {
  /** After a failure; from 1 s to 30 s. */
  readonly pollBackoff?: BackoffTimes;
  /** How often the store is looked at while nothing happens; it may have been wiped. 5 s. */
  readonly checkMs?: number;
  /** How often the store is told that it is up to date; 30 s. */
  readonly confirmMs?: number;
  /** A patch that does not follow so soon after LaunchDarkly was asked is left to the next look at the store; 1 s. */
  readonly askGapMs?: number;
  /** How often LaunchDarkly is asked although the stream is open, lest anything stays missing; 5 min. */
  readonly askMs?: number;
}

export interface BigSegmentSynchronizerOptions extends PollOptions {
  /** LaunchDarkly's stream server or another relay; `/big-segments` is appended to its path. */
  readonly streamUri: string;
  readonly sdkKey: string;
  readonly store: BigSegmentTarget;
  readonly outbound?: Outbound | undefined;
  readonly log: Log;
  /** The store holds something else, or is up to date for the first time or again. Must not throw. */
  onBatch(): void;
  readonly timings?: BigSegmentTimes;
}

export interface BigSegmentSynchronizer {
  /** Again does nothing. */
  start(): void;
  /** Goes over to another key once LaunchDarkly lets it in; until then the old one goes on, if it is still good. */
  setKey(sdkKey: string): void;
  status(): UpstreamStatus;
  /** Resolves when nothing is written any more. */
  close(): Promise<void>;
}

const FRESH_MS = 360_000;

/**
 * Makes a store follow LaunchDarkly's Big Segments: asks for what is new until there is nothing, holds the stream of
 * patches, and asks again whenever the stream was made anew or a patch does not follow what is stored. Everything is
 * retried for ever, with jitter. Relays that share a store share its cursor: who comes second finds the patch applied.
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
  /** Something may have been missed: LaunchDarkly is to be asked. */
  let behind = true;
  let inTrouble = true;
  let changed = false;
  /** Of the store, as far as we know. */
  let cursor: string | undefined;
  let confirmedAt = Number.NEGATIVE_INFINITY;
  let askedAt = Number.NEGATIVE_INFINITY;
  let askedWith = options.sdkKey;
  // Said now rather than at the first question.
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
      // Where only the stream is held back, asking keeps the store up to date at the pace of its attempts.
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
    log.warn('Big Segments could not be synchronised, it will be tried again', {
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

  /** Another relay may be ahead; or the store was wiped, and has to be filled anew. */
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

  /** What the stream brought. */
  async function drain(): Promise<void> {
    for (let patch = inbox.shift(); patch && !closed; patch = inbox.shift()) {
      if (await place(patch)) continue;
      if (await skipToCursor(patch)) continue;
      if (performance.now() - askedAt >= askGapMs) {
        await catchUp();
        if (await place(patch)) continue;
      }
      // Either it is an old one, or the answer was older than the stream: the next look at the store asks again.
      log.debug('a patch of Big Segments that follows nothing was left out');
      cursor = undefined;
    }
  }

  /** True: another relay was faster, and what it applied last is among what waits here. */
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
      // Whatever the key before was refused for, this one is tried at once.
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
  return { kind: 'INVALID_DATA', message: `the patches of Big Segments that are offered do not lead on from ${where}` };
}

function failureOf(error: unknown): Failure {
  if (error instanceof FailureError) return error.failure;
  return { kind: 'STORE_ERROR', message: describeError(error) };
}
