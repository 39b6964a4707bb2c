import { RelayError } from '../errors.ts';

/** LISTEN_FAILED, with what to do. `setting`: the variable that chooses the port. */
export function listenError(
  setting: 'PORT' | 'PROMETHEUS_PORT',
  port: number,
  host: string | undefined,
  error: NodeJS.ErrnoException,
): RelayError {
  const reasons: Record<string, string> = {
    EADDRINUSE: `the port is in use; stop the other process or choose another ${setting}`,
    EACCES: `ports below 1024 need a privilege; choose a higher ${setting}`,
    EADDRNOTAVAIL: 'this machine has no such address',
  };
  const reason = reasons[error.code ?? ''] ?? error.message;
  const purpose = setting === 'PROMETHEUS_PORT' ? ' for Prometheus metrics' : '';
  return new RelayError(
    'LISTEN_FAILED',
    `cannot listen${purpose} on port ${port}${host ? ` of ${host}` : ''}: ${reason}`,
    { cause: error },
  );
}
