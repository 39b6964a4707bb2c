import type { EnvironmentSourceStatus } from '../ports.ts';

/** The status of one source of environments. */
export function createSourceStatus(kind: EnvironmentSourceStatus['kind']) {
  let status: EnvironmentSourceStatus = { kind, state: 'INITIALIZING', stateSince: Date.now() };

  const enter = (state: EnvironmentSourceStatus['state']) => {
    if (status.state !== state) status = { ...status, state, stateSince: Date.now() };
  };

  return {
    read: (): EnvironmentSourceStatus => status,
    /** The source has answered completely. */
    answered: (): void => enter('VALID'),
    /** One sentence, without any key. A source that has never answered stays INITIALIZING. */
    failed(message: string): void {
      if (status.state !== 'INITIALIZING') enter('INTERRUPTED');
      status = { ...status, lastError: { time: Date.now(), message } };
    },
    /** The environments in use are remembered ones. */
    remembered: (): void => enter('INTERRUPTED'),
  };
}
