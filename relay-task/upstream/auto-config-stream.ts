import { describeExcessInSlices } from '../common/json-shape.ts';
import type { Log, Outbound } from '../ports.ts';
import { type EventStreamTimes, startEventStream, streamUrl } from './event-stream.ts';
import { mostParsedIn, receivedLimit } from './received-limit.ts';
import { type Failure, invalidData } from './status.ts';

interface AutoConfigStreamOptions extends EventStreamTimes {
  /** LaunchDarkly's stream server; `/relay_auto_config` is appended to its path. */
  readonly streamUri: string;
  /** The key of the relay's configuration profile, `rel-…`. */
  readonly key: string;
  readonly userAgent: string;
  readonly outbound?: Outbound | undefined;
  readonly log: Log;
  /** Handles one event, in steps. Returns undefined to continue, `reconnect` or a problem to reconnect. */
  onEvent(
    event: string | undefined,
    data: string,
  ): Generator<void, { readonly problem: string } | 'reconnect' | undefined>;
  /** For log lines: what happens while there is no stream. */
  meanwhile(): string;
  /** Called after each failure, 401 included; the stream then reconnects. */
  onFailure(failure: Failure): void;
}

/**
 * Keeps LaunchDarkly's stream of environments and keys open until closed. Retries every failure; a rejected key slowly.
 * Throws CONFIG_INVALID when `streamUri` is not an http or https address.
 */
export function startAutoConfigStream(options: AutoConfigStreamOptions): { close(): void } {
  const { maxReceivedBytes = receivedLimit() } = options;
  return startEventStream({
    ...options,
    name: 'Auto-configuration stream',
    outage: { key: 'the auto-configuration key', meanwhile: options.meanwhile },
    url: streamUrl(options.streamUri, '/relay_auto_config', '?rpacProtocolVersion=2'),
    *onEvent(event, data) {
      const excess = yield* describeExcessInSlices(data, mostParsedIn(maxReceivedBytes));
      if (excess !== undefined) return invalidData(`an event of auto-configuration: ${excess}`);
      const verdict = yield* options.onEvent(event, data);
      return typeof verdict === 'object' ? invalidData(verdict.problem) : verdict;
    },
  });
}
