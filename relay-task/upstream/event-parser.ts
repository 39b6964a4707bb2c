/**
 * Server-sent events, as https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation reads them, except that
 * an `id` without an event has no effect. Works on bytes outside V8's heap, so that neither long events nor many lines cost more than their
 * size.
 */
import { isAscii } from 'node:buffer';
import { LARGE_BYTES } from './large.ts';
import { bytesOf, describeTooLarge } from './received-limit.ts';

export interface ServerSentEvent {
  readonly event: string | undefined;
  readonly data: string;
  /** '' withdraws the last one. */
  readonly id: string | undefined;
}

/** One of more than `LARGE_BYTES`, whose data takes too long to decode in one turn. */
export interface LongEvent extends Omit<ServerSentEvent, 'data'> {
  readonly bytes: Buffer;
}

interface EventParser {
  /** Of the event that is arriving. */
  readonly heldBytes: number;
  /** Adds bytes; all of those before must have been read. */
  feed(chunk: Buffer): void;
  /** The next event, or why no more can be read; undefined: more bytes are needed. */
  next(): ServerSentEvent | LongEvent | { readonly problem: string } | undefined;
}

export interface EventParserOptions {
  /** Of one event, as text in memory. */
  readonly maxBytes: number;
  /** A line that is not part of an event. */
  onIgnored(reason: string): void;
}

const LF = 0x0a;
const CR = 0x0d;
const COLON = 0x3a;
const SPACE = 0x20;
const BYTE_ORDER_MARK = Buffer.from('\uFEFF');
const DATA = Buffer.from('data');
const EVENT = Buffer.from('event');
const ID = Buffer.from('id');
const RETRY = Buffer.from('retry');

const FIRST_BYTES = 4 * 1024;
/** A buffer that grew beyond this is released after its event. */
const KEPT_BYTES = 64 * 1024;
/** Between two events. A peer that sends more of them does not send events. */
const MOST_IGNORED_LINES = 1_000;
/** Longer event names are unknown in any case, and longer IDs fit into no header. */
const LONGEST_NAME = 1_000;
const SHOWN_CHARACTERS = 20;

export function createEventParser({ maxBytes, onIgnored }: EventParserOptions): EventParser {
  let chunk: Buffer = Buffer.alloc(0);
  let at = 0;
  /** The data of the event so far, followed by the line that is arriving. */
  let held: Buffer = Buffer.allocUnsafeSlow(FIRST_BYTES);
  let dataEnd = 0;
  let end = 0;
  let hasData = false;
  let event: string | undefined;
  let id: string | undefined;
  const ignored = createIgnored(onIgnored);
  let isAfterCR = false;
  let isFirstLine = true;

  function hold(from: number, to: number): void {
    const neededBytes = end + to - from;
    if (neededBytes > held.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(neededBytes, Math.min(2 * held.length, maxBytes)));
      held.copy(larger, 0, 0, end);
      held = larger;
    }
    chunk.copy(held, end, from, to);
    end = neededBytes;
  }

  function endEvent(): ReturnType<EventParser['next']> {
    const found = hasData ? eventOf(held.subarray(0, dataEnd), event, id) : undefined;
    // A long event keeps the buffer.
    if (held.length > KEPT_BYTES) held = Buffer.allocUnsafeSlow(FIRST_BYTES);
    dataEnd = 0;
    end = 0;
    hasData = false;
    event = undefined;
    id = undefined;
    if (found) ignored.reset();
    const isTooLarge = found && 'data' in found && bytesOf(found.data) > maxBytes;
    return isTooLarge ? { problem: describeTooLarge('an event', maxBytes) } : found;
  }

  /** Adds the line that has arrived, without its end, to the event. */
  function endLine(): ReturnType<EventParser['next']> {
    let from = dataEnd;
    if (isFirstLine && startsWith(held, from, end, BYTE_ORDER_MARK)) from += BYTE_ORDER_MARK.length;
    isFirstLine = false;
    if (from === end) return endEvent();
    const to = end;
    end = dataEnd;
    const nameEnd = colonIn(held, from, to);
    // A comment.
    if (nameEnd === from) return undefined;
    const start = valueStart(held, nameEnd, to);
    if (isName(held, from, nameEnd, DATA)) addData(start, to);
    else if (isName(held, from, nameEnd, EVENT)) event = beginning(held, start, to) || undefined;
    else if (isName(held, from, nameEnd, ID)) id = idIn(held, start, to) ?? id;
    else if (!isName(held, from, nameEnd, RETRY)) return ignored.add(`Unknown field "${short(held, from, nameEnd)}"`);
    else if (!/^\d+$/.test(beginning(held, start, to)))
      return ignored.add(`Invalid \`retry\` value: "${short(held, start, to)}"`);
    return undefined;
  }

  function addData(start: number, to: number): void {
    // There is room for the line feed, since the name of the field is dropped.
    if (hasData) held[dataEnd++] = LF;
    if (start < to) held.copyWithin(dataEnd, start, to);
    dataEnd += to - start;
    end = dataEnd;
    hasData = true;
  }

  return {
    get heldBytes() {
      return end;
    },
    feed(bytes) {
      chunk = bytes;
      at = 0;
    },
    next() {
      while (at < chunk.length) {
        if (isAfterCR && chunk[at] === LF) at += 1;
        isAfterCR = false;
        let to = at;
        while (to < chunk.length && chunk[to] !== LF && chunk[to] !== CR) to += 1;
        if (end + to - at > maxBytes) return { problem: describeTooLarge('an event', maxBytes) };
        hold(at, to);
        at = to;
        if (to === chunk.length) return undefined;
        at += 1;
        isAfterCR = chunk[to] === CR;
        const found = endLine();
        if (found) return found;
      }
      return undefined;
    },
  };
}

function eventOf(bytes: Buffer, event: string | undefined, id: string | undefined): ServerSentEvent | LongEvent {
  return bytes.length > LARGE_BYTES ? { event, id, bytes } : { event, id, data: textOf(bytes) };
}

/** '' for a long one, which fits into no header; undefined: it has no effect. */
function idIn(line: Buffer, from: number, to: number): string | undefined {
  const value = beginning(line, from, to);
  if (value.includes('\0')) return undefined;
  return to - from > LONGEST_NAME ? '' : value;
}

/** Counts the lines since the last event that are not part of one. */
function createIgnored(onIgnored: (reason: string) => void) {
  let lines = 0;
  return {
    add(reason: string): { readonly problem: string } | undefined {
      lines += 1;
      if (lines > MOST_IGNORED_LINES)
        return {
          problem: `more than ${MOST_IGNORED_LINES} lines that are not part of an event; the last one: ${reason}`,
        };
      onIgnored(reason);
      return undefined;
    },
    reset(): void {
      lines = 0;
    },
  };
}

function textOf(bytes: Buffer): string {
  if (bytes.length === 0) return '';
  // Much faster for long texts, which are mostly ASCII.
  return bytes.toString(bytes.length > FIRST_BYTES && isAscii(bytes) ? 'latin1' : 'utf8');
}

/** Where a line's name ends: at its first colon, or at its end. */
function colonIn(bytes: Buffer, from: number, to: number): number {
  let at = from;
  while (at < to && bytes[at] !== COLON) at += 1;
  return at;
}

/** After the colon and one space. */
function valueStart(bytes: Buffer, nameEnd: number, to: number): number {
  if (nameEnd === to) return to;
  return nameEnd + (bytes[nameEnd + 1] === SPACE && nameEnd + 1 < to ? 2 : 1);
}

// These are called for every line; texts or views of it would cost more than everything else.
function startsWith(bytes: Buffer, from: number, to: number, prefix: Buffer): boolean {
  if (to - from < prefix.length) return false;
  for (let at = 0; at < prefix.length; at += 1) if (bytes[from + at] !== prefix[at]) return false;
  return true;
}

function isName(bytes: Buffer, from: number, to: number, name: Buffer): boolean {
  return to - from === name.length && startsWith(bytes, from, to, name);
}

function beginning(bytes: Buffer, from: number, to: number): string {
  return bytes.toString('utf8', from, Math.min(to, from + LONGEST_NAME));
}

function short(bytes: Buffer, from: number, to: number): string {
  const text = beginning(bytes, from, to);
  return text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS)}…` : text;
}
