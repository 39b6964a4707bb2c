/** Receives the events of one environment. */
import type { Item } from '../../lib/flag-table/index.ts';
import type { CredentialKind, EventDelivery, EventIntake } from '../ports.ts';
import type { Budget } from './budget.ts';
import type { Address, Courier } from './courier.ts';
import { createDiagnostics } from './diagnostics.ts';
import { type IncomingEvent, isEvent, parseIncoming } from './incoming.ts';
import { diagnosticHeaders, type Metadata, metadataOf, outgoingHeaders, textOf } from './metadata.ts';
import type { EventMeter } from './metrics.ts';
import { createQueue, type DropReason } from './queue.ts';
import { createQueues, type EventQueue } from './queues.ts';
import { createRecent } from './recent.ts';
import { summarise } from './summarise.ts';
import { createSummary } from './summary.ts';
import type { EventTimings } from './timings.ts';

/** The credentials that an environment's events are sent with. */
export interface EventCredentials {
  readonly sdkKey?: string | undefined;
  readonly mobileKey?: string | undefined;
  readonly environmentId?: string | undefined;
}

export interface EnvironmentEventsOptions {
  readonly name: string;
  /** Called before every attempt, so that a rotated key is used at once. Must not throw. */
  readonly credentials: () => EventCredentials;
  /** The flag as memory holds it. Must not throw. */
  readonly flag: (key: string) => Item | undefined;
}

export interface EnvironmentEvents extends EventIntake {
  /** Starts sending what is queued. */
  flush(): void;
  /** Stops accepting events; resolves when all are delivered, or dropped after `timeoutMs`. */
  close(timeoutMs: number): Promise<void>;
}

export interface EnvironmentEventsParts {
  readonly capacity: number;
  readonly maxPayloadBytes: number;
  readonly budget: Budget;
  readonly courier: Courier;
  readonly meter: EventMeter;
  /** Called for every loss. */
  readonly lost: (reason: DropReason) => void;
  readonly kept: () => void;
  readonly timings: EventTimings;
  readonly random: () => number;
}

const PAYLOADS_REMEMBERED = 5_000;
/** The default of LaunchDarkly's SDKs. */
const CONTEXTS_REMEMBERED = 1_000;

export function createEnvironmentEvents(
  { name, credentials, flag }: EnvironmentEventsOptions,
  parts: EnvironmentEventsParts,
): EnvironmentEvents {
  const { capacity, budget, courier, meter, timings, random } = parts;
  const payloads = createRecent(PAYLOADS_REMEMBERED);
  let contextsForgottenAt = performance.now();
  let closed = false;

  const dropped = (reason: DropReason, events: number) => {
    meter.dropped(name, reason, events);
    parts.lost(reason);
  };

  const queues = createQueues((about): EventQueue => {
    const headers = outgoingHeaders(about);
    const queue = createQueue({
      capacity,
      maxPayloadBytes: parts.maxPayloadBytes,
      budget,
      deliver: (json) =>
        courier.deliver({
          subject: `analytics, ${about.kind}`,
          address: () => analyticsAddress(about.kind, credentials()),
          headers,
          json,
          patience: 'much',
        }),
      forwarded(events) {
        meter.forwarded(name, about.kind, events);
        parts.kept();
      },
      dropped,
      summary: about.unsummarized ? createSummary(capacity, budget) : undefined,
    });
    return Object.assign(queue, { seen: about.unsummarized ? createRecent(CONTEXTS_REMEMBERED) : undefined });
  });

  const diagnostics = createDiagnostics<EventDelivery>({
    budget,
    deliver: ({ kind, headers, body }) =>
      courier.deliver({
        subject: `diagnostics, ${kind}`,
        address: () => diagnosticAddress(kind, credentials()),
        headers: diagnosticHeaders(headers),
        json: body,
        patience: 'little',
      }),
    dropped,
  });

  function outgoing(events: readonly IncomingEvent[], { schema }: Metadata, { seen, summary }: EventQueue) {
    if (!seen || !summary) return events.map(({ text }) => text);
    const { serverTime } = courier;
    return summarise(events, { schema, summary, seen, flag, serverTime, random, dropped });
  }

  return {
    analytics(delivery) {
      if (closed) return dropped('closed', 1);
      const id = textOf(delivery.headers, 'x-launchdarkly-payload-id');
      if (id !== '' && !payloads.add(`${delivery.kind} ${id}`)) return meter.repeated(name);
      const { events, malformed, isDiagnostic } = parseIncoming(delivery.body);
      if (isDiagnostic) return diagnostics.add(delivery);
      meter.received(name, delivery.kind, events.length + malformed);
      if (malformed > 0) dropped('malformed', malformed);
      if (events.length === 0) return;
      const about = metadataOf(delivery);
      const queue = queues.find(about);
      queue.add(outgoing(events, about, queue));
    },
    diagnostic(delivery) {
      if (closed) return dropped('closed', 1);
      if (isEvent(delivery.body)) diagnostics.add(delivery);
      else dropped('malformed', 1);
    },
    flush() {
      const now = performance.now();
      const forget = now - contextsForgottenAt >= timings.forgetContextsMs;
      if (forget) contextsForgottenAt = now;
      for (const queue of queues.all()) {
        if (forget) queue.seen?.clear();
        queue.flush();
      }
      queues.sweep(timings.idleQueueMs);
      courier.lookAtKeys();
    },
    async close(timeoutMs) {
      closed = true;
      const finished = async () => {
        for (const queue of queues.all()) queue.flush();
        courier.hurry();
        await Promise.all([...Array.from(queues.all(), (queue) => queue.drained()), diagnostics.drained()]);
      };
      const timer = setTimeout(() => courier.stop(), timeoutMs);
      await finished();
      clearTimeout(timer);
    },
  };
}

function analyticsAddress(kind: CredentialKind, credentials: EventCredentials): Address | undefined {
  const { sdkKey, mobileKey, environmentId } = credentials;
  if (kind === 'sdkKey') return sdkKey === undefined ? undefined : { path: '/bulk', key: sdkKey };
  if (kind === 'mobileKey') return mobileKey === undefined ? undefined : { path: '/mobile', key: mobileKey };
  return environmentId === undefined ? undefined : { path: `/events/bulk/${encodeURIComponent(environmentId)}` };
}

function diagnosticAddress(kind: CredentialKind, credentials: EventCredentials): Address | undefined {
  const { sdkKey, mobileKey, environmentId } = credentials;
  if (kind === 'sdkKey') return sdkKey === undefined ? undefined : { path: '/diagnostic', key: sdkKey };
  if (kind === 'mobileKey')
    return mobileKey === undefined ? undefined : { path: '/mobile/events/diagnostic', key: mobileKey };
  return environmentId === undefined ? undefined : { path: `/events/diagnostic/${encodeURIComponent(environmentId)}` };
}
