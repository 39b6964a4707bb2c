/**
 * Server-sent events, as https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation reads them,
 * except that an `id` without an event counts for nothing. Works on bytes outside V8's heap, so that neither long events nor many
 * lines cost more than their size.
 */
import { isAscii } from 'node:buffer';
import { bytesOf, describeTooLarge } from './received-limit.ts';

export interface ServerSentEvent {
  readonly event: string | undefined;
  readonly data: string;
  /** '' takes the last one back. */
  readonly id: string | undefined;
}

export interface EventParser {
  /** Of the event that has begun. */
  readonly heldBytes: number;
  /** Adds bytes; all of those before must have been read. */
  feed(chunk: Buffer): void;
  /** The next event, or why no more can be read; undefined: more bytes are needed. */
  next(): ServerSentEvent | { readonly problem: string } | undefined;
}

export interface EventParserOptions {
  /** Of one event, as text in memory. */
  readonly maxBytes: number;
  /** A line that is no part of an event. */
  onIgnored(reason: string): void;
}

const LF = 0x0a;
const CR = 0x0d;
const COLON = 0x3a;
const SPACE = 0x20;
const BYTE_ORDER_MARK = Buffer.from('\uFEFF');

const FIRST_BYTES = 4 * 1024;
/** A buffer that grew beyond this is let go after its event. */
const KEPT_BYTES = 64 * 1024;
/** Between two events. What has more of them sends no events. */
const MOST_IGNORED_LINES = 1_000;
/** Longer names of events are unknown ones, and longer IDs fit into no header. */
const LONGEST_NAME = 1_000;
const SHOWN_CHARACTERS = 20;

export function createEventParser({ maxBytes, onIgnored }: EventParserOptions): EventParser {
  let chunk: Buffer = Buffer.alloc(0);
  let at = 0;
  /** The data of the event so far, and behind it the line that has begun. */
  let held: Buffer = Buffer.allocUnsafeSlow(FIRST_BYTES);
  let dataEnd = 0;
  let end = 0;
  let hasData = false;
  let event: string | undefined;
  let id: string | undefined;
  let ignoredLines = 0;
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
    const bytes = held.subarray(0, dataEnd);
    const found = hasData ? { event, id, data: bytes.toString(isAscii(bytes) ? 'latin1' : 'utf8') } : undefined;
    if (held.length > KEPT_BYTES) held = Buffer.allocUnsafeSlow(FIRST_BYTES);
    dataEnd = 0;
    end = 0;
    hasData = false;
    event = undefined;
    id = undefined;
    if (found) ignoredLines = 0;
    return found && bytesOf(found.data) > maxBytes ? { problem: describeTooLarge('an event', maxBytes) } : found;
  }

  /** The line that has begun, without its end, becomes part of the event. */
  function endLine(): ReturnType<EventParser['next']> {
    let from = dataEnd;
    if (isFirstLine && held.subarray(from, end).indexOf(BYTE_ORDER_MARK) === 0) from += BYTE_ORDER_MARK.length;
    isFirstLine = false;
    if (from === end) return endEvent();
    const to = end;
    end = dataEnd;
    const colon = held.subarray(from, to).indexOf(COLON);
    // A comment.
    if (colon === 0) return undefined;
    const nameEnd = colon < 0 ? to : from + colon;
    const start = colon < 0 ? to : nameEnd + (held[nameEnd + 1] === SPACE && nameEnd + 1 < to ? 2 : 1);
    const name = held.toString('utf8', from, Math.min(nameEnd, from + LONGEST_NAME));
    const value = () => held.toString('utf8', start, Math.min(to, start + LONGEST_NAME));
    switch (name) {
      case 'data':
        // There is room for the line feed: the name goes.
        if (hasData) held[dataEnd++] = LF;
        held.copyWithin(dataEnd, start, to);
        dataEnd += to - start;
        end = dataEnd;
        hasData = true;
        return undefined;
      case 'event':
        event = value() || undefined;
        return undefined;
      case 'id':
        if (!value().includes('\0')) id = to - start > LONGEST_NAME ? '' : value();
        return undefined;
      case 'retry':
        return /^\d+$/.test(value()) ? undefined : ignore(`Invalid \`retry\` value: "${short(value())}"`);
      default:
        return ignore(`Unknown field "${short(name)}"`);
    }
  }

  function ignore(reason: string): ReturnType<EventParser['next']> {
    ignoredLines += 1;
    if (ignoredLines > MOST_IGNORED_LINES)
      return { problem: `more than ${MOST_IGNORED_LINES} lines that are no part of an event, the last one: ${reason}` };
    onIgnored(reason);
    return undefined;
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

function short(text: string): string {
  return text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS)}…` : text;
}
