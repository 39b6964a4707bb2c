/** Forwards SDK events to LaunchDarkly. */
import { type Budget, createBudget, createShare } from '../common/budget.ts';
import { httpAddress } from '../common/http-address.ts';
import type { Measures } from '../common/measures.ts';
import { createPacedLines, createReasonLines, type PacedLines } from '../common/paced-lines.ts';
import type { Log, Outbound, SpoolStatus } from '../ports.ts';
import { createCourier } from './courier.ts';
import {
  type CredentialEvents,
  type CredentialEventsOptions,
  type CredentialEventsParts,
  createCredentialEvents,
} from './credential-events.ts';
import {
  createEnvironmentEvents,
  type EnvironmentEvents,
  type EnvironmentEventsOptions,
} from './environment-events.ts';
import { createEventMeter } from './metrics.ts';
import { createPlaces } from './places.ts';
import type { DropReason } from './queue.ts';
import { createReaches, type Reach } from './reach.ts';
import { createSpool, type SpoolSettings } from './spool.ts';
import type { FindReplayTarget } from './spool-replay.ts';
import { type EventTimings, usualTimings } from './timings.ts';

export type { EnvironmentEvents } from './environment-events.ts';

export interface EventForwardingOptions {
  /** For example `https://events.launchdarkly.com`, with or without a path. */
  readonly eventsUri: string;
  /** How often queues are flushed; one that is half full is sent at once. */
  readonly flushIntervalMs: number;
  /** Events per queue, not counting those being sent. */
  readonly capacity: number;
  /** For all queues together, and an eighth of it for what is remembered. 32 MiB by default. */
  readonly maxBytes?: number;
  /** Of the whole process. */
  readonly parentBudget?: Budget | undefined;
  /** Per request, before compression; a larger body from one SDK is still sent whole. 4 MiB by default. */
  readonly maxPayloadBytes?: number;
  /** Concurrent requests of one credential. 8 by default. */
  readonly maxInFlight?: number;
  /** Concurrent requests of all credentials, but each may always have one. 64 by default. */
  readonly maxInFlightTogether?: number;
  readonly userAgent: string;
  readonly outbound?: Outbound | undefined;
  readonly log: Log;
  readonly measures: Measures;
  /** Offline mode: accepts events and drops them. */
  readonly discard?: boolean;
  /** Where events survive the process. */
  readonly spool?: (SpoolSettings & { readonly log?: Log }) | undefined;
  readonly timings?: Partial<EventTimings>;
  /** From 0 to 1; for sampling and jitter. */
  readonly random?: () => number;
}

export interface EventForwarding {
  /** Opens one environment, which can be closed separately. */
  environment(options: EnvironmentEventsOptions): EnvironmentEvents;
  /** Undefined without a spool. */
  spool(): SpoolStatus | undefined;
  /** Stops accepting events and delivers the queued ones; what is left after `timeoutMs` stays in the spool, or is dropped. */
  close(timeoutMs: number): Promise<void>;
}

/** The log lines of one environment. */
interface Reports extends Pick<CredentialEventsParts, 'lost'> {
  readonly paced: PacedLines;
  /** Logs the losses that were not logged yet. */
  tellRest(): void;
  /** How many events were lost since the last call. */
  takeDropped(): number;
}

/** The memory for remembered contexts and payloads, as a part of that for events. */
const PART_OF_MEMORY = 1 / 8;

const LOSS = 'Events were dropped';
/** Messages that also say what to do. */
const LOSSES: Partial<Record<DropReason, string>> = {
  capacity: `${LOSS} because too many are waiting to be sent; raise EVENTS_CAPACITY, or find out who sends so many`,
  memory: `${LOSS} because waiting events take all the memory for events; raise MEMORY_BUDGET, or find out who sends so many`,
};

/** At most one line per reason in that time, since any client can cause any number of losses. */
function createReports(
  environment: string,
  { log, sameLineMs, ...limits }: { readonly log: Log; readonly sameLineMs: number } & LossLimits,
): Reports {
  const paced = createPacedLines(sameLineMs);
  /** Since the last line. */
  const lost = new Map<DropReason, number>();
  let untaken = 0;
  const tell = (reason: DropReason, more: { readonly suppressed?: number } = {}) => {
    const events = lost.get(reason);
    lost.delete(reason);
    log.warn(LOSSES[reason] ?? LOSS, { environment, reason, events, ...limitsOf(reason, limits), ...more });
  };
  return {
    paced,
    lost(reason, dropped) {
      untaken += dropped;
      lost.set(reason, (lost.get(reason) ?? 0) + dropped);
      paced(`dropped, ${reason}`, (more) => tell(reason, more));
    },
    tellRest() {
      for (const reason of lost.keys()) tell(reason);
    },
    takeDropped() {
      const taken = untaken;
      untaken = 0;
      return taken;
    },
  };
}

/** The limit that was reached. */
function limitsOf(reason: DropReason, { capacity, budgetBytes }: LossLimits): Partial<LossLimits> {
  if (reason === 'capacity') return { capacity };
  return reason === 'memory' ? { budgetBytes } : {};
}

interface LossLimits {
  readonly capacity: number;
  readonly budgetBytes: number;
}

/** Throws a RelayError CONFIG_INVALID when `eventsUri` is not an http or https URL. */
export function createEventForwarding(options: EventForwardingOptions): EventForwarding {
  const { log, random = Math.random, discard = false } = options;
  const { origin, pathname } = httpAddress('the events address', options.eventsUri);
  const eventsUri = origin + pathname.replace(/\/+$/, '');
  const timings = { ...usualTimings, ...options.timings };
  const open = new Map<EnvironmentEvents, string>();
  const meter = createEventMeter(options.measures, () => Array.from(open, ([{ events }, name]) => [name, events]));
  const { capacity, maxBytes = 32 * 1_024 ** 2, parentBudget: parent } = options;
  const budget = createBudget(maxBytes, { parent, changed: meter.queued });
  const budgetBytes = Math.min(maxBytes, parent?.maxBytes ?? Infinity);
  const memory = createBudget(budgetBytes * PART_OF_MEMORY, { parent });
  const places = createPlaces({ each: options.maxInFlight ?? 8, together: options.maxInFlightTogether ?? 64 });
  const find = findAmong(open);
  const spool = options.spool && !discard ? createSpool({ log, ...options.spool, meter, find }) : undefined;
  const timer = setInterval(() => {
    for (const environment of open.keys()) environment.flush();
    spool?.proceed();
  }, options.flushIntervalMs);
  timer.unref();
  const tellFailure = createReasonLines((fields) =>
    log.error('Cannot read a body of events; it was dropped', { ...fields, runbook: 'operations.md#relay-error' }),
  );
  const failed = (error: unknown) =>
    tellFailure(error instanceof Error ? (error.stack ?? error.message) : String(error));

  function openCredential(of: CredentialEventsOptions, { paced, lost }: Reports, reach: Reach): CredentialEvents {
    const { name } = of;
    const courier = createCourier({
      eventsUri,
      environment: name,
      userAgent: options.userAgent,
      timings,
      places: places.open(),
      reach,
      outbound: options.outbound,
      log,
      paced,
      retried: () => meter.retried(name),
      random,
    });
    return createCredentialEvents(of, {
      capacity,
      maxPayloadBytes: options.maxPayloadBytes ?? 4 * 1_024 ** 2,
      // The events of one credential must not take all the room.
      budget: createShare(budget),
      memory: createShare(memory),
      courier,
      meter,
      spool,
      timings,
      random,
      lost,
      failed,
    });
  }

  function discarding({ name }: EnvironmentEventsOptions): EnvironmentEvents {
    const drop = () => meter.dropped(name, 'offline', 1);
    return {
      closed: false,
      events: 0,
      status: () => undefined,
      analytics: async () => drop(),
      diagnostic: drop,
      own: async () => {},
      takeDropped: () => 0,
      flush() {},
      digests: () => [],
      left: () => undefined,
      close: async () => {},
    };
  }

  return {
    environment(of) {
      if (discard) return discarding(of);
      const { sameLineMs } = timings;
      const reports = createReports(of.name, { log, sameLineMs, capacity, budgetBytes });
      const reaches = createReaches(eventsUri);
      const created = createEnvironmentEvents(of, {
        idleMs: timings.idleQueueMs,
        open: (credential) => openCredential(credential, reports, reaches.open()),
        reach: reaches.status,
        takeDropped: reports.takeDropped,
        tooLate() {
          meter.dropped(of.name, 'closed', 1);
          reports.lost('closed', 1);
        },
      });
      const { close } = created;
      const environment = Object.assign(created, {
        async close(timeoutMs: number, leaves?: boolean) {
          await close(timeoutMs, leaves);
          reports.tellRest();
          open.delete(environment);
        },
      });
      open.set(environment, of.name);
      spool?.proceed();
      return environment;
    },
    spool: () => spool?.status(),
    async close(timeoutMs) {
      spool?.endReplay();
      await Promise.all(Array.from(open.keys(), (environment) => environment.close(timeoutMs, true)));
      clearInterval(timer);
      await spool?.close();
    },
  };
}

/**
 * Where events of the spool go. A credential belongs to one environment of LaunchDarkly, whatever the relay calls it, so it counts more than
 * the name; and a name alone says nothing, since it may stand for another environment today.
 */
function findAmong(open: ReadonlyMap<EnvironmentEvents, string>): FindReplayTarget {
  let byDigest: Map<string, EnvironmentEvents> | undefined;

  /** The environments by their credentials, made at most once in a turn of the event loop. */
  function withDigest(digest: string): EnvironmentEvents | undefined {
    if (!byDigest) {
      byDigest = new Map();
      for (const events of open.keys()) for (const own of events.digests()) byDigest.set(own, events);
      setImmediate(() => {
        byDigest = undefined;
      });
    }
    return byDigest.get(digest);
  }

  function find({ environment, kind, digest, of }: Parameters<FindReplayTarget['bodies']>[0]) {
    const owner = withDigest(digest);
    if (owner) return owner.left(kind, digest);
    // Of several with one name, the latest.
    const named = [...open].filter(([, name]) => name === environment).at(-1)?.[0];
    return named?.left(kind, digest, of);
  }
  return {
    queue: (name) => find(name)?.left(name.about),
    bodies: (name) => find(name)?.remember,
  };
}
