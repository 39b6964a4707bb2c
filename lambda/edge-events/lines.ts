/** Reads what a subscription of a log hands over. */
import { gunzipSync } from 'node:zlib';
import { isObject, type JsonObject } from '../../relay-task/common/json.ts';
import { EXPOSURES_MARK } from '../edge-reader/exposures-line.ts';
import { type LaunchDarklyEvent, problemIn } from './events.ts';

/** The event of a function that subscribes to a log: base64 of gzip of JSON. AWS: "Log group-level subscription filters". */
export interface SubscriptionEvent {
  readonly awslogs: { readonly data: string };
}

export interface LogEvent {
  readonly id: string;
  readonly message: string;
}

export interface LogBatch {
  readonly logGroup: string;
  readonly logEvents: readonly LogEvent[];
}

/** What a line says. */
export interface Line {
  readonly events: readonly LaunchDarklyEvent[];
  /** Why parts of it could not be used, or all of it. */
  readonly problems: readonly string[];
  /** What the function that wrote it could not write. */
  readonly lost: number;
}

/** Of a batch that was decompressed. CloudWatch Logs sends at most 1 MB, compressed. */
const MOST_BYTES = 64 * 1024 * 1024;
const START = `{"${EXPOSURES_MARK}":`;
const NONE: Line = { events: [], problems: [], lost: 0 };

/** Throws an Error if it is no batch of log events. Batches by which CloudWatch Logs tests a subscription are empty. */
export function parseBatch(event: unknown): LogBatch {
  const data = isObject(event) && isObject(event.awslogs) ? event.awslogs.data : undefined;
  if (typeof data !== 'string')
    throw new Error('the event has no awslogs.data: it is not from a subscription of a log');
  const batch: unknown = JSON.parse(
    gunzipSync(Buffer.from(data, 'base64'), { maxOutputLength: MOST_BYTES }).toString(),
  );
  const { messageType, logGroup, logEvents } = isObject(batch) ? batch : {};
  if (messageType === 'CONTROL_MESSAGE') return { logGroup: '', logEvents: [] };
  const isRight = Array.isArray(logEvents) && logEvents.every(isLogEvent);
  if (!isRight) throw new Error('the batch has no list of log events with id and message');
  return { logGroup: String(logGroup), logEvents };
}

function isLogEvent(value: unknown): value is LogEvent {
  return isObject(value) && typeof value.id === 'string' && typeof value.message === 'string';
}

/** Parses one line of a log. A line without the mark has nothing; one that cannot be understood has a problem. */
export function parseLine(message: string): Line {
  if (!message.includes(EXPOSURES_MARK)) return NONE;
  const line = valueIn(message);
  if (!line) return broken('it has no JSON that begins with its mark, for example because it was cut off');
  const { [EXPOSURES_MARK]: format, events, lost } = line;
  if (format !== 1) return broken(`its format is ${JSON.stringify(format)}, and this version reads 1`);
  if (!Array.isArray(events)) return broken('it has no list of events');
  const judged = events.map((event) => ({ event: event as LaunchDarklyEvent, problem: problemIn(event) }));
  const problems = judged.flatMap(({ problem }) => problem ?? []);
  const { evaluations, events: lostEvents } = isObject(lost) ? lost : {};
  return {
    events: judged.flatMap(({ event, problem }) => (problem === undefined ? event : [])),
    problems,
    lost: numberOf(evaluations) + numberOf(lostEvents),
  };
}

/** In Lambda's text format, the line follows time, request and level; in its JSON format it is a member, as a text or as it is. */
function valueIn(message: string): JsonObject | undefined {
  const at = message.indexOf(START);
  const own = at < 0 ? undefined : parsed(message.slice(at));
  if (isObject(own)) return own;
  const whole = parsed(message);
  const inner = isObject(whole) ? whole.message : undefined;
  const value = typeof inner === 'string' && inner.startsWith(START) ? parsed(inner) : inner;
  return isObject(value) && EXPOSURES_MARK in value ? value : undefined;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function broken(problem: string): Line {
  return { ...NONE, problems: [problem] };
}

function numberOf(value: unknown): number {
  return typeof value === 'number' ? value : 0;
}
