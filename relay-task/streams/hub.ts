/** All open streams of the relay: the channels of its environments, and how streams are closed together. */
import type { Socket } from 'node:net';
import { createBudget } from '../common/budget.ts';
import { createEvaluationLines } from '../common/evaluation-lines.ts';
import { createFairTurns } from '../common/fair-turns.ts';
import { sleep } from '../common/pause.ts';
import type { Change, StreamKind, StreamOpening } from '../ports.ts';
import { type Channel, type Connection, hangUp } from './connection.ts';
import type { Framing } from './framing.ts';
import { type ChannelSettings, type StreamSource, streamKinds } from './kinds.ts';
import { createLifecycle, type LifecycleOptions } from './lifecycle.ts';
import { type CloseReason, type RefusalReason, silentMeter } from './meter.ts';
import type { ChannelBasics } from './readers.ts';

export type { StreamSource } from './kinds.ts';

/** What users set. Durations in ms; 0: none. */
type HubSettings = Pick<ChannelSettings, 'clientStreams' | 'pingJitterMs'> &
  Pick<LifecycleOptions, 'heartbeatMs' | 'maxAgeMs'>;

/** For the defaults see `channelSettingsOf` and `lifecycleOptionsOf`. */
export type HubOptions = HubSettings & Partial<ChannelSettings & LifecycleOptions>;

/** The streams of one environment. */
export interface EnvironmentStreams {
  /**
   * Takes over the socket until it closes, or returns why the stream is turned away; then the socket is untouched and must be answered
   * with 503.
   */
  open(socket: Socket, opening: StreamOpening): RefusalReason | undefined;
  /** Call with every change, including the first data, in the turn of the event loop in which the view changed. */
  publish(change: Change): void;
  /** Call when values of these flags may have changed although no item did: memberships in Big Segments changed. */
  refresh(flagKeys: readonly string[]): void;
  /**
   * Call before a change after which the view holds data of another source, in the same turn: streams that open afterwards
   * may belong to clients that must not see the earlier data, so they get nothing that was made from it.
   */
  renew(): void;
  /** Closes the streams that were opened with this credential. */
  closeCredential(credential: string): void;
  /** Closes all streams and forgets the environment. */
  remove(): void;
  readonly connections: number;
}

export interface Hub {
  environment(source: StreamSource): EnvironmentStreams;
  /** Refuses new streams and closes all others, spread evenly over `windowMs`. Resolves when no socket is left. */
  closeAll(windowMs: number): Promise<void>;
  readonly connections: number;
  /** Streams that wait for their first payload. */
  readonly waiting: number;
  /** Streams that hold one of the places for first payloads. */
  readonly starting: number;
}

type Named = Pick<Channel, 'environment' | 'kind'>;

/** How long `closeAll` waits for closed sockets after its window. */
const CLOSE_GRACE_MS = 2_000;

export function createHub(options: HubOptions): Hub {
  const settings = channelSettingsOf(options);
  const lifecycleOptions = lifecycleOptionsOf(options);
  const lifecycle = createLifecycle(lifecycleOptions);
  const { meter } = lifecycleOptions;
  const environments = new Set<readonly Channel[]>();
  /** Each credential once, so that connections share its text. */
  const credentials = new Map<string, string>();
  let closing = false;

  const finishWhere = (
    channels: readonly Channel[],
    reason: CloseReason,
    condition: (connection: Connection) => boolean,
  ) => {
    for (const connection of lifecycle.withdraw(
      (waiting) => channels.includes(waiting.channel) && condition(waiting),
    )) {
      hangUp(connection, reason);
    }
    for (const channel of channels) {
      for (const connection of channel.connections.filter(condition)) lifecycle.finish(connection, reason);
    }
  };

  const failed = ({ environment, kind }: Named, connections: readonly Connection[], error: unknown) => {
    meter.failed(environment, kind, error);
    // A copy: closing takes them off the list.
    for (const connection of [...connections]) hangUp(connection, 'failed');
  };
  const guarded = (channel: Channel, work: () => void) => {
    try {
      work();
    } catch (error) {
      failed(channel, channel.connections, error);
    }
  };

  return {
    get connections() {
      return lifecycle.open;
    },
    get waiting() {
      return lifecycle.waiting;
    },
    get starting() {
      return lifecycle.starting;
    },
    environment(source) {
      const channels: Channel[] = [];
      const channelFor = createChannelFinder(channels, source, settings, { meter, ...lifecycle }, failed);
      let removed = false;
      environments.add(channels);
      const accept = (socket: Socket, opening: StreamOpening): RefusalReason | undefined => {
        const channel = channelFor(opening.kind, opening.httpVersion === '1.0' ? 'plain' : 'chunked');
        if (closing || removed || socket.destroyed || !channel) return 'closing';
        const credential = credentials.get(opening.credential) ?? opening.credential;
        credentials.set(credential, credential);
        return lifecycle.accept(channel, socket, credential, opening);
      };
      return {
        open(socket, opening) {
          const refused = accept(socket, opening);
          if (refused) meter.refused(source.name, refused);
          return refused;
        },
        publish(change) {
          for (const channel of channels) guarded(channel, () => channel.publish(change));
        },
        refresh(flagKeys) {
          for (const channel of channels) guarded(channel, () => channel.refresh?.(flagKeys));
        },
        renew() {
          for (const channel of channels) channel.renew?.();
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
      for (const connection of lifecycle.withdraw(() => true)) hangUp(connection, 'shutdown');
      const channels = [...environments].flat();
      const all = channels.flatMap((channel) => channel.connections);
      await spreadEvenly(all, windowMs, (connection) => lifecycle.finish(connection, 'shutdown'));
      const deadline = performance.now() + CLOSE_GRACE_MS;
      while (lifecycle.open > 0 && performance.now() < deadline) await sleep(10);
      for (const { connections } of channels) {
        for (const connection of connections) hangUp(connection, 'shutdown');
      }
      lifecycle.stop('shutdown');
    },
  };
}

function channelSettingsOf(options: HubOptions): ChannelSettings {
  return {
    clientStreams: options.clientStreams,
    pingJitterMs: options.pingJitterMs,
    logMessages: options.logMessages ?? 1_024,
    logBytes: options.logBytes ?? 4 * 1024 * 1024,
    evaluations: options.evaluations ?? createEvaluationLines(),
    turns: options.turns ?? createFairTurns({ maxWaiting: Infinity }),
  };
}

function lifecycleOptionsOf(options: HubOptions): LifecycleOptions {
  return {
    heartbeatMs: options.heartbeatMs,
    maxAgeMs: options.maxAgeMs,
    stallMs: options.stallMs ?? 30_000,
    maxBehindBytes: options.maxBehindBytes ?? 8 * 1024 * 1024,
    maxInitialInFlight: options.maxInitialInFlight || 256,
    maxInitialWaiting: options.maxInitialWaiting ?? 4_096,
    placeMs: options.placeMs ?? 1_000,
    memory: options.memory ?? { servers: createBudget(Infinity), clients: createBudget(Infinity) },
    meter: options.meter ?? silentMeter,
  };
}

async function spreadEvenly<T>(items: readonly T[], windowMs: number, visit: (item: T) => void): Promise<void> {
  const start = performance.now();
  for (let done = 0; done < items.length; ) {
    const share = windowMs > 0 ? Math.min(1, (performance.now() - start) / windowMs) : 1;
    const target = Math.ceil(items.length * share);
    for (const item of items.slice(done, target)) visit(item);
    done = target;
    if (done < items.length) await sleep(Math.min(50, windowMs / 10));
  }
}

/** Finds or creates an environment's channels; undefined for a kind that it cannot serve. */
function createChannelFinder(
  channels: Channel[],
  source: StreamSource,
  settings: ChannelSettings,
  { meter, late, sent, limit }: Pick<ChannelBasics, 'meter' | 'late' | 'sent' | 'limit'>,
  failed: (channel: Named, connections: readonly Connection[], error: unknown) => void,
): (kind: StreamKind, framing: Framing) => Channel | undefined {
  const { name: environment, view } = source;
  const environmentId = () => source.environmentId?.();
  const find = (kind: StreamKind, framing: Framing): Channel | undefined => {
    const known = channels.find((channel) => channel.kind === kind && channel.framing === framing);
    if (known) return known;
    const { create, otherwise } = streamKinds[kind];
    const basics: ChannelBasics = {
      environment,
      view,
      environmentId,
      kind,
      framing,
      meter,
      late,
      sent,
      limit,
      failed: (connections, error) => failed({ environment, kind }, connections, error),
    };
    const created = create(basics, source, settings);
    if (!created) return otherwise && find(otherwise, framing);
    channels.push(created);
    return created;
  };
  return find;
}
