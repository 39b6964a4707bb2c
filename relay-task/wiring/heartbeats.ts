/** Follows heartbeat flags from their arrival to streams, to the table and to its replicas, and sends them. */
import { heartbeatOf, type Item, type Rev } from '../../lib/flag-table/index.ts';
import type { Config } from '../config/config.ts';
import type { Change, Log, Outbound, StoreStatus } from '../ports.ts';
import type { Propagation } from '../status/propagation.ts';
import { createReplicas, type ReplicaTimings } from '../store/heartbeat-replicas.ts';
import type { Hub } from '../streams/hub.ts';
import type { StreamMeter } from '../streams/meter.ts';
import { type Pulse, type PulseTarget, type PulseTimings, startPulse } from '../upstream/heartbeat-pulse.ts';
import { type Expected, type OverdueTimings, startOverdue } from './overdue-heartbeats.ts';
import type { Place } from './stores.ts';
import type { Tenant } from './tenant.ts';

interface HeartbeatsOptions {
  readonly config: Pick<Config, 'heartbeat' | 'dynamoDB'>;
  readonly propagation: Propagation;
  tenants(): readonly Tenant[];
  readonly outbound: Outbound;
  readonly userAgent: string;
  readonly log: Log;
  readonly timings?: HeartbeatTimings | undefined;
}

/** For tests; a relay never changes them. */
export interface HeartbeatTimings {
  readonly pulse?: PulseTimings;
  readonly replicas?: ReplicaTimings;
  /** `limitMs`: in place of five times the configured interval. */
  readonly overdue?: OverdueTimings & { readonly limitMs?: number };
  /** Unix ms at which heartbeats arrive. */
  now?(): number;
}

interface Beat {
  /** Ms from its sending to now. The clock is read once, when it arrives: a step of the clock afterwards changes nothing. */
  age(): number;
}

interface HeldBeat extends Beat {
  /** `performance.now()` when it arrived. */
  readonly receivedAt: number;
  readonly written: Set<string>;
  isStored: boolean;
}

export function createHeartbeats(options: HeartbeatsOptions) {
  const { config, propagation, tenants, log, timings = {} } = options;
  const { now = Date.now } = timings;
  const { replicas: places, apiToken } = config.heartbeat;
  const replicas =
    places.length > 0
      ? createReplicas({ replicas: places, agents: options.outbound.awsAgents, log, timings: timings.replicas })
      : undefined;
  let pulse: Pulse | undefined;
  let overdue: ReturnType<typeof startOverdue> | undefined;
  /** By name, so that a change costs the same however many environments there are. */
  const named = new Map<string, Tenant>();
  /** Each environment's flag at its last change, and the flag's last heartbeat. */
  const latest = new Map<string, { readonly key: string; readonly sentAt: number | undefined }>();
  const beats = new Map<string, HeldBeat>();

  function look(environment: string, { items, receivedAt }: Change): void {
    const tenant = named.get(environment);
    const key = tenant && flagOf(tenant, config);
    if (!tenant || key === undefined) {
      latest.delete(environment);
      return;
    }
    const known = latest.get(environment);
    // A flag that is named while the relay runs may hold a time of long ago, which any change of the flag brings.
    if (known?.key !== key) {
      beats.delete(environment);
      latest.set(environment, { key, sentAt: sentAtOf(tenant.memory.get('features', key)) });
      return;
    }
    const sentAt = sentAtOf(items.find((one) => one.kind === 'features' && one.key === key));
    const before = known.sentAt;
    if (sentAt === undefined || sentAt === before) return;
    latest.set(environment, { key, sentAt });
    pulse?.seen(environment);
    // An older one is no news: the flag was set back, or came from a server that lags.
    if (sentAt < (before ?? 0) || !isConfirmed(tenant)) {
      beats.delete(environment);
      return;
    }
    const arrivedAfterMs = now() - (performance.now() - receivedAt) - sentAt;
    const age = () => arrivedAfterMs + performance.now() - receivedAt;
    beats.set(environment, { age, receivedAt, written: new Set(), isStored: false });
    propagation.beat(environment, 'relay', arrivedAfterMs);
    overdue?.arrived(environment);
  }

  /** What came with the first flags of LaunchDarkly may have been changed long ago. */
  const isConfirmed = (tenant: Tenant | undefined) => (tenant?.upstream?.status().checkedNow ?? 0) > 0;

  function lookInReplicas(environment: string, { prefix, tableName }: Place, beat: Beat, rev: Rev): void {
    if (!replicas) return;
    for (const { region } of places) propagation.sought(environment, region);
    replicas.look(environment, {
      tableName: tableName ?? config.dynamoDB?.tableName ?? '',
      prefix,
      rev,
      found: (region) => propagation.beat(environment, 'replica', beat.age(), region),
      missed: (region) => propagation.missed(environment, region),
    });
  }

  return {
    /** A hub's environments, each seen by its own first. */
    environments:
      (environment: Hub['environment']): Hub['environment'] =>
      (source) => {
        const streams = environment(source);
        const { publish } = streams;
        // In place: the others are read as they are.
        return Object.assign(streams, {
          publish(change: Change) {
            look(source.name, change);
            publish(change);
          },
        });
      },
    /** The meter of streams, read here too. */
    meter: (meter: StreamMeter): StreamMeter => ({
      ...meter,
      broadcast(durationMs, pass) {
        const { environment, kind, since, until: newest } = pass;
        meter.broadcast(durationMs, pass);
        propagation.took('stream', durationMs);
        const beat = beats.get(environment);
        // While no stream of this kind was open it was not written, and later changes tell nothing of it.
        if (!beat || since > beat.receivedAt || newest < beat.receivedAt || beat.written.has(kind)) return;
        beat.written.add(kind);
        propagation.beat(environment, 'stream', beat.age());
      },
    }),
    /** See `StepOptions.publishing`. What arrives while it publishes may not be in it. */
    publishing: (environment: string, place: Place) => () => {
      const beat = beats.get(environment);
      return (since: number | undefined, rev: Rev | undefined) => {
        if (since === undefined) return;
        propagation.took('table', performance.now() - since);
        // Another relay stored it if this one wrote nothing while it arrived.
        if (!beat || since > beat.receivedAt || beat.isStored) return;
        beat.isStored = true;
        propagation.beat(environment, 'table', beat.age());
        if (rev) lookInReplicas(environment, place, beat, rev);
      };
    },
    added(tenant: Tenant): void {
      named.set(tenant.name, tenant);
    },
    removed(tenant: Tenant): void {
      const { name } = tenant;
      // Another one may have its name by now.
      if (named.get(name) !== tenant) return;
      named.delete(name);
      latest.delete(name);
      beats.delete(name);
    },
    /** Begins to watch for heartbeats, and to send them if there is a token. */
    start(): void {
      const { apiUri, intervalMs } = config.heartbeat;
      const { limitMs = INTERVALS_LATE * intervalMs, ...overdueTimings } = timings.overdue ?? {};
      overdue = startOverdue({
        expected: () => expectedOf(tenants(), config),
        limitMs,
        tell: propagation.overdue,
        log,
        timings: overdueTimings,
      });
      if (apiToken === undefined) return;
      const { outbound, userAgent } = options;
      propagation.sends();
      pulse = startPulse({
        targets: () => targetsOf(tenants(), config),
        apiUri,
        token: apiToken,
        intervalMs,
        outbound,
        userAgent,
        log,
        wrote: propagation.wrote,
        timings: timings.pulse,
      });
    },
    async close(): Promise<void> {
      overdue?.close();
      await Promise.all([pulse?.close(), replicas?.close()]);
    },
  };
}

/** After so many intervals without a heartbeat it is overdue: one or two may be lost, and one may be sent a quarter later. */
const INTERVALS_LATE = 5;

/** A flags file of one environment has no heartbeats because all others have. */
function* expectedOf(tenants: readonly Tenant[], config: HeartbeatsOptions['config']): Generator<Expected> {
  for (const tenant of tenants) {
    const { name, filter, description } = tenant;
    const { data, flagsFile, heartbeatFlag } = description;
    const flag = flagOf(tenant, config);
    if (flag === undefined || filter !== '' || data || (flagsFile !== undefined && heartbeatFlag === undefined))
      continue;
    yield { environment: name, flag };
  }
}

function sentAtOf(item: Item | undefined): number | undefined {
  return item && !item.deleted ? heartbeatOf(item.json)?.sentAt : undefined;
}

/** The key of the heartbeat flag, as the source of environments says at present; undefined: there is none. */
function flagOf({ description }: Tenant, { heartbeat }: HeartbeatsOptions['config']): string | undefined {
  return description.heartbeatFlag ?? heartbeat.flag;
}

/** The environments whose heartbeats this relay may send: it hears LaunchDarkly, and is the one that writes the flag table, if there is one. */
function* targetsOf(tenants: readonly Tenant[], config: HeartbeatsOptions['config']): Generator<PulseTarget> {
  for (const tenant of tenants) {
    const { name, filter, description, memory, stores, upstream } = tenant;
    const flagKey = flagOf(tenant, config);
    const { flagsFile, data, labels, projectKey } = description;
    const isLaunchDarkly = flagsFile === undefined && data === undefined;
    if (flagKey === undefined || filter !== '' || !isLaunchDarkly || !upstream?.status().current) continue;
    if (stores.some((store) => isOthers(store.status()))) continue;
    const item = memory.get('features', flagKey);
    yield {
      environment: name,
      flagKey,
      // LaunchDarkly may leave a label empty.
      projectKey: projectKey ?? (labels?.projKey || config.heartbeat.project),
      flag: item && !item.deleted ? heartbeatOf(item.json) : undefined,
    };
  }
}

/** Whether another relay writes the flag table. */
function isOthers({ database, writer }: StoreStatus): boolean {
  return database === 'dynamodb' && !writer;
}
