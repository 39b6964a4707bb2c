import { createReasonLines } from '../common/paced-lines.ts';
import type { Log } from '../ports.ts';
import type { StreamMeter } from '../streams/meter.ts';

/** The meter, which also names each reason in the log, at most once a minute for each environment. */
export function loggingFailures(
  meter: Omit<StreamMeter, 'failed'> & { failed(environment: string, kind: string): void },
  log: Log,
): StreamMeter {
  const reports = new Map<string, (reason: string) => void>();
  const reportOf = (environment: string) => {
    const report =
      reports.get(environment) ??
      createReasonLines((fields) =>
        log.error('Could not send to streams; they were closed, and their clients connect again', {
          environment,
          ...fields,
          runbook: 'operations.md#relay-error',
        }),
      );
    reports.set(environment, report);
    return report;
  };
  return {
    ...meter,
    failed(environment, kind, error) {
      meter.failed(environment, kind);
      reportOf(environment)(`${kind}: ${String(error)}`);
    },
  };
}
