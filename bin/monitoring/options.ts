import {
  AVAILABILITY_PERCENT,
  type SharedAlarm,
  type SharedAlarmId,
  sharedAlarms,
} from '../../lib/monitoring/index.ts';
import { metricsSettings } from '../../relay-task/config/settings-metrics.ts';

/** What rules and the dashboard are made for. */
export interface MonitoringOptions {
  /** PROMETHEUS_PREFIX of the relays. */
  readonly prefix: string;
  /** Labels that the series of these relays have, as in a query: `job="relay", stage="prod"`. Empty: all relays that Prometheus knows. */
  readonly matchers: string;
  /** How many relays should always run. 1: that none is there is told by no-metrics. */
  readonly relays: number;
  /** The share of requests that should succeed in 30 days. */
  readonly availabilityPercent: number;
  readonly thresholds: Readonly<Partial<Record<SharedAlarmId, number>>>;
  /** IDs of alerts that are left out. */
  readonly without: readonly string[];
  /** The address of the page of runbooks, without an anchor. */
  readonly runbooks: string;
}

export const defaultOptions: MonitoringOptions = {
  prefix: metricsSettings.prometheus.prefix.fallback,
  matchers: '',
  relays: 1,
  availabilityPercent: AVAILABILITY_PERCENT,
  thresholds: {},
  without: [],
  runbooks: 'https://github.com/edge-flag-relay/edge-flag-relay/blob/main/docs/operations.md',
};

/** The threshold in force. */
export function thresholdIn({ thresholds, relays }: MonitoringOptions, id: SharedAlarmId): number {
  const { above, below }: SharedAlarm = sharedAlarms[id];
  return thresholds[id] ?? above ?? (below === 'relays' ? relays : below!);
}
