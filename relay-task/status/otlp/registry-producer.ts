/**
 * The relay's own metrics for OpenTelemetry: the registry that Prometheus reads is read once for each export. Names are those of Prometheus,
 * as OpenTelemetry's "Prometheus and OpenMetrics Compatibility" asks. prom-client counts the buckets of a histogram up to their bounds;
 * OTLP counts each by itself.
 */
import { type Attributes, type HrTime, ValueType } from '@opentelemetry/api';
import { millisToHrTime } from '@opentelemetry/core';
import { emptyResource } from '@opentelemetry/resources';
import {
  AggregationTemporality,
  type CollectionResult,
  type DataPoint,
  DataPointType,
  type GaugeMetricData,
  type Histogram,
  type MetricData,
  type MetricProducer,
  type SumMetricData,
} from '@opentelemetry/sdk-metrics';
import type { MetricObject, MetricObjectWithValues, MetricValue } from 'prom-client';
import { type MeasureName, type Measures, measureRows } from '../../common/measures.ts';
import { createIncreases } from '../../common/registry-reading.ts';
import { inSlices } from '../../common/slices.ts';

type Measure = MetricObject & MetricObjectWithValues<MetricValue<string> & { readonly metricName?: string }>;

interface ProducerOptions {
  readonly measures: Pick<Measures, 'registry' | 'fullName'>;
  readonly scope: { readonly name: string; readonly version: string };
  /** Counters and histograms tell what was added since the last export. */
  readonly isDelta: boolean;
  /** More metrics, computed at each export; `at`: Unix ms. */
  more?(at: number): Generator<unknown, MetricData[]>;
}

const INIT_REASON = 'launchdarkly.relay.init.reason';
/** Series that are converted between two yields. */
const SERIES_AT_ONCE = 200;

export function createRegistryProducer(options: ProducerOptions): MetricProducer {
  const { measures: own, scope, isDelta } = options;
  const units = new Map(Object.entries(measureRows).map(([name, { unit }]) => [own.fullName(name), unit]));
  const unitOf = (name: string): string => {
    const unit = units.get(name);
    return unit === undefined ? unitByName(name) : (UCUM[unit] ?? `{${unit}}`);
  };
  const startedAt = Date.now();
  let previousAt = startedAt;
  const increases = createIncreases();

  function* convert(measures: readonly Measure[], at: number): Generator<unknown, MetricData[]> {
    const times = {
      startTime: millisToHrTime(isDelta ? previousAt : startedAt),
      endTime: millisToHrTime(at),
      temporality: isDelta ? AggregationTemporality.DELTA : AggregationTemporality.CUMULATIVE,
    };
    /** Of a total, what was added since the last export if that is asked for. */
    const added = (id: string, total: number): number => (isDelta ? increases.of(id, total) : total);
    const metrics: MetricData[] = [];
    for (const measure of measures) {
      const converted = yield* metricOf(measure, unitOf(measure.name), times, added);
      if (converted && converted.dataPoints.length > 0) metrics.push(converted);
    }
    metrics.push(...sumsOf(metrics, own.fullName));
    increases.next();
    previousAt = at;
    return metrics;
  }

  return {
    async collect(): Promise<CollectionResult> {
      const at = Date.now();
      const measures = (await own.registry.getMetricsAsJSON()) as Measure[];
      const metrics = await inSlices(convert(measures, at));
      const more = options.more ? await inSlices(options.more(at)) : [];
      const scopeMetrics = [{ scope, metrics: [...metrics, ...more] }];
      // The reader takes the resource of the SDK's own metrics.
      return { resourceMetrics: { resource: emptyResource(), scopeMetrics }, errors: [] };
    },
  };
}

interface RegistrySum {
  readonly name: string;
  readonly unit: string;
  readonly help: string;
  readonly from: readonly SumSource[];
}

interface SumSource {
  /** All sources of a sum are of one kind. */
  readonly of: MeasureName;
  /** Only series with this label. */
  readonly where?: Readonly<Record<string, string>>;
  /** It counts what is not to be in the sum. */
  readonly isLess?: boolean;
  /** The series of the sum that a series of the relay's belongs to. */
  attributes(labels: Readonly<Record<string, string>>): Attributes;
}

const environmentOf = ({ env = '' }): Attributes => ({ 'launchdarkly.environment.name': env });
const none = (): Attributes => ({});
const REASONS: Readonly<Record<string, string>> = { client: 'client_gone', memory: 'budget_full' };
const turnedAway = { of: 'streams_refused_total', where: { reason: 'queue' } } as const;

/** Metrics of ld-relay 9 that are sums of the relay's own, which have more labels. Rows in docs/opentelemetry.md. */
export const registrySums: readonly RegistrySum[] = [
  {
    name: 'launchdarkly.relay.events.sent',
    unit: '{event}',
    help: 'Events that LaunchDarkly accepted, after summarising',
    from: [{ of: 'events_forwarded_total', attributes: environmentOf }],
  },
  {
    name: 'launchdarkly.relay.events.sent.size',
    unit: 'By',
    help: 'Payloads of events that LaunchDarkly accepted, before compression',
    from: [{ of: 'events_forwarded_bytes_total', attributes: environmentOf }],
  },
  {
    name: 'launchdarkly.relay.events.failed',
    unit: '{event}',
    help: 'Events and diagnostic events that were sent, not accepted, and given up',
    from: [
      {
        of: 'events_failed_total',
        attributes: ({ env = '', status = '' }) => ({
          ...environmentOf({ env }),
          'error.type': status === '' ? '_OTHER' : status,
          ...(status !== '' && { 'http.response.status_code': Number(status) }),
        }),
      },
    ],
  },
  {
    name: 'launchdarkly.relay.events.dropped',
    unit: '{event}',
    help: 'Events and diagnostic events that were dropped before they were sent',
    from: [
      { of: 'events_dropped_total', attributes: environmentOf },
      { of: 'events_failed_total', isLess: true, attributes: environmentOf },
    ],
  },
  {
    name: 'launchdarkly.relay.events.pending',
    unit: '{event}',
    help: 'Events that wait to be sent, or are being sent',
    from: [{ of: 'events_pending', attributes: environmentOf }],
  },
  {
    name: 'launchdarkly.relay.init.slots.held',
    unit: '{slot}',
    help: 'Places for first payloads that are taken, by streams that are slow to read theirs',
    from: [{ of: 'streams_starting', attributes: none }],
  },
  {
    name: 'launchdarkly.relay.init.queue.waiting',
    unit: '{request}',
    help: 'Streams that wait for such a place',
    from: [{ of: 'streams_waiting', attributes: none }],
  },
  {
    name: 'launchdarkly.relay.init.admitted',
    unit: '{request}',
    help: 'Streams that were let in to get their first payload, at once or after a wait',
    from: [{ of: 'streams_admitted_total', attributes: none }],
  },
  {
    name: 'launchdarkly.relay.init.rejected',
    unit: '{request}',
    help: 'Streams that got none; `launchdarkly.relay.init.reason` says why',
    from: [
      { ...turnedAway, attributes: () => ({ [INIT_REASON]: 'budget_full' }) },
      {
        of: 'streams_unserved_total',
        attributes: ({ reason = '' }) => ({ [INIT_REASON]: REASONS[reason] ?? reason }),
      },
    ],
  },
  {
    name: 'launchdarkly.relay.init.sheds',
    unit: '{request}',
    help: 'Streams that were turned away because places and queue were full; `launchdarkly.relay.init.transport` is `stream`',
    from: [{ ...turnedAway, attributes: () => ({ 'launchdarkly.relay.init.transport': 'stream' }) }],
  },
];

/** Those of which there is something to tell. `told`: the relay's own metrics. */
function sumsOf(told: readonly MetricData[], fullName: Measures['fullName']): MetricData[] {
  const byName = new Map(told.map((metric) => [metric.descriptor.name, metric]));
  return registrySums.flatMap(({ name, unit, help: description, from }) => {
    const points = new Map<string, DataPoint<number>>();
    let like: SumMetricData | GaugeMetricData | undefined;
    for (const { of, where = {}, isLess = false, attributes } of from) {
      const metric = byName.get(fullName(of));
      if (metric?.dataPointType !== DataPointType.SUM && metric?.dataPointType !== DataPointType.GAUGE) continue;
      for (const point of metric.dataPoints) {
        const labels = point.attributes as Readonly<Record<string, string>>;
        if (Object.entries(where).some(([label, value]) => labels[label] !== value)) continue;
        const own = attributes(labels);
        const id = JSON.stringify(own);
        const before = points.get(id)?.value ?? 0;
        points.set(id, {
          ...point,
          attributes: own,
          value: Math.max(0, before + (isLess ? -point.value : point.value)),
        });
      }
      like ??= metric;
    }
    if (!like || points.size === 0) return [];
    return [{ ...like, descriptor: { ...like.descriptor, name, unit, description }, dataPoints: [...points.values()] }];
  });
}

interface Times {
  readonly startTime: HrTime;
  readonly endTime: HrTime;
  /** Of counters and histograms. */
  readonly temporality: AggregationTemporality;
}

type Added = (id: string, total: number) => number;

/** Undefined for a kind that the relay does not have. */
function* metricOf(
  measure: Measure,
  unit: string,
  times: Times,
  added: Added,
): Generator<unknown, MetricData | undefined> {
  const { name, help: description, values } = measure;
  // prom-client's types call it a number.
  const type = String(measure.type);
  const descriptor = { name, description, unit, valueType: ValueType.DOUBLE };
  const { temporality: aggregationTemporality, startTime, endTime } = times;
  if (type === 'histogram') {
    const dataPoints = yield* histogramsOf(measure, times, added);
    return { descriptor, aggregationTemporality, dataPointType: DataPointType.HISTOGRAM, dataPoints };
  }
  if (type !== 'counter' && type !== 'gauge') return undefined;
  const dataPoints: DataPoint<number>[] = [];
  for (const [index, { labels, value }] of values.entries()) {
    if (index % SERIES_AT_ONCE === SERIES_AT_ONCE - 1) yield;
    if (!Number.isFinite(value)) continue;
    const attributes = attributesOf(labels);
    const told = type === 'counter' ? added(idOf(name, labels), value) : value;
    dataPoints.push({ startTime, endTime, attributes, value: told });
  }
  if (type === 'gauge') return { descriptor, aggregationTemporality, dataPointType: DataPointType.GAUGE, dataPoints };
  return { descriptor, aggregationTemporality, dataPointType: DataPointType.SUM, isMonotonic: true, dataPoints };
}

interface Series {
  readonly labels: Readonly<Record<string, string | number>>;
  readonly bounds: number[];
  /** Up to each bound, and above the last. */
  readonly upTo: number[];
  sum: number;
  count: number;
}

function* histogramsOf(
  { name, values }: Measure,
  times: Times,
  added: Added,
): Generator<unknown, DataPoint<Histogram>[]> {
  const series = new Map<string, Series>();
  for (const [index, { metricName = '', labels: all, value }] of values.entries()) {
    if (index % SERIES_AT_ONCE === SERIES_AT_ONCE - 1) yield;
    const { le, ...labels } = all as Record<string, string | number>;
    const id = idOf(name, labels);
    const one = series.get(id) ?? { labels, bounds: [], upTo: [], sum: 0, count: 0 };
    series.set(id, one);
    if (metricName.endsWith('_sum')) one.sum = value;
    else if (metricName.endsWith('_count')) one.count = value;
    else if (le !== undefined) {
      one.upTo.push(value);
      if (le !== '+Inf') one.bounds.push(Number(le));
    }
  }
  return [...series].map(([id, { labels, bounds: boundaries, upTo, sum, count }]) => {
    const counts = upTo.map((value, index) => added(`${id} ${index}`, value - (upTo[index - 1] ?? 0)));
    const value = { buckets: { boundaries, counts }, sum: added(`${id} sum`, sum), count: added(`${id} count`, count) };
    return { startTime: times.startTime, endTime: times.endTime, attributes: attributesOf(labels), value };
  });
}

const attributesOf = (labels: object): Record<string, string> =>
  Object.fromEntries(Object.entries(labels).map(([name, value]) => [name, String(value)]));

const idOf = (name: string, labels: object): string => `${name}${JSON.stringify(Object.entries(labels).sort())}`;

/** Units that are no things in braces. */
const UCUM: Readonly<Record<string, string>> = { second: 's', timestamp: 's', byte: 'By', number: '' };

/** Of Node's own metrics; '' for plain numbers. */
function unitByName(name: string): string {
  const [, unit = ''] = /_(seconds|bytes)(?:_total)?$/.exec(name) ?? [];
  return { seconds: 's', bytes: 'By' }[unit] ?? '';
}
