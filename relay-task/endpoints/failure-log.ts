import { oncePerMinute } from '../common/once-per-minute.ts';
import type { Log } from '../ports.ts';

export interface Failure {
  readonly message: string;
  readonly route: string;
  readonly error: unknown;
  /** The flag that it is about, if it is about one. */
  readonly flag?: string;
}

/** Logs what fails on a request: at most one line a minute for each route and reason, since anybody may repeat the request. */
export function createFailureLog(log: Log | undefined): (failure: Failure) => void {
  const report = oncePerMinute<Failure>(({ message, ...fields }, suppressed) =>
    log?.error(message, { ...fields, ...(suppressed > 0 && { suppressed }) }),
  );
  return (failure) => {
    const { message, route, flag = '', error } = failure;
    report([message, route, flag, String(error)].join(' '), failure);
  };
}
