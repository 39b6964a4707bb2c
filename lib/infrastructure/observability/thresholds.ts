/** What a threshold counts, and the values that make sense. */
interface Accepted {
  readonly unit: string;
  readonly from: number;
  readonly to: number;
}

const percent: Accepted = { unit: '%', from: 0, to: 100 };
const perMinute: Accepted = { unit: 'per minute', from: 0, to: 1_000_000_000 };
const seconds: Accepted = { unit: 's', from: 0, to: 86_400 };

/** The alarms whose thresholds can be set, by ID. A test compares them with the alarms. */
export const settableThresholds = {
  cpu: percent,
  memory: percent,
  'event-loop': seconds,
  'data-stale': seconds,
  'slow-propagation-to-streams': seconds,
  'slow-propagation-to-table': seconds,
  'slow-propagation-to-edge': seconds,
  'replication-latency': { unit: 'ms', from: 0, to: 86_400_000 },
  'deployment-5xx': percent,
  'edge-errors': percent,
  'edge-fallbacks': percent,
  'edge-old-data': seconds,
  'distribution-5xx': percent,
  'certificate-expiry': { unit: 'days', from: 1, to: 365 },
  'rejected-connections': perMinute,
  'streams-refused': perMinute,
  'events-dropped': perMinute,
  'events-waiting': seconds,
  'store-write-errors': perMinute,
  'replica-store-errors': perMinute,
  'read-throttle': perMinute,
  'write-throttle': perMinute,
} as const satisfies Readonly<Record<string, Accepted>>;

export type ThresholdName = keyof typeof settableThresholds;

/** The availability objectives on which there are alarms. Below 94 % even the fastest burn rate is almost all requests: 14.4 × 6 % is 86 %. */
export const settableObjective = { from: 95, to: 99.999 } as const;

/** By alarm. What is absent has the default in its row. */
export type Thresholds = Partial<Readonly<Record<ThresholdName, number>>>;
