/** Server-sent events of a response, read in slices. */
import type { IncomingMessage } from 'node:http';
import type { Budget } from '../common/budget.ts';
import { describeError } from '../common/http-request.ts';
import { nextTurn, SLICE_MS } from '../common/slices.ts';
import { createEventParser, type ServerSentEvent } from './event-parser.ts';
import { LARGE_BYTES, largeOnes } from './large.ts';
import { createReceived } from './received-limit.ts';
import type { Failure } from './status.ts';

/** What to do after an event: go on, open the stream again at LaunchDarkly's request, or because of a failure. */
export type Verdict = Failure | 'reconnect' | undefined;

export interface ReadEventsOptions {
  readonly maxBytes: number;
  readonly memory: Budget | undefined;
  readonly stallMs: number;
  onIgnored(reason: string): void;
  isOver(): boolean;
  onAlive(): void;
  /** Events are handled again after a pause. */
  onGoOn(): void;
  onEvent(event: ServerSentEvent, receivedAt: number): Verdict | Promise<Verdict>;
  onEnd(verdict: Failure | 'reconnect'): void;
}

interface Chunk {
  readonly bytes: Buffer;
  /** As `performance.now()`. */
  readonly receivedAt: number;
}

/**
 * Hands on the events of a response, for one slice of time in a turn of the event loop; `receivedAt` is the arrival of an event's last
 * chunk. Ends once, unless it is over before: with what an event's verdict was, or with why there are no more events.
 */
export function readEvents(response: IncomingMessage, options: ReadEventsOptions): { isBusy(): boolean } {
  const { maxBytes, memory, stallMs, onIgnored, isOver, onAlive, onGoOn, onEvent, onEnd } = options;
  /** In the order of their arrival. */
  const waiting: (Chunk | Failure)[] = [];
  const parser = createEventParser({ maxBytes, onIgnored });
  const begun = createReceived('an event', memory);
  let receivedAt = 0;
  let isBusy = false;
  const place = createPlace({
    stallMs,
    isOver,
    isBusy: () => isBusy,
    onStalled: () =>
      end({ kind: 'NETWORK_ERROR', message: `no data received within ${stallMs} ms, within a large event` }),
  });

  function enqueue(next: Chunk | Failure): void {
    if (isOver()) return;
    waiting.push(next);
    if (!isBusy) work();
  }

  function work(): void {
    const until = performance.now() + SLICE_MS;
    while (!isBusy && !isOver()) {
      const found = parser.next();
      const verdict = found ? handle(found) : (hold() ?? take());
      if (verdict === 'nothing waits') return;
      if (verdict instanceof Promise) waitFor(verdict);
      else if (verdict !== undefined) end(verdict);
      else if (performance.now() >= until) waitFor(nextTurn().then(() => undefined));
    }
  }

  /** Counts the event that has begun, until it is handed on. */
  function hold(): Failure | undefined {
    const problem = begun.hold(parser.heldBytes);
    return problem === undefined ? undefined : { kind: 'INVALID_DATA', message: problem };
  }

  function handle(found: ServerSentEvent | { readonly problem: string }): Verdict | Promise<Verdict> {
    if ('problem' in found) return { kind: 'INVALID_DATA', message: found.problem };
    begun.hold(0);
    try {
      const verdict = onEvent(found, receivedAt);
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
      if (isLarge && !place.isTaken) return place.enter();
      if (!isLarge) place.leave();
    }
    waiting.shift();
    if ('kind' in next) return next;
    receivedAt = next.receivedAt;
    parser.feed(next.bytes);
    return undefined;
  }

  function waitFor(verdict: Promise<Verdict>): void {
    isBusy = true;
    response.pause();
    void verdict.then(goOn, (error) => goOn(failureOf(error)));
  }

  function goOn(verdict: Verdict): void {
    isBusy = false;
    // The handler may have closed the stream.
    if (isOver()) return;
    onGoOn();
    if (verdict === undefined) work();
    else end(verdict);
    if (!isBusy && !isOver()) response.resume();
  }

  function end(verdict: Failure | 'reconnect'): void {
    place.leave();
    begun.hold(0);
    if (!isOver()) onEnd(verdict);
  }

  response.on('error', (error) => enqueue({ kind: 'NETWORK_ERROR', message: describeError(error) }));
  response.on('close', () => {
    if (!isOver()) return enqueue({ kind: 'NETWORK_ERROR', message: 'the stream ended' });
    place.leave();
    begun.hold(0);
  });
  response.on('data', (bytes: Buffer) => {
    if (isOver()) return;
    place.refresh();
    onAlive();
    enqueue({ bytes, receivedAt: performance.now() });
  });
  return { isBusy: () => isBusy };
}

/** The place of a stream's large event. It is left when the event was handled, or when no more of it comes within `stallMs`. */
function createPlace(options: {
  readonly stallMs: number;
  isOver(): boolean;
  /** An event is being handled. */
  isBusy(): boolean;
  onStalled(): void;
}) {
  let leaveTurnstile: (() => void) | undefined;
  let stalled: NodeJS.Timeout | undefined;

  function leave(): void {
    clearTimeout(stalled);
    leaveTurnstile?.();
    leaveTurnstile = undefined;
  }
  return {
    get isTaken() {
      return leaveTurnstile !== undefined;
    },
    leave,
    async enter(): Promise<undefined> {
      leaveTurnstile = await largeOnes.enter();
      if (options.isOver()) return leave() as undefined;
      stalled = setTimeout(() => {
        if (options.isBusy()) stalled?.refresh();
        else options.onStalled();
      }, options.stallMs);
      return undefined;
    },
    /** More of it came. */
    refresh: () => void stalled?.refresh(),
  };
}

function failureOf(error: unknown): Failure {
  return { kind: 'INVALID_DATA', message: describeError(error) };
}
