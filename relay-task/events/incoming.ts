import { isUtf8 } from 'node:buffer';
import { isObject, type JsonObject } from '../common/json.ts';
import type { Fields } from './tracking.ts';

/** One event and its exact JSON text. */
export interface IncomingEvent {
  readonly fields: Fields;
  readonly text: string;
}

/** Undefined for anything but one JSON object in UTF-8. */
export function parseObject(bytes: Buffer): JsonObject | undefined {
  if (!isUtf8(bytes)) return undefined;
  try {
    const value: unknown = JSON.parse(bytes.toString());
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
