/** How much LaunchDarkly may send at once: an event, the items of a transfer, the answer to a poll. */
import { VALUE_BYTES } from '../common/json-text.ts';
import { type ProcessLimits, processLimits } from '../common/process-limits.ts';

const MEBIBYTE = 1024 * 1024;

/**
 * In bytes. While it is read, a whole set of flags is held several times: as it arrived, in parts, and as the items that memory
 * still has.
 */
export function receivedLimit({ memoryBytes, heapBytes }: ProcessLimits = processLimits()): number {
  return Math.max(8 * MEBIBYTE, Math.floor(Math.min(memoryBytes, heapBytes) / 6));
}

/** Parsing these takes some ten milliseconds. The largest items that LaunchDarkly sends have a tenth of them. */
const MOST_PARSED_VALUES = 250_000;

/** How many values of JSON may be held. */
export function mostValuesIn(maxBytes: number): number {
  return Math.floor(maxBytes / VALUE_BYTES);
}

/** How many values of JSON may be parsed in one turn of the event loop. */
export function mostParsedIn(maxBytes: number): number {
  return Math.min(MOST_PARSED_VALUES, mostValuesIn(maxBytes));
}

/** `what` begins the sentence: "an event". */
export function describeTooLarge(what: string, limitBytes: number): string {
  const limit = limitBytes < MEBIBYTE ? `${limitBytes} bytes` : `${Math.floor(limitBytes / MEBIBYTE)} MiB`;
  return `${what} takes more than ${limit}, the most that fits into this relay's memory: give it more memory, or send less`;
}

/** Bytes that a text takes in memory: V8 has one or two for each character. */
export function bytesOf(text: string): number {
  return /[^\0-\xff]/.test(text) ? 2 * text.length : text.length;
}
