import { createPacedLines } from '../common/paced-lines.ts';
import type { Log } from '../ports.ts';

interface Failure {
  readonly message: string;
  readonly route: string;
  readonly error: unknown;
  /** The flag that it is about, if it is about one. */
  readonly flag?: string;
}

/** Logs what fails on a request: at most one line a minute for each route and reason, since anybody may repeat the request. */
export function createFailureLog(log: Log | undefined): (failure: Failure) => void {
  const paced = createPacedLines();
  return ({ message, ...fields }) => {
    const { route, flag = '', error } = fields;
    paced([message, route, flag, String(error)].join(' '), (more) =>
      log?.error(message, { ...fields, ...more, runbook: 'operations.md#relay-error' }),
    );
  };
}
