/**
 * For each alert: series on which it must fire, and series on which it must not. In promtool's notation `0+1x60` is 0 and 60 steps of 1; a step
 * is 30 s unless a case says otherwise. Two relays, a and b, run all the time unless the case has other series of `up`.
 */
import type { SharedAlarmId } from '../../lib/monitoring/index.ts';

/** The values by series. */
export type Series = Readonly<Record<string, string>>;

export interface AlertCase {
  readonly fires: Series;
  /** The labels of the alert besides the rule's own. */
  readonly labels?: Readonly<Record<string, string>>;
  /** When it must fire; at each of these. */
  readonly at: string;
  /** It must fire neither on these … */
  readonly quiet: readonly Series[];
  /** … nor yet here, on the series of `fires`. */
  readonly notYet?: string;
  /** Default: `30s`. */
  readonly interval?: string;
}

const P = 'launchdarkly_relay';
const relay = (name: string, instance = 'a', more = '') =>
  `${P}_${name}{job="relay", instance="${instance}"${more && `, ${more}`}}`;
const both = (name: string, values: readonly [string, string], more = ''): Series => ({
  [relay(name, 'a', more)]: values[0],
  [relay(name, 'b', more)]: values[1],
});
const up = both('up', ['1x200', '1x200']);
const JOB = { job: 'relay' };
const SHOP = { job: 'relay', env: 'shop' };
const env = 'env="shop"';
const table = 'table="flags", prefix="shop"';
const redis = 'database="redis", prefix="shop"';

/** An alert on a gauge of each environment, which one relay alone can raise. */
const ofEnvironment = (name: string): AlertCase => ({
  fires: { ...up, ...both(name, ['0x20 1x60', '0x80'], env) },
  labels: SHOP,
  at: '20m',
  notYet: '11m',
  quiet: [
    { ...up, ...both(name, ['0x80', '0x80'], env) },
    // One minute.
    { ...up, ...both(name, ['0x20 1x1 0x60', '0x80'], env) },
  ],
});

/** An alert on a counter that rises in three of five minutes. */
const ofCounter = (name: string, labels: string): AlertCase => ({
  fires: { ...up, ...both(name, ['0x20 1+1x60', '0x80'], labels) },
  labels: JOB,
  at: '20m',
  notYet: '10m',
  quiet: [
    { ...up, ...both(name, ['7x80', '7x80'], labels) },
    // A single burst, and a restart, which sets the counter back.
    { ...up, ...both(name, ['0x20 500x60', '9x20 0x60'], labels) },
  ],
});

/** A histogram with observations up to `limit` only, or up to the next bucket, in each step. */
const histogram = (
  name: string,
  [limit, next]: readonly [string, string],
  slow: string,
  fast: string,
  more = '',
): Series => ({
  [relay(`${name}_bucket`, 'a', `${more && `${more}, `}le="${limit}"`)]: fast,
  [relay(`${name}_bucket`, 'a', `${more && `${more}, `}le="${next}"`)]: slow,
  [relay(`${name}_bucket`, 'a', `${more && `${more}, `}le="+Inf"`)]: slow,
});

/** Requests of a day: `failed` and `all` in each minute. */
const requests = (failed: string, all: string): Series => ({
  ...both('up', ['1x1600', '1x1600']),
  [relay('http_failures_total')]: failed,
  [relay('http_answers_total', 'a', 'route="/all", method="GET", status="200"')]: all,
});

const burns = (failedInAMinute: number, within: number, minutes: number): AlertCase => {
  const shortly = minutes - 9;
  return {
    // 10,000 requests a minute.
    fires: requests(`0+${failedInAMinute}x1600`, '0+10000x1600'),
    labels: JOB,
    at: `${minutes}m`,
    interval: '1m',
    quiet: [
      requests(`0+${within}x1600`, '0+10000x1600'),
      requests('0x1600', '0+10000x1600'),
      // Nine failures of ninety requests are no trend; and failures long ago are over.
      requests(`0x${shortly} 0+1x8 9x60`, `0x${shortly} 0+10x8 90x60`),
      requests('0+5000x10 50000x1600', '0+10000x1600'),
    ],
  };
};

export const cases: Readonly<Record<SharedAlarmId | 'unreachable-relay' | `error-budget-${string}`, AlertCase>> = {
  'unreachable-relay': {
    fires: {
      ...both('up', ['1x20 stale', '1x80']),
      'up{job="relay", instance="a"}': '1x20 0x60',
      'up{job="relay", instance="b"}': '1x80',
    },
    labels: { job: 'relay', instance: 'a' },
    at: '15m',
    notYet: '11m',
    quiet: [
      // Another service does not answer, and all relays do.
      { ...up, 'up{job="relay", instance="a"}': '1x80', 'up{job="other", instance="a"}': '0x80' },
    ],
  },
  'too-few-healthy-tasks': {
    fires: { ...both('up', ['1x20 stale', '1x80']) },
    labels: JOB,
    at: '15m',
    notYet: '11m',
    quiet: [up],
  },
  'no-metrics': {
    fires: { ...both('up', ['1x20 stale', '1x10 stale']) },
    labels: {},
    at: '20m',
    notYet: '12m',
    quiet: [up, both('up', ['1x20 stale', '1x80'])],
  },
  'event-loop': {
    fires: { ...up, 'nodejs_eventloop_lag_max_seconds{job="relay", instance="a"}': '0.01x20 2x60' },
    labels: JOB,
    at: '20m',
    notYet: '10m',
    quiet: [
      { ...up, 'nodejs_eventloop_lag_max_seconds{job="relay", instance="a"}': '0.01x20 2x1 0.01x60' },
      // Another service on Node.
      { ...up, 'nodejs_eventloop_lag_max_seconds{job="other", instance="a"}': '2x80' },
    ],
  },
  'data-stale': {
    fires: { ...up, ...both('data_age_seconds', ['0x10 601x80', '0x10 650x80'], env) },
    labels: JOB,
    at: '20m',
    notYet: '7m',
    quiet: [
      // One relay is disconnected, which has its own alert; both are, but not for so long.
      { ...up, ...both('data_age_seconds', ['900x90', '1x90'], env) },
      { ...up, ...both('data_age_seconds', ['600x90', '600x90'], env) },
    ],
  },
  'no-data': {
    fires: { ...up, ...both('environments_without_data', ['1x80', '1x80'], env) },
    labels: JOB,
    at: '10m',
    notYet: '4m',
    quiet: [{ ...up, ...both('environments_without_data', ['1x80', '0x80'], env) }],
  },
  'slow-propagation-to-streams': {
    fires: { ...up, ...histogram('broadcast_seconds', ['0.1', '0.25'], '0x20 0+5x60', '0x80') },
    labels: JOB,
    at: '20m',
    notYet: '10m',
    quiet: [
      { ...up, ...histogram('broadcast_seconds', ['0.1', '0.25'], '0+5x80', '0+5x80') },
      { ...up, ...histogram('broadcast_seconds', ['0.1', '0.25'], '0x80', '0x80') },
      // One slow change.
      { ...up, ...histogram('broadcast_seconds', ['0.1', '0.25'], '0x20 1x60', '0x80') },
    ],
  },
  'slow-propagation-to-table': {
    fires: { ...up, ...histogram('store_publication_seconds', ['1', '2.5'], '0x20 0+5x60', '0x80', table) },
    labels: JOB,
    at: '20m',
    notYet: '10m',
    quiet: [
      { ...up, ...histogram('store_publication_seconds', ['1', '2.5'], '0+5x80', '0+5x80', table) },
      { ...up, ...histogram('store_publication_seconds', ['1', '2.5'], '0x20 1x60', '0x80', table) },
    ],
  },
  'heartbeats-overdue': {
    fires: { ...up, ...both('heartbeats_overdue', ['0x20 1x60', '0x80'], env) },
    labels: JOB,
    at: '20m',
    notYet: '11m',
    quiet: [
      // Heartbeats are on; they are off; and one comes a little late.
      { ...up, ...both('heartbeats_overdue', ['0x80', '0x80'], env) },
      up,
      { ...up, ...both('heartbeats_overdue', ['0x20 1x1 0x60', '0x80'], env) },
    ],
  },
  'heartbeats-missed': {
    // Every other one.
    fires: {
      ...up,
      ...both('heartbeats_missed_total', ['0x10 1+0x3 2+0x3 3+0x3 4+1x60', '0x80'], `${env}, region="us-west-2"`),
    },
    labels: JOB,
    at: '25m',
    notYet: '12m',
    quiet: [
      { ...up, ...both('heartbeats_missed_total', ['7x80', '0x80'], `${env}, region="us-west-2"`) },
      // A single one; those of twenty environments in one minute; and two that are half an hour apart.
      { ...up, ...both('heartbeats_missed_total', ['0x20 1x60', '0x80'], `${env}, region="us-west-2"`) },
      { ...up, ...both('heartbeats_missed_total', ['0x20 20x60', '0x80'], `${env}, region="us-west-2"`) },
      { ...up, ...both('heartbeats_missed_total', ['0x10 1x58 2x80', '0x150'], `${env}, region="us-west-2"`) },
    ],
  },
  'upstream-disconnected': ofEnvironment('upstream_disconnected'),
  'upstream-refused': ofEnvironment('upstream_refused'),
  'key-problem': ofEnvironment('key_problems'),
  'unreadable-items': ofEnvironment('unreadable_items'),
  'big-segments-stale': ofEnvironment('big_segments_stale'),
  'no-writer': {
    fires: { ...up, ...both('store_lease_held', ['1x20 0x60', '0x80'], table) },
    labels: JOB,
    at: '20m',
    notYet: '11m',
    quiet: [
      // The lease changes hands; and there is no flag table.
      { ...up, ...both('store_lease_held', ['1x20 0x60', '0x20 1x60'], table) },
      up,
    ],
  },
  'store-down': {
    fires: { ...up, ...both('store_down', ['0x20 1x60', '0x80'], `${env}, database="redis"`) },
    labels: JOB,
    at: '20m',
    notYet: '11m',
    quiet: [{ ...up, ...both('store_down', ['0x20 1x2 0x60', '0x80'], `${env}, database="redis"`) }],
  },
  'store-write-errors': {
    ...ofCounter('store_writes_total', `${table}, kind="item", outcome="failed"`),
    quiet: [
      ...ofCounter('store_writes_total', `${table}, kind="item", outcome="failed"`).quiet,
      { ...up, ...both('store_writes_total', ['0+9x80', '0+9x80'], `${table}, kind="item", outcome="written"`) },
    ],
  },
  'replica-store-errors': ofCounter('store_replica_failures_total', redis),
  'store-differs': {
    // In two of three quarters of an hour.
    fires: { ...up, ...both('store_differing_items_total', ['0x10 1x40 2x200', '0x200'], table) },
    labels: JOB,
    at: '46m',
    notYet: '20m',
    quiet: [
      { ...up, ...both('store_differing_items_total', ['0x10 9x200', '0x200'], table) },
      { ...up, ...both('store_differing_items_total', ['3x200', '0x200'], table) },
    ],
  },
  'oversized-items': {
    fires: { ...up, ...both('store_oversized_items', ['0x10 1x80', '0x80'], table) },
    labels: JOB,
    at: '20m',
    notYet: '8m',
    quiet: [{ ...up, ...both('store_oversized_items', ['0x80', '0x80'], table) }],
  },
  'key-source-down': {
    fires: { ...up, ...both('key_source_down', ['0x10 1x80', '0x80']) },
    labels: JOB,
    at: '20m',
    notYet: '8m',
    quiet: [{ ...up, ...both('key_source_down', ['0x80', '0x80']) }],
  },
  'streams-refused': ofCounter('streams_refused_total', `${env}, reason="memory"`),
  'events-dropped': ofCounter('events_dropped_total', `${env}, reason="capacity"`),
  'events-waiting': {
    fires: { ...up, ...both('events_spool_oldest_seconds', ['0x10 601+60x80', '0x90']) },
    labels: JOB,
    at: '20m',
    notYet: '8m',
    quiet: [{ ...up, ...both('events_spool_oldest_seconds', ['600x90', '0x90']) }],
  },
  // docs/operations.md: 0.144 %, 0.06 % and 0.03 % of requests.
  'error-budget-1h': burns(15, 14, 90),
  'error-budget-6h': burns(7, 5, 400),
  'error-budget-1d': burns(4, 2, 1_500),
};
