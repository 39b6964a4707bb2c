import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { httpAddress } from '../common/http-address.ts';
import { createPacedLines, createReasonLines } from '../common/paced-lines.ts';
import type { Log, Outbound, StreamAttempt } from '../ports.ts';
import { connect } from './connect.ts';
import { createDelays } from './large.ts';
import type { Slowness } from './large-place.ts';
import { createOutageLines, type OutageWords } from './outage-lines.ts';
import { type Handling, type ReadEventsTimes, readEvents, type Transfer } from './read-events.ts';
import { createReceived, type Received, type ReceivedMemory, receivedLimit } from './received-limit.ts';
import { createRetries, type RetryOptions } from './retries.ts';
import { type Failure, invalidData } from './status.ts';

export const CONNECT_TIMEOUT_MS = 3_000;
export const READ_TIMEOUT_MS = 300_000;

/** Timeouts and limits of a stream. The defaults are those of LaunchDarkly's SDKs. */
export interface EventStreamTimes extends RetryOptions, ReadEventsTimes {
  /** 3 s. */
  readonly connectTimeoutMs?: number;
  /** From the connection to the response headers; 10 s. */
  readonly headTimeoutMs?: number;
  /** Reconnects after this long without data; heartbeats arrive every 3 min. 5 min. */
  readonly readTimeoutMs?: number;
  /** A stream that stayed open this long resets the backoff; 60 s. */
  readonly resetAfterMs?: number;
  /** Of one event, of the items of one set, or of the answer to a poll; `receivedLimit`. */
  readonly maxReceivedBytes?: number;
  /** Where data counts until it has arrived completely; data that finds no room is given up. Undefined: nowhere. */
  readonly receivedMemory?: ReceivedMemory | undefined;
}

interface EventStreamOptions extends EventStreamTimes {
  /** Begins log messages, so it starts with a capital letter. */
  readonly name: string;
  readonly outage: Omit<OutageWords, 'what'>;
  readonly url: URL;
  /** Called before each connection; its result replaces the query of `url`. */
  query?(): string;
  /** Sent in `Authorization`, without a scheme. */
  readonly key: string;
  readonly userAgent: string;
  readonly outbound?: Outbound | undefined;
  readonly log: Log;
  /** For this stream, if more than its events counts there. Default: one of its own. */
  readonly received?: Received;
  readonly transfer?: Transfer;
  /** After each attempt to connect. */
  onAttempt?(attempt: StreamAttempt): void;
  /** LaunchDarkly accepted the key. */
  onOpen?(headers: IncomingHttpHeaders): void;
  /** Data arrived, possibly just a heartbeat. */
  onAlive?(): void;
  /**
   * Handles one event; `receivedAt` as `performance.now()`. Returns undefined to continue, `reconnect` when LaunchDarkly
   * asked for it, or a failure, which also reconnects. Nothing more is read until it is handled. What it throws or
   * rejects with is a failure.
   */
  onEvent(event: string | undefined, data: string, receivedAt: number): Handling;
  /** The connection is over, for whatever reason, and what it began will not be finished. May be called twice. */
  onOver?(): void;
  /** Why a large event is late; undefined: it no longer is. */
  onDelay?(reason: string | undefined): void;
  /** Called after each failure; the stream then reconnects. */
  onFailure(failure: Failure): void;
}

/** Keeps one stream of server-sent events from LaunchDarkly open until closed. Retries every failure. */
export function startEventStream(options: EventStreamOptions): { close(): void } {
  const { name, log, connectTimeoutMs = CONNECT_TIMEOUT_MS, headTimeoutMs = 10_000 } = options;
  const { readTimeoutMs = READ_TIMEOUT_MS, resetAfterMs = 60_000 } = options;
  const { maxReceivedBytes: maxBytes = receivedLimit(), received = createReceived(options.receivedMemory) } = options;
  const begun = received.part('an event');
  const slowness: Slowness = { until: 0 };
  const delays = createDelays(options);
  const retries = createRetries(options);
  const warnIgnored = createReasonLines((fields) =>
    log.warn(`${name}: ignored a line that is not part of an event`, {
      ...fields,
      runbook: 'operations.md#ignored-messages',
    }),
  );
  const outage = createOutageLines({ ...options.outage, what: name, log });
  const pacedAgain = createPacedLines();
  let lastEventId: string | undefined;
  let drop = () => {};
  let retryTimer: NodeJS.Timeout | undefined;

  function open() {
    let over = false;
    let openedAt = Number.POSITIVE_INFINITY;
    const [timestamp, began] = [Date.now(), performance.now()];
    const attempted = (failed: boolean) =>
      options.onAttempt?.({ timestamp, failed, durationMillis: Math.round(performance.now() - began) });
    let reading: ReturnType<typeof readEvents> | undefined;
    const watchdog = createWatchdog(readTimeoutMs, {
      isBusy: () => reading?.isBusy() === true,
      onSilent: (message) => fail({ kind: 'NETWORK_ERROR', code: 'TIMEOUT', message }),
    });
    const connection = connect({
      url: () => urlOf(options),
      outbound: options.outbound,
      headers: headersOf(options, lastEventId),
      connectTimeoutMs,
      headTimeoutMs,
      onResponse,
      onFailure: fail,
    });
    drop = () => {
      over = true;
      watchdog.stop();
      connection.abort();
      reading?.close();
      begun.hold(0);
      delays.tell(undefined);
      options.onOver?.();
    };

    function again(failure: Pick<Failure, 'refused'>): number {
      drop();
      if (performance.now() - openedAt >= resetAfterMs) retries.succeeded();
      const pauseMs = retries.pauseMs(failure);
      retryTimer = setTimeout(open, pauseMs);
      return pauseMs;
    }

    function fail(failure: Failure) {
      if (over) return;
      if (openedAt === Number.POSITIVE_INFINITY) attempted(true);
      outage.failed(failure, again(failure));
      options.onFailure(failure);
    }

    function onResponse(response: IncomingMessage) {
      openedAt = performance.now();
      attempted(false);
      received.onGivenUp = (message) => fail({ kind: 'NETWORK_ERROR', code: 'NO_ROOM', message });
      reading = readEvents(response, {
        ...options,
        maxBytes,
        received,
        begun,
        slowness,
        onDelay: delays.tell,
        onIgnored: warnIgnored,
        isOver: () => over,
        onAlive() {
          watchdog.refresh();
          options.onAlive?.();
        },
        onGoOn: watchdog.refresh,
        onEvent({ event, data, id }, receivedAt) {
          if (id !== undefined) lastEventId = id;
          const handling = options.onEvent(event, data, receivedAt);
          return outage.isFailing() ? thenWorked(handling, outage.worked) : handling;
        },
        onEnd(verdict) {
          if (verdict !== 'reconnect') return fail(verdict);
          const delayMs = again({});
          pacedAgain('', (more) => log.info(`${name} reconnecting at LaunchDarkly's request`, { delayMs, ...more }));
        },
      });
      options.onOpen?.(response.headers);
      // The handler may have closed the stream.
      if (over) return;
      retries.admitted();
      watchdog.start();
      const encoding = response.headers['content-encoding'];
      if (encoding && encoding !== 'identity') {
        fail(invalidData(`the stream has an unexpected Content-Encoding: ${encoding}`));
      }
    }
  }

  open();

  return {
    close() {
      drop();
      clearTimeout(retryTimer);
    },
  };
}

/** A peer that vanishes sends no end, so only a timeout notices. Time spent handling events does not count. */
function createWatchdog(
  timeoutMs: number,
  { isBusy, onSilent }: { isBusy(): boolean; onSilent(problem: string): void },
) {
  let timer: NodeJS.Timeout | undefined;
  return {
    start(): void {
      timer = setTimeout(() => {
        if (isBusy()) timer?.refresh();
        else onSilent(`no data received within ${timeoutMs} ms`);
      }, timeoutMs);
    },
    refresh(): void {
      timer?.refresh();
    },
    stop(): void {
      clearTimeout(timer);
    },
  };
}

/** Calls `worked` once the event has been handled without a failure. */
function thenWorked(handling: Handling, worked: () => void): Handling {
  if (handling === undefined) {
    worked();
    return undefined;
  }
  if (handling === 'reconnect' || 'kind' in handling) return handling;
  if (handling instanceof Promise) {
    return handling.then((verdict) => {
      if (verdict === undefined) worked();
      return verdict;
    });
  }
  return stepsThenWorked(handling, worked);
}

function* stepsThenWorked(steps: Extract<Handling, Generator>, worked: () => void) {
  const verdict = yield* steps;
  if (verdict === undefined) worked();
  return verdict;
}

function urlOf({ url, query }: EventStreamOptions): URL {
  if (!query) return url;
  const next = new URL(url);
  next.search = query();
  return next;
}

function headersOf({ key, userAgent }: EventStreamOptions, lastEventId: string | undefined): Record<string, string> {
  return {
    Authorization: key,
    'User-Agent': userAgent,
    Accept: 'text/event-stream',
    'Cache-Control': 'no-cache',
    // Servers reject long headers, and would do so again after every reconnect.
    ...(lastEventId && /^[\x20-\x7e]{1,1000}$/.test(lastEventId) && { 'Last-Event-ID': lastEventId }),
  };
}

/** Appends `path` to the path of `base`. Throws CONFIG_INVALID when it is not an http or https address. */
export function streamUrl(base: string, path: string, query: string): URL {
  const url = httpAddress('the stream address', base);
  url.pathname = `${url.pathname.replace(/\/+$/, '')}${path}`;
  url.search = query;
  url.hash = '';
  return url;
}
