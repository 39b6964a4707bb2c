/**
 * What `/status` says, as ld-relay 9's gauges: one series for each state, 1 for the one that is, 0 for the others; times are Unix
 * seconds. The units in braces keep Prometheus from calling them ratios.
 */
import { type Attributes, ValueType } from '@opentelemetry/api';
import { millisToHrTime } from '@opentelemetry/core';
import {
  AggregationTemporality,
  type DataPoint,
  DataPointType,
  type GaugeMetricData,
} from '@opentelemetry/sdk-metrics';
import { redactKeys } from '../../common/secrets.ts';
import type { EnvironmentStanding, RelayStanding } from '../health.ts';

const STATE = 'launchdarkly.relay.state';
const ENVIRONMENT = 'launchdarkly.environment.name';
const CONNECTION_STATES = ['VALID', 'INITIALIZING', 'INTERRUPTED', 'OFF'] as const;
const STORE_STATES = ['VALID', 'INITIALIZING', 'INTERRUPTED'] as const;
const SOURCE_STATES = ['VALID', 'INITIALIZING', 'INTERRUPTED'] as const;

type Value = readonly [value: number, attributes?: Attributes];

interface Gauge<Of> {
  readonly name: string;
  readonly unit: string;
  readonly help: string;
  values(of: Of): Value[];
}

const oneOf = (states: readonly string[], state: string): Value[] =>
  states.map((one) => [Number(one === state), { [STATE]: one }]);
const countsOf = <T>(states: readonly string[], all: readonly T[], stateOf: (one: T) => string): Value[] =>
  states.map((state) => [all.filter((one) => stateOf(one) === state).length, { [STATE]: state }]);
const count = <T>(all: readonly T[], is: (one: T) => boolean | undefined): Value[] => [[all.filter(is).length]];
const seconds = (ms: number | undefined): Value[] => (ms ? [[ms / 1_000]] : []);

const connectionOf = ({ environment: { upstream } }: EnvironmentStanding) => upstream?.state ?? 'INITIALIZING';
const storeOf = ({ store }: EnvironmentStanding) => store.state;
const hasExpiringKey = ({ environment: { credentials, sdkKey } }: EnvironmentStanding) =>
  credentials.some(({ kind, value, expiresAt }) => kind === 'sdkKey' && expiresAt !== undefined && value !== sdkKey);

/** ld-relay has these with auto-configuration alone. */
const autoConfigOf = ({ source }: RelayStanding) => (source?.kind === 'auto-configuration' ? source : undefined);

export const relayGauges: readonly Gauge<RelayStanding>[] = [
  {
    name: 'launchdarkly.relay.status',
    unit: '{state}',
    help: '1 for the state of the relay in `/status`: `healthy` or `degraded`',
    values: ({ status }) => oneOf(['healthy', 'degraded'], status),
  },
  {
    name: 'launchdarkly.relay.environment.count',
    unit: '{environment}',
    help: 'Environments',
    values: ({ environments }) => [[environments.length]],
  },
  {
    name: 'launchdarkly.relay.environment.status.count',
    unit: '{environment}',
    help: 'Environments by status: `connected` or `disconnected`',
    values: ({ environments }) => countsOf(['connected', 'disconnected'], environments, ({ status }) => status),
  },
  {
    name: 'launchdarkly.relay.environment.connection.state.count',
    unit: '{environment}',
    help: 'Environments by the state of their connection to LaunchDarkly',
    values: ({ environments }) => countsOf(CONNECTION_STATES, environments, connectionOf),
  },
  {
    name: 'launchdarkly.relay.environment.datastore.state.count',
    unit: '{environment}',
    help: 'Environments by the state of their store',
    values: ({ environments }) => countsOf(STORE_STATES, environments, storeOf),
  },
  {
    name: 'launchdarkly.relay.environment.expiring_key.count',
    unit: '{environment}',
    help: 'Environments with an SDK key that expires',
    values: ({ environments }) => count(environments, hasExpiringKey),
  },
  {
    name: 'launchdarkly.relay.environment.big_segments.unavailable.count',
    unit: '{environment}',
    help: 'Environments whose Big Segments cannot be read',
    values: ({ environments }) =>
      count(environments, ({ environment: { bigSegments } }) => bigSegments && !bigSegments.available),
  },
  {
    name: 'launchdarkly.relay.environment.big_segments.stale.count',
    unit: '{environment}',
    help: 'Environments whose Big Segments may be out of date',
    values: ({ environments }) =>
      count(environments, ({ environment: { bigSegments } }) => bigSegments?.potentiallyStale),
  },
  {
    name: 'launchdarkly.relay.autoconfig.state',
    unit: '{state}',
    help: '1 for the state of auto-configuration',
    values: (standing) => {
      const source = autoConfigOf(standing);
      return source ? oneOf(SOURCE_STATES, source.state) : [];
    },
  },
  {
    name: 'launchdarkly.relay.autoconfig.state.since',
    unit: 's',
    help: 'When that state began',
    values: (standing) => seconds(autoConfigOf(standing)?.stateSince),
  },
  {
    name: 'launchdarkly.relay.autoconfig.last_error',
    unit: 's',
    help: 'When auto-configuration last failed',
    values: (standing) => seconds(autoConfigOf(standing)?.lastError?.time),
  },
];

/** With OTEL_ENVIRONMENT_STATUS_METRICS, for each environment. */
export const environmentGauges: readonly Gauge<EnvironmentStanding>[] = [
  {
    name: 'launchdarkly.relay.environment.status',
    unit: '{state}',
    help: '1 for the status of the environment: `connected` or `disconnected`',
    values: ({ status }) => oneOf(['connected', 'disconnected'], status),
  },
  {
    name: 'launchdarkly.relay.environment.connection.state',
    unit: '{state}',
    help: '1 for the state of its connection to LaunchDarkly',
    values: (standing) => oneOf(CONNECTION_STATES, connectionOf(standing)),
  },
  {
    name: 'launchdarkly.relay.environment.connection.state.since',
    unit: 's',
    help: 'When that state began',
    values: ({ environment: { upstream } }) => seconds(upstream?.stateSince),
  },
  {
    name: 'launchdarkly.relay.environment.connection.last_error',
    unit: 's',
    help: 'When its connection last failed; `launchdarkly.relay.error.kind` and `http.response.status_code` say how',
    values: ({ environment: { upstream } }) => {
      const { lastError } = upstream ?? {};
      if (!lastError) return [];
      const { time, kind, statusCode } = lastError;
      const status = statusCode !== undefined && { 'http.response.status_code': statusCode };
      return [[time / 1_000, { 'launchdarkly.relay.error.kind': kind, ...status }]];
    },
  },
  {
    name: 'launchdarkly.relay.environment.datastore.state',
    unit: '{state}',
    help: '1 for the state of its store',
    values: (standing) => oneOf(STORE_STATES, storeOf(standing)),
  },
  {
    name: 'launchdarkly.relay.environment.datastore.state.since',
    unit: 's',
    help: 'When that state began',
    values: ({ store }) => seconds(store.stateSince),
  },
  {
    name: 'launchdarkly.relay.environment.big_segments.available',
    unit: '{state}',
    help: '1 while its Big Segments can be read',
    values: ({ environment: { bigSegments } }) => (bigSegments ? [[Number(bigSegments.available)]] : []),
  },
  {
    name: 'launchdarkly.relay.environment.big_segments.stale',
    unit: '{state}',
    help: '1 while they may be out of date',
    values: ({ environment: { bigSegments } }) => (bigSegments ? [[Number(bigSegments.potentiallyStale)]] : []),
  },
  {
    name: 'launchdarkly.relay.environment.big_segments.last_synchronized',
    unit: 's',
    help: 'When they were last known to be current',
    values: ({ environment: { bigSegments } }) => seconds(bigSegments?.lastSynchronizedOn),
  },
  {
    name: 'launchdarkly.relay.environment.expiring_key',
    unit: '{state}',
    help: '1 while it has an SDK key that expires',
    values: (standing) => [[Number(hasExpiringKey(standing))]],
  },
  {
    name: 'launchdarkly.relay.environment.info',
    unit: '{environment}',
    help: '1, with its ID, its key and its project, as far as they are known',
    values: ({ environment: { environmentId, labels } }) => [
      [
        1,
        {
          ...(environmentId !== undefined && { 'launchdarkly.environment.id': redactKeys(environmentId) }),
          ...(labels && {
            'launchdarkly.environment.key': labels.envKey,
            'launchdarkly.project.key': labels.projKey,
            'launchdarkly.project.name': labels.projName,
          }),
        },
      ],
    ],
  },
  {
    name: 'launchdarkly.relay.environment.datastore.info',
    unit: '{environment}',
    help: '1, with the kind of its store and where that is',
    values: ({ store: { database, dbServer, dbPrefix, dbTable } }) =>
      database === undefined
        ? []
        : [
            [
              1,
              {
                'db.system.name': database,
                ...(dbServer !== undefined && { 'server.address': dbServer }),
                ...(dbPrefix !== undefined && { 'launchdarkly.relay.store.prefix': dbPrefix }),
                ...(dbTable !== undefined && { 'db.collection.name': dbTable }),
              },
            ],
          ],
  },
];

/** `at`: Unix ms. Yields after each environment. */
export function* statusMetrics(
  standing: RelayStanding,
  { perEnvironment, at }: { readonly perEnvironment: boolean; readonly at: number },
): Generator<unknown, GaugeMetricData[]> {
  const time = millisToHrTime(at);
  const point = ([value, attributes = {}]: Value): DataPoint<number> => ({
    startTime: time,
    endTime: time,
    attributes,
    value,
  });
  const metrics = relayGauges.map((gauge) => gaugeOf(gauge, gauge.values(standing).map(point)));
  if (!perEnvironment) return metrics.filter(({ dataPoints }) => dataPoints.length > 0);
  const points = environmentGauges.map((): DataPoint<number>[] => []);
  for (const one of standing.environments) {
    const named = { [ENVIRONMENT]: one.environment.name };
    for (const [index, { values }] of environmentGauges.entries()) {
      for (const [value, more] of values(one)) points[index]?.push(point([value, { ...named, ...more }]));
    }
    yield;
  }
  metrics.push(...environmentGauges.map((gauge, index) => gaugeOf(gauge, points[index] ?? [])));
  return metrics.filter(({ dataPoints }) => dataPoints.length > 0);
}

function gaugeOf({ name, unit, help }: Gauge<never>, dataPoints: DataPoint<number>[]): GaugeMetricData {
  return {
    descriptor: { name, unit, description: help, valueType: ValueType.DOUBLE },
    aggregationTemporality: AggregationTemporality.CUMULATIVE,
    dataPointType: DataPointType.GAUGE,
    dataPoints,
  };
}
