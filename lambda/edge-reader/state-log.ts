/** Logs changes of the state of a reader's data. */
import type { ReaderStatus } from './freshness.ts';

/** As LaunchDarkly's `LDLogger`. */
export interface Logger {
  error(...args: unknown[]): void;
  warn(...args: unknown[]): void;
  info(...args: unknown[]): void;
  debug(...args: unknown[]): void;
}

interface StateLine {
  readonly level: 'error' | 'warn' | 'info';
  readonly message: string;
  /** Undefined if all is well. */
  readonly reason: string | undefined;
}

/** Returns a function to be called after each decision, since nothing else runs in a frozen process. It writes one line per change. */
export function createStateLog(write: (line: StateLine, status: ReaderStatus) => void): (status: ReaderStatus) => void {
  let known: ReaderStatus['state'] = 'ready';
  return (status) => {
    const { state, source, message, lastError } = status;
    if (state === known) return;
    known = state;
    const level = state === 'ready' ? 'info' : state === 'stale' ? 'warn' : 'error';
    const reason = state === 'ready' ? undefined : message || lastError?.message || 'no answer yet';
    const [what, consequence] = SAID[state];
    write({ level, message: what + (source === 'held' ? FROM_BOOTSTRAP : consequence), reason }, status);
  };
}

const CALLERS = '; callers get their fallbacks';
const FROM_BOOTSTRAP = '; callers are answered from the bootstrap';
const SAID: Readonly<Record<ReaderStatus['state'], readonly [what: string, consequence: string]>> = {
  loading: ['No flags could be read in time', CALLERS],
  unreachable: ['Flags cannot be read', CALLERS],
  stale: ['Flags are out of date', '; callers are answered from those in memory'],
  ready: ['Flags are current again', ''],
};
