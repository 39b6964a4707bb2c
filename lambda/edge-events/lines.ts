/** Reads what a subscription of a log hands over. */
import { gunzipSync } from 'node:zlib';
import { isObject, type JsonObject, showJson } from '../../relay-task/common/json.ts';
import { EXPOSURES_MARK } from '../edge-reader/exposures-line.ts';
import { judge, type LaunchDarklyEvent } from './events.ts';

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
const NONE: Line = { events: [], problems: [], lost: 0 };
/** What the reader writes has no line feed, and Lambda ends each message with one. */
const OWN = new RegExp(`^\\{"${EXPOSURES_MARK}":[^\\n\\r]*\\}\\n?$`);
/**
 * What Lambda puts before what `console.log` writes, in its text format: time, request and level. A request has no ID while the module is
 * loaded.
 */
const PREFIX = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\t(?:[\da-f-]{36}|undefined)?\tINFO\t/;
/** The members of a message in Lambda's JSON format. */
const MEMBERS = ['timestamp', 'level', 'requestId', 'tenantId', 'message'];

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

/**
 * Parses one line of a log. A line without the mark has nothing; one that cannot be understood has a problem. Only what the reader wrote as a
 * whole counts: functions also log texts of viewers, who may know the mark, at the end of a message or after a line feed.
 */
export function parseLine(message: string): Line {
  if (!message.includes(EXPOSURES_MARK)) return NONE;
  const line = valueIn(message);
  if (!line)
    return broken('it is no message that the reader wrote as a whole: it was cut off, or has the mark in another text');
  const { [EXPOSURES_MARK]: format, events, lost, ...others } = line;
  if (format !== 1) return broken(`its format is ${showJson(format)}, and this version reads 1`);
  if (!Array.isArray(events)) return broken('it has no list of events');
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) return broken(`it has ${showJson(unknown)}, which the reader does not write`);
  const lostCount = lost === undefined ? 0 : lostIn(lost);
  if (lostCount === undefined) return broken(`it has lost ${showJson(lost)}: no numbers of evaluations and events`);
  const judged = events.map(judge);
  return {
    events: judged.flatMap(({ event }) => event ?? []),
    problems: judged.flatMap(({ problems }) => problems),
    lost: lostCount,
  };
}

/**
 * In Lambda's text format, the line follows a prefix; in its JSON format it is a member, and a text. An object there is one that somebody
 * else logged, such as what a viewer sent.
 */
function valueIn(message: string): JsonObject | undefined {
  const text = message.replace(PREFIX, '');
  if (OWN.test(text)) return objectIn(text);
  const whole = objectIn(message);
  if (whole?.level !== 'INFO' || !Object.keys(whole).every((name) => MEMBERS.includes(name))) return undefined;
  const { message: inner } = whole;
  return typeof inner === 'string' && OWN.test(inner) ? objectIn(inner) : undefined;
}

function objectIn(text: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** How much could not be written; undefined: it does not say. */
function lostIn(lost: unknown): number | undefined {
  const { evaluations, events, ...others } = isObject(lost) ? lost : {};
  const counts = [evaluations, events].filter((count) => Number.isSafeInteger(count) && (count as number) >= 0);
  return counts.length < 2 || Object.keys(others).length > 0
    ? undefined
    : (counts as number[]).reduce((sum, count) => sum + count, 0);
}

function broken(problem: string): Line {
  return { ...NONE, problems: [problem] };
}
