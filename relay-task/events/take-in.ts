/** Reads a request body in slices: a body of 10 MiB of tiny events would otherwise hold the event loop for seconds. */
import { isUtf8 } from 'node:buffer';
import { isObject, type JsonObject } from '../common/json.ts';
import { OPEN_BRACE } from '../common/json-codes.ts';
import { type ElementRange, elementsIn } from '../common/json-elements.ts';
import { MAX_DEPTH, MAX_VALUES, shapeOf } from '../common/json-shape.ts';
import { parseInSlices } from '../common/sliced-json.ts';
import { type IncomingEvent, parseObject } from './incoming.ts';
import type { EventQueue } from './queues.ts';
import { fieldsOf, MAX_SUMMARISED_BYTES } from './tracking.ts';

/** Where the parts of a body go. */
interface Sink {
  /** Ask for it each time: between two uses a queue may be removed, and then nothing flushes it. */
  queue(): Pick<EventQueue, 'summary' | 'seen' | 'room' | 'add'>;
  /** Whose events they are. */
  readonly sender: string;
  /** Reads in steps what `outgoing` needs for this event. */
  prepare(event: IncomingEvent): Generator<void, unknown>;
  /** The JSON texts to be sent for these events. */
  outgoing(events: readonly IncomingEvent[], queue: Pick<EventQueue, 'summary' | 'seen'>): readonly string[];
  received(events: number): void;
  dropped(reason: 'malformed' | 'too-large' | 'capacity', events: number): void;
  /** The whole body is a diagnostic event. */
  diagnostic(): void;
}

/** Of a diagnostic event, which has some KB in SDKs: what it is made of, and each connection of the last quarter of an hour. */
export const MAX_DIAGNOSTIC_BYTES = 256 * 1024;
/** An event above this is dropped. */
const MAX_EVENT_BYTES = 1024 * 1024;
/** What is parsed in one go. */
const PARSED_BYTES = 128 * 1024;
/** `{"kind":"x"}`; anything shorter is not an event and need not be parsed. */
const LEAST_EVENT_BYTES = 12;
/** How much is collected before it goes into the queue: little, since many bodies are read in turn and hold it meanwhile. */
const COLLECTED_BYTES = 64 * 1024;

/** Other work may run between two yields; a body of some KB is taken in without any. */
export function* takeIn(body: Buffer, sink: Sink): Generator<void, void> {
  const kind = isUtf8(body) ? yield* whatIs(body) : 'malformed';
  if (kind === 'diagnostic') return sink.diagnostic();
  if (kind === 'malformed') {
    sink.received(1);
    return sink.dropped('malformed', 1);
  }
  yield* takeElements(body, sink);
}

/** An SDK that failed to send a diagnostic event retries it on the path of the others. */
function* whatIs(body: Buffer): Generator<void, 'events' | 'diagnostic' | 'malformed'> {
  if (body.subarray(0, PARSED_BYTES).toString('latin1').trimStart().charCodeAt(0) === OPEN_BRACE) {
    const { kind } = fieldsOf(body.length <= PARSED_BYTES ? parseDiagnostic(body) : undefined);
    return typeof kind === 'string' && kind.startsWith('diagnostic') ? 'diagnostic' : 'malformed';
  }
  const elements = elementsIn(body);
  for (;;) {
    const { done, value } = elements.next();
    if (done) return value ? 'events' : 'malformed';
    if (!value) yield;
  }
}

function* takeElements(body: Buffer, sink: Sink): Generator<void, void> {
  const first = sink.queue();
  const isSummarised = first.summary !== undefined;
  let room = first.room(sink.sender);
  let elements = 0;
  const lost = { malformed: 0, 'too-large': 0, capacity: 0 };
  let events: IncomingEvent[] = [];
  let texts: string[] = [];
  let textBytes = 0;

  const prepare = () => {
    for (const text of events.length > 0 ? sink.outgoing(events, sink.queue()) : []) {
      texts.push(text);
      textBytes += text.length;
    }
    events = [];
  };
  const hand = () => {
    prepare();
    const queue = sink.queue();
    if (texts.length > 0) queue.add(texts, sink.sender);
    room = queue.room(sink.sender);
    texts = [];
    textBytes = 0;
  };
  const isFull = () => !isSummarised && room <= texts.length + events.length;

  for (const range of elementsIn(body)) {
    if (!range) {
      prepare();
      if (textBytes >= COLLECTED_BYTES) hand();
      yield;
      room = sink.queue().room(sink.sender);
      continue;
    }
    elements += 1;
    if (isFull()) hand();
    const event = isFull() ? 'capacity' : yield* readEvent(body, range, isSummarised);
    if (typeof event === 'string') lost[event] += 1;
    else {
      if (isSummarised) yield* sink.prepare(event);
      events.push(event);
    }
  }
  hand();
  sink.received(elements);
  for (const reason of ['malformed', 'too-large', 'capacity'] as const)
    if (lost[reason] > 0) sink.dropped(reason, lost[reason]);
}

/** LaunchDarkly rejects a whole batch for one invalid event, such as one without a kind. */
function* readEvent(
  body: Buffer,
  { from, to }: ElementRange,
  isSummarised: boolean,
): Generator<void, IncomingEvent | 'malformed' | 'too-large'> {
  if (to - from < LEAST_EVENT_BYTES) return 'malformed';
  const maxBytes = isSummarised ? MAX_SUMMARISED_BYTES : MAX_EVENT_BYTES;
  if (to - from > maxBytes) return 'too-large';
  const bytes = body.subarray(from, to);
  const { depth, values } = shapeOf(bytes);
  if (depth > MAX_DEPTH) return 'malformed';
  if (isSummarised && values > MAX_VALUES) return 'too-large';
  const value = isSummarised || to - from <= PARSED_BYTES ? parseObject(bytes) : yield* parseLarge(bytes);
  if (!isObject(value) || typeof value.kind !== 'string' || value.kind === '') return 'malformed';
  return { fields: value, text: bytes.toString() };
}

/** Undefined if it is not a diagnostic event: one JSON object with little nesting and few values. */
export function parseDiagnostic(body: Buffer): JsonObject | undefined {
  const { depth, values } = shapeOf(body);
  return depth > MAX_DEPTH || values > MAX_VALUES ? undefined : parseObject(body);
}

function* parseLarge(bytes: Buffer): Generator<void, unknown> {
  try {
    return yield* parseInSlices(bytes, { only: ['kind'] });
  } catch {
    return undefined;
  }
}
