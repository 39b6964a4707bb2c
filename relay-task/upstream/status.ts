import type { ConnectionErrorKind, ConnectionState, UpstreamStatus } from '../ports.ts';

export interface Failure {
  readonly kind: ConnectionErrorKind;
  /** One sentence, without any key. */
  readonly message: string;
  readonly statusCode?: number;
  /** Upstream answered, and will not let us in until somebody changes something. */
  readonly refused?: boolean;
}

export interface StatusOptions {
  /** Called after each change; what it throws is the caller's own affair and is not caught. */
  onStatus?(status: UpstreamStatus): void;
  /** After so long without a sign of life nothing is current. Infinite for sources that do not fall silent. */
  freshMs: number;
}

/** Keeps the status of one upstream. */
export function createStatus({ onStatus, freshMs }: StatusOptions) {
  let state: ConnectionState = 'INITIALIZING';
  let stateSince = Date.now();
  let lastError: UpstreamStatus['lastError'];
  let refused = false;
  let complete = false;
  let checkedAt = 0;
  let lastSign = Number.NEGATIVE_INFINITY;

  function enter(next: ConnectionState) {
    if (next === state || state === 'OFF') return;
    state = next;
    stateSince = Date.now();
  }

  const read = (): UpstreamStatus => ({
    state,
    stateSince,
    ...(lastError && { lastError }),
    refused,
    current: complete && performance.now() - lastSign < freshMs,
    checkedAt,
  });

  return {
    read,
    /** Upstream let us in. */
    admitted(): void {
      refused = false;
    },
    /** Something arrived, a heartbeat at least: what is held is still what upstream has. */
    alive(): void {
      lastSign = performance.now();
      if (complete) checkedAt = Date.now();
    },
    /** Everything upstream has was delivered. */
    completed(): void {
      if (state === 'OFF') return;
      const changed = !complete || state !== 'VALID';
      complete = true;
      refused = false;
      lastSign = performance.now();
      checkedAt = Date.now();
      enter('VALID');
      if (changed) onStatus?.(read());
    },
    failed({ kind, message, statusCode, refused: nowRefused }: Failure): void {
      if (state === 'OFF') return;
      complete = false;
      // Only an answer says whether we are let in; a broken line says nothing.
      if (statusCode !== undefined) refused = nowRefused ?? false;
      lastError = { kind, time: Date.now(), message, ...(statusCode !== undefined && { statusCode }) };
      if (state !== 'INITIALIZING') enter('INTERRUPTED');
      onStatus?.(read());
    },
    /** For good: nothing is reported any more. */
    closed(): void {
      complete = false;
      enter('OFF');
    },
  };
}
