/** All open streams of the relay: environments, their channels, and how streams are ended together. */
import type { Socket } from 'node:net';
import type { Item } from '../../lib/flag-table/index.ts';
import type { Change, ClientView, CredentialKind, ItemView } from '../ports.ts';
import { type Channel, type ChannelBasics, createChannel } from './channel.ts';
import type { Connection, Opening } from './connection.ts';
import { createEvaluatedChannel } from './evaluated-channel.ts';
import type { Framing } from './framing.ts';
import { createLifecycle } from './lifecycle.ts';
import { createFDv2Feed, createFeed, type FDv2Source, type StreamKind } from './messages.ts';
import { type CloseReason, type StreamMeter, silentMeter } from './meter.ts';
import type { Affected } from './passes.ts';
import { createPingChannel } from './ping-channel.ts';

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
  /** What streams of evaluated flags get: flags, or pings upon which SDKs fetch them. `evaluated` unless told. */
  readonly clientStreams?: 'evaluated' | 'ping';
  /** A ping comes at a random moment between half of it and all of it; 0, as unless told: at once. */
  readonly pingJitterMs?: number;
  readonly meter?: StreamMeter;
}

/** What an environment holds, and what is known about it beyond that. */
export interface StreamedView extends ItemView {
  /** Without it there are no FDv2 streams. */
  readonly fdv2?: FDv2Source;
  /** Which flags may answer differently after a change of these items; without it: all. */
  affected?(items: readonly Item[]): Affected;
}

/** An environment as the hub needs it. */
export interface StreamSource {
  readonly name: string;
  readonly view: StreamedView;
  /** Without it streams of evaluated flags get pings. */
  readonly clientView?: ClientView | undefined;
  /** For `X-LD-EnvID`. */
  environmentId?(): string | undefined;
}

export interface StreamRequest extends Opening {
  readonly kind: StreamKind;
  /** `sdkKey` unless told. For `eval`, whose flags are shown. */
  readonly credentialKind?: CredentialKind;
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
   * their first payload, or the relay is closing, or the environment has no such streams); the socket is untouched and is
   * to be answered with 503.
   */
  open(socket: Socket, request: StreamRequest): boolean;
  /** To be called with every change, in the same turn of the event loop in which the view changed; the first data too. */
  publish(change: Change): void;
  /** To be called when answers of these flags may differ although no item does: memberships in Big Segments changed. */
  refresh(flagKeys: readonly string[]): void;
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
  const { clientStreams = 'evaluated', pingJitterMs = 0 } = options;
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
    const { credentialKind = 'sdkKey', family = 'other', headers, context, withReasons, basis } = request;
    const opening = { headers, context, withReasons, basis };
    return lifecycle.accept(channel, socket, { credential, credentialKind, family, opening });
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
      const channelFor = (kind: StreamKind, framing: Framing): Channel | undefined => {
        const known = channels.find((channel) => channel.kind === kind && channel.framing === framing);
        const channel = known ?? create(kind, framing);
        if (channel && !known) channels.push(channel);
        return channel;
      };
      const create = (kind: StreamKind, framing: Framing): Channel | undefined => {
        const { name, view, clientView } = source;
        const environmentId = () => source.environmentId?.();
        const basics: ChannelBasics = {
          ...{ environment: name, view, environmentId, kind, framing, meter },
          late: lifecycle.late,
        };
        if (kind === 'ping' || kind === 'refetch')
          return createPingChannel({ ...basics, kind, jitterMs: pingJitterMs });
        if (kind === 'eval') {
          return clientView && createEvaluatedChannel({ ...basics, clientView, affected: affectedIn(view) });
        }
        const feed = kind === 'fdv2' ? view.fdv2 && createFDv2Feed(view.fdv2) : createFeed(kind, view);
        return feed && createChannel({ ...basics, feed, logMessages, logBytes });
      };
      return {
        open(socket, request) {
          const evaluates = clientStreams === 'evaluated' && source.clientView && request.context;
          const kind = request.kind === 'eval' && !evaluates ? 'ping' : request.kind;
          const channel = channelFor(kind, request.httpVersion === '1.0' ? 'plain' : 'chunked');
          const opened = !closing && !removed && !socket.destroyed && !!channel && accept(channel, socket, request);
          if (!opened) meter.refused(source.name);
          return opened;
        },
        publish(change) {
          for (const channel of channels) channel.publish(change);
        },
        refresh(flagKeys) {
          for (const channel of channels) channel.refresh?.(flagKeys);
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

/** What the view says; one that does not say may be affected everywhere. */
function affectedIn(view: StreamedView): (items: readonly Item[]) => Affected {
  if (view.affected) return (items) => view.affected!(items);
  return () => ({ flagKeys: Array.from(view.items('features'), ({ key }) => key), bigSegments: true });
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
