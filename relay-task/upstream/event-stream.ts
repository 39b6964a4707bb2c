import type { IncomingMessage } from 'node:http';
import { createParser } from 'eventsource-parser';
import { type BackoffTimes, createBackoff } from '../common/backoff.ts';
import { describeError } from '../common/http-request.ts';
import { RelayError } from '../errors.ts';
import type { Log, Outbound } from '../ports.ts';
import { connect } from './connect.ts';
import type { Failure } from './status.ts';

/** How patient a stream is; every default is LaunchDarkly's own. */
export interface EventStreamTimes {
  /** 3 s. */
  readonly connectTimeoutMs?: number;
  /** From the connection to the head of the answer; 10 s. */
  readonly headTimeoutMs?: number;
  /** A stream without a byte for so long is dropped, heartbeats come every 3 min; 5 min. */
  readonly readTimeoutMs?: number;
  /** From 1 s to 30 s. */
  readonly backoff?: BackoffTimes;
  /** After an answer that only a person can change, such as 401; from 5 min to 1 h. */
  readonly refusedBackoff?: BackoffTimes;
  /** A stream that lasted so long makes the next delay the first one again; 60 s. */
  readonly resetAfterMs?: number;
  /** One event may be so long, in characters; 128 Mi. */
  readonly maxEventLength?: number;
  /** For jitter; `Math.random`. */
  random?(): number;
}

export interface EventStreamOptions extends EventStreamTimes {
  /** For log lines. */
  readonly name: string;
  readonly url: URL;
  /** Sent bare in `Authorization`. */
  readonly key: string;
  readonly userAgent: string;
  readonly outbound?: Outbound | undefined;
  readonly log: Log;
  /** We were let in. */
  onOpen?(): void;
  /** Bytes arrived, a heartbeat at least. */
  onAlive?(): void;
  /**
   * One event; `receivedAt` as `performance.now()`. The answer says whether the stream goes on (undefined), is made
   * anew because it was asked for, or because it failed.
   */
  onEvent(event: string | undefined, data: string, receivedAt: number): Failure | 'reconnect' | undefined;
  /** After each failure; a new attempt follows. */
  onFailure(failure: Failure): void;
}

/** Holds one stream of server-sent events from LaunchDarkly, for ever: every failure is retried. */
export function startEventStream(options: EventStreamOptions): { close(): void } {
  const { name, log, connectTimeoutMs = 3_000, headTimeoutMs = 10_000, readTimeoutMs = 300_000 } = options;
  const { resetAfterMs = 60_000, maxEventLength = 128 * 1024 * 1024 } = options;
  const backoff = createBackoff(options.backoff ?? { firstMs: 1_000, maxMs: 30_000 }, options.random);
  const slow = createBackoff(options.refusedBackoff ?? { firstMs: 300_000, maxMs: 3_600_000 }, options.random);
  let lastEventId: string | undefined;
  let drop = () => {};
  let retryTimer: NodeJS.Timeout | undefined;

  function open() {
    let over = false;
    let openedAt = Number.POSITIVE_INFINITY;
    let watchdog: NodeJS.Timeout | undefined;
    const connection = connect({
      ...{ url: options.url, outbound: options.outbound, headers: headers() },
      ...{ connectTimeoutMs, headTimeoutMs, onResponse, onFailure: fail },
    });
    drop = () => {
      over = true;
      clearTimeout(watchdog);
      connection.abort();
    };

    function again(delays: ReturnType<typeof createBackoff>): number {
      drop();
      if (performance.now() - openedAt >= resetAfterMs) backoff.reset();
      const delayMs = Math.round(delays.next());
      retryTimer = setTimeout(open, delayMs);
      return delayMs;
    }

    function fail(failure: Failure) {
      if (over) return;
      const delayMs = again(failure.refused ? slow : backoff);
      const { kind, message, statusCode } = failure;
      log.warn(`${name} failed, it will be tried again`, { kind, reason: message, statusCode, delayMs });
      options.onFailure(failure);
    }

    function onResponse(response: IncomingMessage) {
      openedAt = performance.now();
      options.onOpen?.();
      slow.reset();
      // Not "close": a peer that vanishes says nothing at all, hence the watchdog.
      watchdog = setTimeout(() => {
        fail({ kind: 'NETWORK_ERROR', message: `no byte within ${readTimeoutMs} ms` });
      }, readTimeoutMs);
      response.on('error', (error) => fail({ kind: 'NETWORK_ERROR', message: describeError(error) }));
      response.on('close', () => fail({ kind: 'NETWORK_ERROR', message: 'the stream ended' }));
      const encoding = response.headers['content-encoding'];
      if (encoding && encoding !== 'identity') {
        return fail({ kind: 'INVALID_DATA', message: `the stream is encoded as ${encoding}, which was not asked for` });
      }
      const read = reader();
      response.on('data', (chunk: Buffer) => {
        if (over) return;
        watchdog?.refresh();
        options.onAlive?.();
        read(chunk);
      });
    }

    function reader(): (chunk: Buffer) => void {
      // Characters may be cut in two between chunks.
      const decoder = new TextDecoder();
      let receivedAt = 0;
      const parser = createParser({
        maxBufferSize: maxEventLength,
        onEvent({ event, data, id }) {
          if (over) return;
          if (id !== undefined) lastEventId = id;
          const verdict = options.onEvent(event, data, receivedAt);
          // Whoever heard of the event may have closed the stream.
          if (verdict === undefined || over) return;
          if (verdict !== 'reconnect') return fail(verdict);
          log.info(`${name} is made anew, as LaunchDarkly asked`, { delayMs: again(backoff) });
        },
        onError({ type }) {
          if (type !== 'max-buffer-size-exceeded') return;
          fail({ kind: 'INVALID_DATA', message: `an event is longer than ${maxEventLength} characters` });
        },
      });
      return (chunk) => {
        receivedAt = performance.now();
        parser.feed(decoder.decode(chunk, { stream: true }));
      };
    }
  }

  function headers(): Record<string, string> {
    return {
      Authorization: options.key,
      'User-Agent': options.userAgent,
      Accept: 'text/event-stream',
      'Cache-Control': 'no-cache',
      ...(lastEventId && /^[\x20-\x7e]+$/.test(lastEventId) && { 'Last-Event-ID': lastEventId }),
    };
  }

  open();

  return {
    close() {
      drop();
      clearTimeout(retryTimer);
    },
  };
}

/** The address below `base`, whose own path is kept. Throws CONFIG_INVALID when it is not an http or https address. */
export function streamUrl(base: string, path: string, query: string): URL {
  const url = URL.canParse(base) ? new URL(base) : undefined;
  if (url?.protocol !== 'http:' && url?.protocol !== 'https:') {
    throw new RelayError('CONFIG_INVALID', `the stream address must be an http or https address, not ${base}`);
  }
  url.pathname = `${url.pathname.replace(/\/+$/, '')}${path}`;
  url.search = query;
  url.hash = '';
  return url;
}
