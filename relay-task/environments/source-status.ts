import type { EnvironmentSourceStatus } from '../ports.ts';

/** Keeps the status of one source of environments. */
export function createSourceStatus(kind: EnvironmentSourceStatus['kind']) {
  let status: EnvironmentSourceStatus = { kind, state: 'INITIALIZING', stateSince: Date.now() };

  const enter = (state: EnvironmentSourceStatus['state']) => {
    if (status.state !== state) status = { ...status, state, stateSince: Date.now() };
  };

  return {
    read: (): EnvironmentSourceStatus => status,
    /** It answered completely. */
    answered: (): void => enter('VALID'),
    /** One sentence, without any key. A source that never answered is still initializing. */
    failed(message: string): void {
      if (status.state !== 'INITIALIZING') enter('INTERRUPTED');
      status = { ...status, lastError: { time: Date.now(), message } };
    },
    /** What is served is what somebody said earlier. */
    remembered: (): void => enter('INTERRUPTED'),
  };
}
