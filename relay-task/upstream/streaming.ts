import type { Item, Kind } from '../../lib/flag-table/index.ts';
import { oncePerReason } from '../common/once-per-reason.ts';
import type { Log, Outbound, Upstream, UpstreamSink, UpstreamStatus } from '../ports.ts';
import { type EventStreamTimes, startEventStream, streamUrl } from './event-stream.ts';
import { readMessage } from './messages.ts';
import { createStatus, type Failure } from './status.ts';

export interface StreamingOptions extends EventStreamTimes {
  /** LaunchDarkly's stream server or another relay; `/all` is appended to its path. */
  readonly streamUri: string;
  readonly sdkKey: string;
  /** The key of a payload filter. */
  readonly filter?: string;
  readonly sink: UpstreamSink;
  readonly log: Log;
  /** `EdgeFlagRelay/<version>` */
  readonly userAgent: string;
  /** Absent: a direct connection. */
  readonly outbound?: Outbound | undefined;
  /** What memory holds. After a reconnect most items are unchanged and are not validated again. */
  held?(kind: Kind, key: string): Item | undefined;
  onStatus?(status: UpstreamStatus): void;
  /** LaunchDarkly says which environment the key belongs to; before the first event. */
  onEnvironmentId?(id: string): void;
}

const FRESH_MS = 360_000;

/**
 * Keeps LaunchDarkly's `/all` stream open until closed and delivers its events. Retries every failure.
 * Throws CONFIG_INVALID when `streamUri` is not an http or https address.
 */
export function startStreaming(options: StreamingOptions): Upstream {
  const { streamUri, sdkKey, filter, sink, log } = options;
  const warnIgnored = oncePerReason((reason) => log.warn('Ignored a message from LaunchDarkly', { reason }));
  const status = createStatus({ onStatus: options.onStatus, freshMs: FRESH_MS });

  function deliver(event: string | undefined, data: string, receivedAt: number): Failure | undefined {
    const message = readMessage(event, data, options.held);
    switch (message.kind) {
      case 'put':
        for (const { kind, key, reason } of message.unreadable) warnUnreadable(kind, key, reason);
        sink.put(message.items, message.unreadable, receivedAt);
        log.info('Received the full flag set from LaunchDarkly', {
          items: message.items.length,
          unreadable: message.unreadable.length,
        });
        status.completed();
        return undefined;
      case 'upsert':
        sink.upsert(message.item, receivedAt);
        return undefined;
      case 'skip':
        warnUnreadable(message.item.kind, message.item.key, message.item.reason);
        sink.skip(message.item);
        return undefined;
      case 'ignored':
        warnIgnored(message.why);
        return undefined;
      case 'invalid':
        return { kind: 'INVALID_DATA', message: message.problem };
    }
  }

  function warnUnreadable(kind: string, key: string, reason: string) {
    log.warn('Item is invalid and was ignored; still serving its previous version', { kind, key, reason });
  }

  const stream = startEventStream({
    ...options,
    name: 'LaunchDarkly stream',
    rejected: 'LaunchDarkly rejected the SDK key; keeping the current flags, retrying slowly',
    url: streamUrl(streamUri, '/all', filter ? `?filter=${encodeURIComponent(filter)}` : ''),
    key: sdkKey,
    onOpen(headers) {
      status.admitted();
      const id = headers['x-ld-envid'];
      if (typeof id === 'string' && id !== '') options.onEnvironmentId?.(id);
    },
    onAlive: status.alive,
    onEvent: deliver,
    onFailure: status.failed,
  });

  return {
    status: status.read,
    async close() {
      stream.close();
      status.closed();
    },
  };
}
