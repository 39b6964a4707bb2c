import type { IncomingHttpHeaders } from 'node:http';
import { cutText } from '../common/json.ts';
import type { ConnectionErrorKind, ConnectionState, UpstreamStatus } from '../ports.ts';

export interface Failure {
  readonly kind: ConnectionErrorKind;
  /** One sentence, without any key. */
  readonly message: string;
  readonly statusCode?: number;
  /** Of the error, as Node.js names it; `TIMEOUT`, `PROXY` and `NO_ROOM` are our own. */
  readonly code?: string | undefined;
  /** Upstream rejected the request, and will until someone acts. */
  readonly refused?: boolean;
  /** It may concern the state that the request named, so the next request should name none. */
  readonly isAboutState?: boolean;
  /** Of the answer with this status code. */
  readonly headers?: IncomingHttpHeaders;
}

/** What a source sent, or has in its file, cannot be used. */
export function invalidData(message: string): Failure {
  return { kind: 'INVALID_DATA', message };
}

/** It may quote what others sent. */
const LONGEST_MESSAGE = 1_000;

/** Two heartbeats of a stream, which come every 3 min. */
export const FRESH_MS = 360_000;

interface StatusOptions {
  /** Called after each change. Errors are not caught. */
  onStatus?(status: UpstreamStatus): void;
  /** The data stops being current after this long without a sign of life. Infinity for files. */
  freshMs: number;
}

/** Tracks the status of one upstream. */
export function createStatus({ onStatus, freshMs }: StatusOptions) {
  let state: ConnectionState = 'INITIALIZING';
  let [stateSince, stateNow] = [Date.now(), performance.now()];
  let lastError: UpstreamStatus['lastError'];
  let delay: UpstreamStatus['delay'];
  let refused = false;
  let complete = false;
  let checkedAt = 0;
  let checkedNow = 0;
  let lastSign = Number.NEGATIVE_INFINITY;

  function enter(next: ConnectionState) {
    if (next === state || state === 'OFF') return;
    state = next;
    [stateSince, stateNow] = [Date.now(), performance.now()];
  }

  const read = (): UpstreamStatus => ({
    state,
    stateSince,
    stateNow,
    ...(lastError && { lastError }),
    ...(delay && { delay }),
    refused,
    current: complete && performance.now() - lastSign < freshMs,
    checkedAt,
    checkedNow,
  });

  return {
    read,
    /** Upstream accepted the key. */
    admitted(): void {
      refused = false;
    },
    /** Data arrived, possibly just a heartbeat: memory still equals upstream. */
    alive(): void {
      lastSign = performance.now();
      if (complete) [checkedAt, checkedNow] = [Date.now(), lastSign];
    },
    /** Why something large is late; undefined: it no longer is. */
    delayed(message: string | undefined): void {
      delay = message === undefined ? undefined : { since: delay?.since ?? Date.now(), message };
    },
    /** The full set was delivered. */
    completed(): void {
      if (state === 'OFF') return;
      const changed = !complete || state !== 'VALID';
      complete = true;
      refused = false;
      lastSign = performance.now();
      [checkedAt, checkedNow] = [Date.now(), lastSign];
      enter('VALID');
      if (changed) onStatus?.(read());
    },
    failed({ kind, message, statusCode, refused: nowRefused }: Failure): void {
      if (state === 'OFF') return;
      complete = false;
      // Only a response says whether the key is accepted; a network error does not.
      if (statusCode !== undefined) refused = nowRefused ?? false;
      lastError = {
        kind,
        time: Date.now(),
        message: cutText(message, LONGEST_MESSAGE),
        ...(statusCode !== undefined && { statusCode }),
      };
      if (state !== 'INITIALIZING') enter('INTERRUPTED');
      onStatus?.(read());
    },
    /** Final: later calls report nothing. */
    closed(): void {
      complete = false;
      enter('OFF');
    },
  };
}
