import type { Log } from '../../relay-task/ports.ts';

/** Discards everything. For the relay's code and for the official SDKs, whose loggers have the same four methods. */
export const silentLog = { debug() {}, info() {}, warn() {}, error() {} } satisfies Log;

/** Records every line as `message {fields}`. */
export function createLogRecorder() {
  const lines: string[] = [];
  const note = (message: string, fields?: Record<string, unknown>) =>
    void lines.push(`${message} ${JSON.stringify(fields ?? {})}`);
  const log: Log = { debug: note, info: note, warn: note, error: note };
  return { log, lines };
}
