/** Brings what SDKs tell about evaluations to LaunchDarkly. */
import type { Registry } from 'prom-client';
import { createTurnstile } from '../common/turnstile.ts';
import { RelayError } from '../errors.ts';
import type { Log, Outbound } from '../ports.ts';
import { createBudget } from './budget.ts';
import { createCourier } from './courier.ts';
import {
  createEnvironmentEvents,
  type EnvironmentEvents,
  type EnvironmentEventsOptions,
} from './environment-events.ts';
import { createEventMeter } from './metrics.ts';
import type { DropReason } from './queue.ts';
import { type EventTimings, usualTimings } from './timings.ts';

export type { EnvironmentEvents, EnvironmentEventsOptions, EventCredentials } from './environment-events.ts';

export interface EventForwardingOptions {
  /** Such as `https://events.launchdarkly.com`, with or without a path. */
  readonly eventsUri: string;
  /** How often queues are sent; one that is half full does not wait. 5,000 by default. */
  readonly flushIntervalMs?: number;
  /** Events that a queue holds beside those being sent. 1,000 by default. */
  readonly capacity?: number;
  /** Of all queues together. 32 MiB by default. */
  readonly maxBytes?: number;
  /** Of one request, before compression, unless one SDK's body alone is larger. 4 MiB by default. */
  readonly maxPayloadBytes?: number;
  /** Requests under way at a time. 8 by default. */
  readonly maxInFlight?: number;
  readonly userAgent: string;
  readonly outbound?: Outbound | undefined;
  readonly log: Log;
  readonly registry?: Registry | undefined;
  /** Takes everything and sends nothing: there is no LaunchDarkly to send to. */
  readonly discard?: boolean;
  readonly timings?: Partial<EventTimings>;
  /** From 0 to 1; for sampling and jitter. */
  readonly random?: () => number;
}

export interface EventForwarding {
  /** The intake of one environment. Its `close` ends it alone. */
  environment(options: EnvironmentEventsOptions): EnvironmentEvents;
  /** Takes nothing in any more, delivers what was taken in, and stops; what is left when the time is over is lost. */
  close(timeoutMs: number): Promise<void>;
}

/** Throws a RelayError CONFIG_INVALID when `eventsUri` is no URL of a web server. */
export function createEventForwarding(options: EventForwardingOptions): EventForwarding {
  const { log, random = Math.random, discard = false } = options;
  const eventsUri = readUri(options.eventsUri);
  const timings = { ...usualTimings, ...options.timings };
  const meter = createEventMeter(options.registry);
  const budget = createBudget(options.maxBytes ?? 32 * 1_024 ** 2, meter.queued);
  const turnstile = createTurnstile({ maxInside: options.maxInFlight ?? 8 });
  const open = new Set<EnvironmentEvents>();
  const timer = setInterval(() => {
    for (const environment of open) environment.flush();
  }, options.flushIntervalMs ?? 5_000);
  timer.unref();

  function create(environment: EnvironmentEventsOptions): EnvironmentEvents {
    const { name } = environment;
    const told = new Set<DropReason>();
    const courier = createCourier({
      eventsUri,
      environment: name,
      userAgent: options.userAgent,
      timings,
      turnstile,
      outbound: options.outbound,
      log,
      retried: () => meter.retried(name),
      random,
    });
    return createEnvironmentEvents(environment, {
      capacity: options.capacity ?? 1_000,
      maxPayloadBytes: options.maxPayloadBytes ?? 4 * 1_024 ** 2,
      budget,
      courier,
      meter,
      timings,
      random,
      lost(reason) {
        if (!told.has(reason)) log.warn('events were lost', { environment: name, reason });
        told.add(reason);
      },
      kept: () => told.clear(),
    });
  }

  function discarding({ name }: EnvironmentEventsOptions): EnvironmentEvents {
    const drop = () => meter.dropped(name, 'offline', 1);
    return { analytics: drop, diagnostic: drop, flush() {}, close: async () => {} };
  }

  return {
    environment(of) {
      if (discard) return discarding(of);
      const created = create(of);
      const environment = {
        ...created,
        async close(timeoutMs: number) {
          await created.close(timeoutMs);
          open.delete(environment);
        },
      };
      open.add(environment);
      return environment;
    },
    async close(timeoutMs) {
      await Promise.all(Array.from(open, (environment) => environment.close(timeoutMs)));
      clearInterval(timer);
    },
  };
}

function readUri(uri: string): string {
  const url = URL.canParse(uri) ? new URL(uri) : undefined;
  if (url?.protocol === 'https:' || url?.protocol === 'http:') return url.origin + url.pathname.replace(/\/+$/, '');
  throw new RelayError('CONFIG_INVALID', `the address for events must begin with https:// or http://, not ${uri}`);
}
