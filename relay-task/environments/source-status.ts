import type { EnvironmentSourceStatus } from '../ports.ts';

/** The status of one source of environments. `now`: Unix ms. */
export function createSourceStatus(kind: EnvironmentSourceStatus['kind'], now: () => number = Date.now) {
  let status: EnvironmentSourceStatus = { kind, state: 'INITIALIZING', stateSince: now() };

  const enter = (state: EnvironmentSourceStatus['state']) => {
    if (status.state !== state) status = { ...status, state, stateSince: now() };
  };

  return {
    read: (): EnvironmentSourceStatus => status,
    /** The source has answered completely. */
    answered: (): void => enter('VALID'),
    /** One sentence, without any key. A source that has never answered stays INITIALIZING. */
    failed(message: string): void {
      if (status.state !== 'INITIALIZING') enter('INTERRUPTED');
      status = { ...status, lastError: { time: now(), message } };
    },
    /** The environments in use are remembered ones. */
    remembered: (): void => enter('INTERRUPTED'),
  };
}
