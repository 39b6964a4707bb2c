/** Server-sent events of a response, read in slices. */
import type { IncomingMessage } from 'node:http';
import { errorText } from '../common/error-text.ts';
import { decodeInSlices } from '../common/sliced-text.ts';
import { inSlices, nextTurn, resultOf, sliceEnd } from '../common/slices.ts';
import { createEventParser, type LongEvent, type ServerSentEvent } from './event-parser.ts';
import { LARGE_BYTES } from './large.ts';
import { createPlace, type PlaceOptions, type PlaceTimes } from './large-place.ts';
import { createLeastPace } from './least-pace.ts';
import { LARGE_CHARACTERS } from './messages.ts';
import { bytesOf, describeTooLarge, type ReceivedPart } from './received-limit.ts';
import { type Failure, invalidData } from './status.ts';

/** What to do after an event: go on, open the stream again at LaunchDarkly's request, or because of a failure. */
type Verdict = Failure | 'reconnect' | undefined;

/** How an event is handled: at once, later, or in steps. The steps of a long event are taken in slices, and only while the connection is open. */
export type Handling = Verdict | Promise<Verdict> | Generator<void, Verdict>;

/** What is transferred in more than one event. */
export interface Transfer {
  /** It has begun and not ended. */
  isOpen(): boolean;
  /** Whether an event may be part of it: all but heartbeats. */
  isPart(event: string | undefined): boolean;
}

export interface ReadEventsTimes extends PlaceTimes {
  /** The stream ends when a large event brings less than 1 byte per ms for this long; 10 s. */
  readonly stallMs?: number;
  /** The same for a transfer; 30 s. */
  readonly transferStallMs?: number;
}

interface ReadEventsOptions extends ReadEventsTimes, Omit<PlaceOptions, 'arrivedBytes'> {
  readonly maxBytes: number;
  /** Where the event that is arriving counts. The caller releases it at the end. */
  readonly begun: ReceivedPart;
  readonly transfer?: Transfer | undefined;
  onIgnored(reason: string): void;
  isOver(): boolean;
  onAlive(): void;
  /** Events are handled again after a pause. */
  onGoOn(): void;
  onEvent(event: ServerSentEvent, receivedAt: number): Handling;
  onEnd(verdict: Failure | 'reconnect'): void;
}

interface Chunk {
  readonly bytes: Buffer;
  /** As `performance.now()`. */
  readonly receivedAt: number;
}

/**
 * Hands on the events of a response, for at most one slice of time in each turn of the event loop; `receivedAt` is when the last chunk of an
 * event arrived. Ends once, with the verdict on an event or with why there are no more events, unless it is closed before.
 */
export function readEvents(
  response: IncomingMessage,
  options: ReadEventsOptions,
): { isBusy(): boolean; close(): void } {
  const { maxBytes, begun, transfer, onIgnored, isOver, onAlive, onEvent, onDelay } = options;
  const { stallMs = 10_000, transferStallMs = 30_000 } = options;
  /** In the order of their arrival. */
  const waiting: (Chunk | Failure)[] = [];
  const parser = createEventParser({ maxBytes, onIgnored });
  let receivedAt = 0;
  /** Bytes of the ended events that may be part of a transfer, as they arrived. */
  let endedBytes = 0;
  const place = createPlace({ ...options, arrivedBytes: () => parser.heldBytes });
  /** A large event or a transfer that has begun must make progress. */
  const pace = createLeastPace({
    unfinished() {
      if (parser.heldBytes > LARGE_BYTES) return { what: 'a large event', withinMs: stallMs };
      return transfer?.isOpen() ? { what: 'a transfer', withinMs: transferStallMs } : undefined;
    },
    arrivedBytes: () => endedBytes + parser.heldBytes,
    isBusy: () => pump.isBusy,
    onTooSlow: (message) => pump.end({ kind: 'NETWORK_ERROR', code: 'TIMEOUT', message }),
  });
  const pump = createPump(response, options, () => {
    const found = parser.next();
    const verdict = found ? inTurn(found) : (hold() ?? take());
    if (!isOver()) pace.check();
    return verdict;
  });

  function enqueue(next: Chunk | Failure): void {
    if (isOver()) return;
    waiting.push(next);
    pump.goOn();
  }

  /** Counts the event that is arriving, until it is handed on. */
  function hold(): Failure | undefined {
    const problem = begun.hold(parser.heldBytes);
    return problem === undefined ? undefined : invalidData(problem);
  }

  /** An event that was received beside others waits for its turn to be handled, and counts until then. */
  function inTurn(found: ServerSentEvent | LongEvent | { readonly problem: string }): Verdict | Promise<Verdict> {
    if ('problem' in found) return invalidData(found.problem);
    if (transfer?.isPart(found.event)) endedBytes += sizeOf(found);
    place.complete();
    if ('data' in found) return handle(found);
    return place.isTaken ? decode(found) : place.enter().then(() => (isOver() ? undefined : decode(found)));
  }

  async function decode({ bytes, ...found }: LongEvent): Promise<Verdict> {
    const data = await inSlices(decodeInSlices(bytes));
    if (isOver()) return undefined;
    return bytesOf(data) > maxBytes ? invalidData(describeTooLarge('an event', maxBytes)) : handle({ ...found, data });
  }

  function handle(found: ServerSentEvent): Verdict | Promise<Verdict> {
    begun.hold(0);
    onDelay(undefined);
    try {
      const verdict = verdictOf(onEvent(found, receivedAt), found.data.length, isOver);
      if (verdict instanceof Promise) return verdict.finally(place.leave);
      place.leave();
      return verdict;
    } catch (error) {
      return failureOf(error);
    }
  }

  function take(): Verdict | Promise<Verdict> | 'nothing waits' {
    const [next] = waiting;
    if (next === undefined) return 'nothing waits';
    if ('bytes' in next) {
      const isLarge = parser.heldBytes + next.bytes.length > LARGE_BYTES;
      const waits = isLarge ? place.enterToReceive(next.bytes.length) : undefined;
      if (waits) return waits;
      if (!isLarge) place.leave();
    }
    waiting.shift();
    if ('kind' in next) return next;
    receivedAt = next.receivedAt;
    parser.feed(next.bytes);
    return undefined;
  }

  response.on('error', (error: NodeJS.ErrnoException) =>
    enqueue({ kind: 'NETWORK_ERROR', code: error.code, message: errorText(error) }),
  );
  response.on('close', () => enqueue({ kind: 'NETWORK_ERROR', code: 'ECONNRESET', message: 'the stream ended' }));
  response.on('data', (bytes: Buffer) => {
    if (isOver()) return;
    onAlive();
    enqueue({ bytes, receivedAt: performance.now() });
  });
  return {
    isBusy: () => pump.isBusy,
    /** Call this when it is over. */
    close() {
      place.close();
      pace.stop();
    },
  };
}

/**
 * Repeats `step` until nothing waits, for one slice of time in a turn of the event loop. The response is paused between two slices, and
 * while a step takes longer.
 */
function createPump(
  response: IncomingMessage,
  { isOver, onGoOn, onEnd }: Pick<ReadEventsOptions, 'isOver' | 'onGoOn' | 'onEnd'>,
  step: () => Verdict | Promise<Verdict> | 'nothing waits',
) {
  let isBusy = false;

  const isDue = () => performance.now() >= sliceEnd();
  const pause = () => waitFor(nextTurn().then(() => undefined));

  function work(): void {
    while (!isBusy && !isOver()) {
      const verdict = step();
      if (verdict === 'nothing waits') return;
      if (verdict instanceof Promise) waitFor(verdict);
      else if (verdict !== undefined) end(verdict);
      else if (isDue()) pause();
    }
  }

  function waitFor(verdict: Promise<Verdict>): void {
    isBusy = true;
    response.pause();
    void verdict.then(resume, (error) => resume(failureOf(error)));
  }

  function resume(verdict: Verdict): void {
    isBusy = false;
    // The handler may have closed the stream.
    if (isOver()) return;
    onGoOn();
    if (verdict === undefined) work();
    else end(verdict);
    if (!isBusy && !isOver()) response.resume();
  }

  function end(verdict: Failure | 'reconnect'): void {
    if (!isOver()) onEnd(verdict);
  }

  return {
    get isBusy() {
      return isBusy;
    },
    /** Something waits. */
    goOn(): void {
      if (isBusy) return;
      if (isDue()) pause();
      else work();
    },
    end,
  };
}

/** A long event that is handled in steps is handled in slices, and no further once the connection is over. */
function verdictOf(handling: Handling, characters: number, isOver: () => boolean): Verdict | Promise<Verdict> {
  if (typeof handling !== 'object' || !('next' in handling)) return handling;
  return characters > LARGE_CHARACTERS ? inSlices(unlessOver(handling, isOver)) : resultOf(handling);
}

function* unlessOver(steps: Generator<void, Verdict>, isOver: () => boolean): Generator<void, Verdict> {
  while (!isOver()) {
    const { done, value } = steps.next();
    if (done) return value;
    yield;
  }
  return undefined;
}

function sizeOf(event: ServerSentEvent | LongEvent): number {
  return 'bytes' in event ? event.bytes.length : Buffer.byteLength(event.data);
}

const failureOf = (error: unknown) => invalidData(errorText(error));
