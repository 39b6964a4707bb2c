/** All open streams of the relay: environments, their channels, and how streams are ended together. */
import type { Socket } from 'node:net';
import type { Change, ItemView } from '../ports.ts';
import { type Channel, createChannel } from './channel.ts';
import type { Connection } from './connection.ts';
import type { Framing } from './framing.ts';
import { createLifecycle } from './lifecycle.ts';
import type { StreamKind } from './messages.ts';
import { type CloseReason, type StreamMeter, silentMeter } from './meter.ts';

export interface HubOptions {
  /** Ms between two heartbeats of a stream; 0 or less sends none. 30,000 unless told: half of an ALB's default idle timeout. */
  readonly heartbeatMs?: number;
  /** Streams are ended at a random age between 80 and 100 % of it; 0 or less, as unless told: never. */
  readonly maxAgeMs?: number;
  /** A reader that takes nothing for so long is hung up on: 30,000 ms. */
  readonly stallMs?: number;
  /** A reader for whom so much is queued in this process is hung up on: 8 MiB. */
  readonly maxBehindBytes?: number;
  /** First payloads on their way at once (256), and streams that wait for theirs (1,024). */
  readonly maxInitialInFlight?: number;
  readonly maxInitialWaiting?: number;
  /** Events that a channel keeps for readers who are behind (1,024 and 4 MiB); who is further behind gets a `put`. */
  readonly logMessages?: number;
  readonly logBytes?: number;
  readonly meter?: StreamMeter;
}

/** An environment as the hub needs it. */
export interface StreamSource {
  readonly name: string;
  readonly view: ItemView;
  /** For `X-LD-EnvID`. */
  environmentId?(): string | undefined;
}

export interface StreamRequest {
  readonly kind: StreamKind;
  /** What the stream was opened with; `closeCredential` ends it. */
  readonly credential: string;
  /** A bounded name of the client, for metrics. */
  readonly family?: string;
  /** HTTP/1.0 clients know no chunks. */
  readonly httpVersion?: string;
}

/** The streams of one environment. */
export interface EnvironmentStreams {
  /**
   * Takes the socket over: from here on it belongs to the hub, until it closes. `false`: turned away (too many wait for
   * their first payload, or the relay is closing); the socket is untouched and is to be answered with 503.
   */
  open(socket: Socket, request: StreamRequest): boolean;
  /** To be called with every change, in the same turn of the event loop in which the view changed; the first data too. */
  publish(change: Change): void;
  /** Ends the streams that were opened with this credential. */
  closeCredential(credential: string): void;
  /** Ends all streams and forgets the environment. */
  remove(): void;
  readonly connections: number;
}

export interface Hub {
  environment(source: StreamSource): EnvironmentStreams;
  /** Refuses new streams and ends all others, spread evenly over `windowMs`. Resolves when no socket is left. */
  closeAll(windowMs: number): Promise<void>;
  readonly connections: number;
  /** Streams that wait for their first payload. */
  readonly waiting: number;
}

/** What closed sockets have to be gone by, after the window of `closeAll`. */
const CLOSE_GRACE_MS = 2_000;

export function createHub(options: HubOptions = {}): Hub {
  const { logMessages = 1_024, logBytes = 4 * 1024 * 1024, meter = silentMeter } = options;
  const lifecycle = createLifecycle({
    heartbeatMs: Math.max(0, options.heartbeatMs ?? 30_000),
    maxAgeMs: Math.max(0, options.maxAgeMs ?? 0),
    stallMs: options.stallMs ?? 30_000,
    maxBehindBytes: options.maxBehindBytes ?? 8 * 1024 * 1024,
    maxInitialInFlight: options.maxInitialInFlight ?? 256,
    maxInitialWaiting: options.maxInitialWaiting ?? 1_024,
    meter,
  });
  const environments = new Set<readonly Channel[]>();
  /** Each credential once, so that connections share its text. */
  const credentials = new Map<string, string>();
  let closing = false;

  const accept = (channel: Channel, socket: Socket, request: StreamRequest): boolean => {
    const credential = credentials.get(request.credential) ?? request.credential;
    credentials.set(credential, credential);
    return lifecycle.accept(channel, socket, credential, request.family ?? 'other');
  };
  const finishWhere = (
    channels: readonly Channel[],
    reason: CloseReason,
    condition: (connection: Connection) => boolean,
  ) => {
    for (const connection of lifecycle.withdraw(
      (waiting) => channels.includes(waiting.channel) && condition(waiting),
    )) {
      lifecycle.hangUp(connection, reason);
    }
    for (const channel of channels) {
      for (const connection of channel.connections.filter(condition)) lifecycle.finish(connection, reason);
    }
  };

  return {
    get connections() {
      return lifecycle.open;
    },
    get waiting() {
      return lifecycle.waiting;
    },
    environment(source) {
      const channels: Channel[] = [];
      let removed = false;
      environments.add(channels);
      const channelFor = (kind: StreamKind, framing: Framing): Channel => {
        const known = channels.find((channel) => channel.kind === kind && channel.framing === framing);
        if (known) return known;
        const channel = createChannel({
          environment: source.name,
          view: source.view,
          environmentId: () => source.environmentId?.(),
          kind,
          framing,
          logMessages,
          logBytes,
          meter,
          late: lifecycle.late,
        });
        channels.push(channel);
        return channel;
      };
      return {
        open(socket, request) {
          const channel = channelFor(request.kind, request.httpVersion === '1.0' ? 'plain' : 'chunked');
          const opened = !closing && !removed && !socket.destroyed && accept(channel, socket, request);
          if (!opened) meter.refused(source.name);
          return opened;
        },
        publish(change) {
          for (const channel of channels) channel.publish(change);
        },
        closeCredential: (credential) => {
          credentials.delete(credential);
          finishWhere(channels, 'revoked', (connection) => connection.credential === credential);
        },
        remove() {
          removed = true;
          finishWhere(channels, 'removed', () => true);
          environments.delete(channels);
        },
        get connections() {
          return channels.reduce((sum, channel) => sum + channel.connections.length, 0);
        },
      };
    },
    async closeAll(windowMs) {
      closing = true;
      for (const connection of lifecycle.withdraw(() => true)) lifecycle.hangUp(connection, 'shutdown');
      const channels = [...environments].flat();
      const all = channels.flatMap((channel) => channel.connections);
      const start = performance.now();
      for (let done = 0; done < all.length; ) {
        const share = windowMs > 0 ? Math.min(1, (performance.now() - start) / windowMs) : 1;
        for (const target = Math.ceil(all.length * share); done < target; done++)
          lifecycle.finish(all[done]!, 'shutdown');
        if (done < all.length) await pause(Math.min(50, windowMs / 10));
      }
      for (const until = performance.now() + CLOSE_GRACE_MS; lifecycle.open > 0 && performance.now() < until; )
        await pause(10);
      for (const { connections } of channels)
        for (const connection of connections) lifecycle.hangUp(connection, 'shutdown');
      lifecycle.stop('shutdown');
    },
  };
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
