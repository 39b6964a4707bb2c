/** Requests as metrics and spans. What is switched off costs nothing: without both there is no watch at all. */
import {
  type Attributes,
  type Counter,
  defaultTextMapGetter,
  type Histogram,
  type Meter,
  ROOT_CONTEXT,
  SpanKind,
  type Tracer,
  type UpDownCounter,
} from '@opentelemetry/api';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import type { CredentialKind, RequestWatch, WatchedHead, WatchedRequest } from '../../ports.ts';
import {
  type Application,
  createApplications,
  identityOf,
  methodOf,
  metricAttributesOf,
  spanAttributesOf,
} from './request-attributes.ts';
import { beginSpan, clockOf, type RecordedSpan } from './spans.ts';

/** In seconds; OpenTelemetry, "Semantic conventions for HTTP metrics". */
const DURATION_BOUNDS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];

interface Instruments {
  readonly active: UpDownCounter;
  readonly requests: Counter;
  readonly duration: Histogram;
  readonly receivedEvents: Counter;
  readonly applicationOf: (head: WatchedHead) => Application;
  /** The series that a request, and its duration, counts in. */
  readonly seriesOf: (attributes: Attributes) => Attributes;
  readonly durationSeriesOf: (attributes: Attributes) => Attributes;
}

/** A row each in docs/opentelemetry.md, by a test. */
export const requestInstruments = {
  active: {
    name: 'http.server.active_requests',
    unit: '{request}',
    help: 'Requests in progress, open streams included',
  },
  requests: { name: 'launchdarkly.relay.requests', unit: '{request}', help: 'Requests, counted when they begin' },
  duration: {
    name: 'http.server.request.duration',
    unit: 's',
    help: 'From the head of a request to the end of its answer; not of streams',
  },
  receivedEvents: {
    name: 'launchdarkly.relay.events.received.size',
    unit: 'By',
    help: 'Bodies of events from SDKs, decompressed',
  },
} as const;

export function createInstruments(meter: Meter, mostSeries: number): Instruments {
  const { active, requests, duration, receivedEvents } = requestInstruments;
  const about = ({ unit, help: description }: { readonly unit: string; readonly help: string }) => ({
    unit,
    description,
  });
  const advice = { explicitBucketBoundaries: DURATION_BOUNDS };
  return {
    active: meter.createUpDownCounter(active.name, about(active)),
    requests: meter.createCounter(requests.name, about(requests)),
    duration: meter.createHistogram(duration.name, { ...about(duration), advice }),
    receivedEvents: meter.createCounter(receivedEvents.name, about(receivedEvents)),
    applicationOf: createApplications(),
    seriesOf: createSeriesLimit(mostSeries),
    durationSeriesOf: createSeriesLimit(mostSeries),
  };
}

const OVERFLOW: Attributes = { 'otel.metric.overflow': true };

/**
 * Limits the series of an instrument: those that come later are one. The SDK's own limit is for one export; cumulative series of the exports
 * before stay besides. And a request must end in the series in which it began.
 */
function createSeriesLimit(most: number): (attributes: Attributes) => Attributes {
  const seen = new Set<string>();
  return (attributes) => {
    const name = Object.values(attributes).join('\n');
    if (seen.has(name)) return attributes;
    if (attributes === OVERFLOW || seen.size >= most - 1) return OVERFLOW;
    seen.add(name);
    return attributes;
  };
}

/** Undefined: there is nothing to tell. */
export function createRequestWatch(
  instruments: Instruments | undefined,
  tracer: Tracer | undefined,
): RequestWatch | undefined {
  if (!instruments && !tracer) return undefined;
  return { begin: (head) => new Watched(head, tracer && beginRequest(tracer, head), instruments) };
}

const propagator = new W3CTraceContextPropagator();

function beginRequest(tracer: Tracer, head: WatchedHead): RecordedSpan | undefined {
  const { headers, route, since } = head;
  const parent =
    headers.traceparent === undefined ? ROOT_CONTEXT : propagator.extract(ROOT_CONTEXT, headers, defaultTextMapGetter);
  const name = route ? `${methodOf(head)} ${route.path}` : methodOf(head);
  const span = beginSpan(tracer, { name, kind: SpanKind.SERVER, parent, since, clock: clockOf() });
  // Most requests are not sampled.
  span?.set(spanAttributesOf(head));
  return span;
}

class Watched implements WatchedRequest {
  readonly span: RecordedSpan | undefined;
  readonly #instruments: Instruments | undefined;
  readonly #since: number;
  readonly #httpVersion: string;
  readonly #isStream: boolean;
  /** Until it is identified. */
  #head: WatchedHead | undefined;
  #attributes: Attributes | undefined = undefined;
  #write: RecordedSpan | undefined = undefined;
  #status = 0;
  #isOver = false;

  constructor(head: WatchedHead, span: RecordedSpan | undefined, instruments: Instruments | undefined) {
    this.span = span;
    this.#instruments = instruments;
    this.#since = head.since;
    this.#httpVersion = head.httpVersion;
    this.#isStream = head.isStream;
    this.#head = head;
  }

  identified(environment: string | undefined, kind: CredentialKind | undefined): void {
    const head = this.#head;
    this.#head = undefined;
    this.span?.set(identityOf(environment, kind));
    const instruments = this.#instruments;
    if (!instruments || !head) return;
    this.#attributes = instruments.seriesOf(metricAttributesOf(head, environment, instruments.applicationOf(head)));
    instruments.requests.add(1, this.#attributes);
    instruments.active.add(1, this.#attributes);
  }

  receivedEvents(bytes: number): void {
    this.span?.set({ 'launchdarkly.relay.payload.size': bytes });
    if (this.#attributes) this.#instruments?.receivedEvents.add(bytes, this.#attributes);
  }

  answered(status: number): void {
    this.#status = status;
    this.span?.set({ 'http.response.status_code': status });
    if (!this.#hasStream()) this.#write = this.span?.child('relay.response.write');
  }

  ended(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const isFailure = this.#status >= 500;
    this.#write?.end();
    if (isFailure) this.span?.set({ 'error.type': String(this.#status) });
    this.span?.end(isFailure ? '' : undefined);
    const instruments = this.#instruments;
    const attributes = this.#attributes;
    if (!instruments || !attributes) return;
    instruments.active.add(-1, attributes);
    if (this.#hasStream()) return;
    const series = attributes === OVERFLOW ? OVERFLOW : { ...attributes, ...this.#outcome(isFailure) };
    instruments.duration.record((performance.now() - this.#since) / 1_000, instruments.durationSeriesOf(series));
  }

  #outcome(isFailure: boolean): Attributes {
    return {
      'http.response.status_code': this.#status,
      'network.protocol.version': this.#httpVersion,
      ...(isFailure && { 'error.type': String(this.#status) }),
    };
  }

  /** One that opened. */
  #hasStream(): boolean {
    return this.#isStream && this.#status === 200;
  }
}
