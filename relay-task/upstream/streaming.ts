import type { IncomingMessage } from 'node:http';
import { createParser } from 'eventsource-parser';
import type { Item, Kind } from '../../lib/flag-table/index.ts';
import { RelayError } from '../errors.ts';
import type { Log, Upstream, UpstreamSink, UpstreamStatus } from '../ports.ts';
import { type BackoffTimes, createBackoff } from './backoff.ts';
import { connect, describeError } from './connect.ts';
import { readMessage } from './messages.ts';
import { createStatus, type Failure } from './status.ts';

export interface StreamingOptions {
  /** LaunchDarkly's stream server or another relay; `/all` is appended to its path. */
  readonly streamUri: string;
  readonly sdkKey: string;
  /** The key of a payload filter. */
  readonly filter?: string;
  readonly sink: UpstreamSink;
  readonly log: Log;
  /** `EdgeFlagRelay/<version>` */
  readonly userAgent: string;
  /** What memory holds; spares examining what a reconnect brings unchanged, which is most of it. */
  held?(kind: Kind, key: string): Item | undefined;
  onStatus?(status: UpstreamStatus): void;
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

const FRESH_MS = 360_000;

/**
 * Holds one stream of LaunchDarkly's `/all` and delivers what it says, for ever: every failure is retried.
 * Throws CONFIG_INVALID when `streamUri` is not an http or https address.
 */
export function startStreaming(options: StreamingOptions): Upstream {
  const { sink, log, connectTimeoutMs = 3_000, headTimeoutMs = 10_000, readTimeoutMs = 300_000 } = options;
  const { resetAfterMs = 60_000, maxEventLength = 128 * 1024 * 1024 } = options;
  const url = streamUrl(options.streamUri, options.filter);
  const status = createStatus({ onStatus: options.onStatus, freshMs: FRESH_MS });
  const backoff = createBackoff(options.backoff ?? { firstMs: 1_000, maxMs: 30_000 }, options.random);
  const slow = createBackoff(options.refusedBackoff ?? { firstMs: 300_000, maxMs: 3_600_000 }, options.random);
  let lastEventId: string | undefined;
  let drop = () => {};
  let retryTimer: NodeJS.Timeout | undefined;
  let closed = false;

  function open() {
    let over = false;
    let openedAt = Number.POSITIVE_INFINITY;
    let watchdog: NodeJS.Timeout | undefined;
    const connection = connect({
      url,
      headers: headers(),
      connectTimeoutMs,
      headTimeoutMs,
      onResponse,
      onFailure: fail,
    });
    drop = () => {
      over = true;
      clearTimeout(watchdog);
      connection.abort();
    };

    function fail(failure: Failure) {
      if (over) return;
      drop();
      if (performance.now() - openedAt >= resetAfterMs) backoff.reset();
      const delayMs = Math.round((failure.refused ? slow : backoff).next());
      retryTimer = setTimeout(open, delayMs);
      const { kind, message, statusCode } = failure;
      log.warn('upstream stream failed, it will be tried again', { kind, reason: message, statusCode, delayMs });
      status.failed(failure);
    }

    function onResponse(response: IncomingMessage) {
      openedAt = performance.now();
      status.admitted();
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
        status.alive();
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
          deliver(event, data, receivedAt);
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

    function deliver(event: string | undefined, data: string, receivedAt: number) {
      const message = readMessage(event, data, options.held);
      switch (message.kind) {
        case 'put':
          for (const { kind, key, reason } of message.unreadable) warnUnreadable(kind, key, reason);
          sink.put(message.items, message.unreadable, receivedAt);
          log.info('upstream sent everything', { items: message.items.length, unreadable: message.unreadable.length });
          return status.completed();
        case 'upsert':
          return sink.upsert(message.item, receivedAt);
        case 'skip':
          warnUnreadable(message.item.kind, message.item.key, message.item.reason);
          return sink.skip(message.item);
        case 'ignored':
          return log.debug('upstream event ignored', { reason: message.why });
        case 'invalid':
          return fail({ kind: 'INVALID_DATA', message: message.problem });
      }
    }
  }

  function warnUnreadable(kind: string, key: string, reason: string) {
    log.warn('an item could not be understood and was skipped; its previous version stays', { kind, key, reason });
  }

  function headers(): Record<string, string> {
    return {
      Authorization: options.sdkKey,
      'User-Agent': options.userAgent,
      Accept: 'text/event-stream',
      'Cache-Control': 'no-cache',
      ...(lastEventId && /^[\x20-\x7e]+$/.test(lastEventId) && { 'Last-Event-ID': lastEventId }),
    };
  }

  open();

  return {
    status: status.read,
    async close() {
      if (closed) return;
      closed = true;
      drop();
      clearTimeout(retryTimer);
      status.closed();
    },
  };
}

function streamUrl(streamUri: string, filter: string | undefined): URL {
  const url = URL.canParse(streamUri) ? new URL(streamUri) : undefined;
  if (url?.protocol !== 'http:' && url?.protocol !== 'https:') {
    throw new RelayError('CONFIG_INVALID', `the stream address must be an http or https address, not ${streamUri}`);
  }
  url.pathname = `${url.pathname.replace(/\/+$/, '')}/all`;
  url.search = filter ? `?filter=${encodeURIComponent(filter)}` : '';
  url.hash = '';
  return url;
}
