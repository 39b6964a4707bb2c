/** Spans of OpenTelemetry's SDK behind the relay's own type. The span is handed on, since work in slices has no asynchronous context. */
import {
  type Attributes,
  type Context,
  ROOT_CONTEXT,
  type Span as SdkSpan,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  trace,
} from '@opentelemetry/api';
import { cutText } from '../../common/json.ts';
import { redactSecrets } from '../../common/secrets.ts';
import type { Span, SpanAttributes } from '../../ports.ts';

/** Unix ms of what `performance.now()` says: one for each trace, so that a step of the clock moves none of its spans against the others. */
type Clock = (at: number) => number;

export function clockOf(): Clock {
  const offset = Date.now() - performance.now();
  return (at) => at + offset;
}

interface Begin {
  readonly name: string;
  readonly kind?: SpanKind;
  readonly attributes?: SpanAttributes;
  readonly parent?: Context;
  /** `performance.now()` */
  readonly since: number;
  readonly clock: Clock;
}

const LONGEST_PROBLEM = 300;

/** Undefined: it is not sampled. */
export function beginSpan(tracer: Tracer, begin: Begin): RecordedSpan | undefined {
  const { name, kind = SpanKind.INTERNAL, attributes = {}, parent = ROOT_CONTEXT, since, clock } = begin;
  const span = tracer.startSpan(name, { kind, attributes: attributes as Attributes, startTime: clock(since) }, parent);
  return span.isRecording() ? new RecordedSpan(tracer, span, clock) : undefined;
}

export class RecordedSpan implements Span {
  readonly #tracer: Tracer;
  readonly #span: SdkSpan;
  readonly #clock: Clock;

  constructor(tracer: Tracer, span: SdkSpan, clock: Clock) {
    this.#tracer = tracer;
    this.#span = span;
    this.#clock = clock;
  }

  set(attributes: SpanAttributes): void {
    this.#span.setAttributes(attributes as Attributes);
  }

  child(name: string, attributes: SpanAttributes = {}, since = performance.now()): RecordedSpan {
    const startTime = this.#clock(since);
    const parent = trace.setSpan(ROOT_CONTEXT, this.#span);
    const span = this.#tracer.startSpan(name, { attributes: attributes as Attributes, startTime }, parent);
    return new RecordedSpan(this.#tracer, span, this.#clock);
  }

  end(problem?: string): void {
    if (problem !== undefined) {
      const message = redactSecrets(cutText(problem, LONGEST_PROBLEM));
      this.#span.setStatus({ code: SpanStatusCode.ERROR, ...(message !== '' && { message }) });
    }
    this.#span.end(this.#clock(performance.now()));
  }
}
