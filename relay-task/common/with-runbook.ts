import type { Log, LogFields, Runbook } from '../ports.ts';

/** The log for a part whose warnings and errors have one runbook, unless they name another. */
export function withRunbook({ debug, info, warn, error }: Log, runbook: Runbook): Log {
  const at =
    (write: Log[keyof Log]): Log[keyof Log] =>
    (message: string, fields: LogFields = {}) =>
      write(message, { runbook, ...fields });
  return { debug, info, warn: at(warn), error: at(error) };
}
