import type { Upstream, UpstreamSink, UpstreamStatus } from '../ports.ts';
import { type DataSystemTimes, startDataSystem } from './data-system.ts';
import { fdv2Poll } from './fdv2-poll.ts';
import { FRESH_MS } from './status.ts';
import { type FlagStreamOptions, fdv1Stream, fdv2Stream } from './streams.ts';
import type { Way } from './synchronizer.ts';

/** Which of LaunchDarkly's protocols is used: the first, or the second as a stream, by polling, or by whichever of these works. */
type Protocol = 'fdv1' | 'fdv2' | 'fdv2-streaming' | 'fdv2-polling';

export interface StreamingOptions extends FlagStreamOptions, DataSystemTimes {
  readonly sink: UpstreamSink;
  readonly protocol: Protocol;
  /** For polling: LaunchDarkly's server or another relay; `/sdk/poll` is appended to its path. */
  readonly baseUri: string;
  readonly pollIntervalMs: number;
  /** `DeliveryOptions.generation` */
  readonly generation?: (() => unknown) | undefined;
  onStatus?(status: UpstreamStatus): void;
  /** LaunchDarkly says which environment the key belongs to; before the first event. */
  onEnvironmentId?(id: string): void;
}

/**
 * Gets the flags of one SDK key from LaunchDarkly, and their changes, until closed. Retries every failure.
 * Throws CONFIG_INVALID when an address is not an http or https address.
 */
export function startStreaming(options: StreamingOptions): Upstream {
  const { protocol, pollIntervalMs } = options;
  const stream = () => fdv2Stream(options);
  const poll = () => fdv2Poll({ ...options, maxAnswerBytes: options.maxReceivedBytes });
  const ways: Readonly<Record<Protocol, () => readonly [Way, Way?]>> = {
    fdv1: () => [fdv1Stream(options)],
    fdv2: () => [stream(), poll()],
    'fdv2-streaming': () => [stream()],
    'fdv2-polling': () => [poll()],
  };
  return startDataSystem({
    ...options,
    ways: ways[protocol](),
    legacy: protocol === 'fdv1' ? undefined : fdv1Stream(options),
    // Two polls may be late.
    freshMs: protocol === 'fdv2' || protocol === 'fdv2-polling' ? Math.max(FRESH_MS, 3 * pollIntervalMs) : FRESH_MS,
  });
}
