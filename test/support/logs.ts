import type { Log } from '../../relay-task/ports.ts';

/** Discards everything. For the relay's code and for the official SDKs, whose loggers have the same four methods. */
export const silentLog = { debug() {}, info() {}, warn() {}, error() {} } satisfies Log;

/** Records every line as `message {fields}`; `shown` are those that are not at level debug, with their level. */
export function createLogRecorder() {
  const lines: string[] = [];
  const shown: string[] = [];
  const at =
    (level: keyof Log): Log[keyof Log] =>
    (message, fields) => {
      const line = `${message} ${JSON.stringify(fields ?? {})}`;
      lines.push(line);
      if (level !== 'debug') shown.push(`${level.toUpperCase()} ${line}`);
    };
  const log: Log = { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
  return { log, lines, shown };
}
