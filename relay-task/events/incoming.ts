import { isUtf8 } from 'node:buffer';
import { isObject } from '../common/json.ts';
import { elementsOf } from '../common/json-text.ts';
import { type Fields, fieldsOf } from './tracking.ts';

/** One event and its exact JSON text. */
export interface IncomingEvent {
  readonly fields: Fields;
  readonly text: string;
}

/** A parsed request body. */
export interface Incoming {
  readonly events: readonly IncomingEvent[];
  /** How many elements were not events. */
  readonly malformed: number;
  /** The body was a diagnostic event: js-core retries a failed one on the analytics path. */
  readonly isDiagnostic?: true;
}

/**
 * Validates a body before its events are batched with others: LaunchDarkly rejects a whole batch for one invalid event.
 */
export function parseIncoming(body: Buffer): Incoming {
  const value = parse(body);
  if (isDiagnosticEvent(value)) return { events: [], malformed: 0, isDiagnostic: true };
  if (!Array.isArray(value)) return { events: [], malformed: 1 };
  const texts = elementsOf(body.toString());
  const all = value.map((element: unknown, index) => ({ element, text: texts[index] as string }));
  const events = all.filter(({ element }) => isObject(element));
  return {
    events: events.map(({ element, text }) => ({ fields: fieldsOf(element), text })),
    malformed: all.length - events.length,
  };
}

/** Whether the body is one JSON object. */
export function isEvent(body: Buffer): boolean {
  return isObject(parse(body));
}

/** Undefined for invalid JSON. */
function parse(body: Buffer): unknown {
  if (!isUtf8(body)) return undefined;
  try {
    return JSON.parse(body.toString());
  } catch {
    return undefined;
  }
}

/** `diagnostic-init`, `diagnostic`, `diagnostic-combined` … */
function isDiagnosticEvent(value: unknown): boolean {
  const { kind } = fieldsOf(value);
  return typeof kind === 'string' && kind.startsWith('diagnostic');
}
