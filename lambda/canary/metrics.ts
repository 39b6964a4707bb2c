import type { Answer, Check } from './check.ts';

/** The metrics of the checks, without dimensions, and their CloudWatch units. */
export const metricUnits = {
  Success: 'Count',
  StreamLatency: 'Milliseconds',
  TableLatency: 'Milliseconds',
  DifferingFlags: 'Count',
  EdgeSuccess: 'Count',
  EdgeLatency: 'Milliseconds',
} as const;

type Values = Readonly<Partial<Record<keyof typeof metricUnits, number>>>;

/** The metric values of a check. Latency is reported only for the part that succeeded. */
export function valuesOf({ stream, table, differing }: Answer): Values {
  return {
    Success: Number((stream?.ok ?? true) && table.ok),
    ...(stream?.ok && { StreamLatency: stream.ms }),
    ...(table.ok && { TableLatency: table.ms }),
    ...(differing !== undefined && { DifferingFlags: differing }),
  };
}

/** The metric values of a check of the distribution. */
export function edgeValuesOf({ ok, ms }: Check): Values {
  return { EdgeSuccess: Number(ok), ...(ok && { EdgeLatency: ms }) };
}

/** A log line from which CloudWatch Logs extracts metrics. AWS: "Specification: Embedded metric format". */
export function metricsLine(
  namespace: string,
  values: Values,
  more: Readonly<Record<string, unknown>>,
  at: number,
): string {
  const metrics = Object.keys(values).map((name) => ({
    Name: name,
    Unit: metricUnits[name as keyof typeof metricUnits],
  }));
  const CloudWatchMetrics = [{ Namespace: namespace, Dimensions: [[]], Metrics: metrics }];
  return `${JSON.stringify({ _aws: { Timestamp: at, CloudWatchMetrics }, ...more, ...values })}\n`;
}
