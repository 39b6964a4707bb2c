/** How much LaunchDarkly may send at once: an event, the items of a transfer, the answer to a poll. */
import { type Budget, createShare } from '../common/budget.ts';
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

/**
 * In bytes: of everything that LaunchDarkly has not sent to its end yet, over all environments. What is alone gets half of it
 * (`createShare`), which is all that it may send at once.
 */
export function receivedMemoryBytes(limits?: ProcessLimits): number {
  return 2 * receivedLimit(limits);
}

/** What a stream or a transfer holds at present, out of its share of the memory for what is not there to its end yet. */
export interface Received {
  /** It holds so many bytes now. Returns why it may not: then it counts as before, and must be given up. */
  hold(bytes: number): string | undefined;
}

/** `what` begins the sentence: "an event". `memory`: undefined without a limit. */
export function createReceived(what: string, memory: Budget | undefined): Received {
  if (!memory) return { hold: () => undefined };
  const share = createShare(memory);
  return {
    hold(bytes) {
      const more = bytes - share.usedBytes;
      // At most as much as is free afterwards.
      if (more > 0 && (more > share.freeBytes / 2 || !share.reserve(more))) return describeNoRoom(what, bytes, memory);
      if (more < 0) share.release(-more);
      return undefined;
    },
  };
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
  return `${what} takes more than ${sizeText(limitBytes)}, the most that fits into this relay's memory: give it more memory, or send less`;
}

function describeNoRoom(what: string, bytes: number, { maxBytes, usedBytes }: Budget): string {
  const taken = `of which ${sizeText(usedBytes)} are taken`;
  return `${what} takes ${sizeText(bytes)} so far and finds no room: all that LaunchDarkly is still sending may take ${sizeText(maxBytes)}, ${taken}`;
}

function sizeText(bytes: number): string {
  return bytes < MEBIBYTE ? `${bytes} bytes` : `${Math.floor(bytes / MEBIBYTE)} MiB`;
}

/** Bytes that a text takes in memory: V8 has one or two for each character. */
export function bytesOf(text: string): number {
  return /[^\0-\xff]/.test(text) ? 2 * text.length : text.length;
}
