/**
 * Receives the events that came with one credential. Everything that is kept of them belongs to that credential, since the
 * next one of the same kind may be of another environment of LaunchDarkly.
 */
import type { Item } from '../../lib/flag-table/index.ts';
import type { Budget } from '../common/budget.ts';
import type { CredentialKind, EventDelivery, EventIntake } from '../ports.ts';
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

export interface CredentialEventsOptions {
  /** Of the environment. */
  readonly name: string;
  readonly kind: CredentialKind;
  /** What to send the events with. Called before every attempt. Must not throw. */
  readonly sender: () => string;
  /** The flag as memory holds it. Must not throw. */
  readonly flag: (key: string) => Item | undefined;
}

export interface CredentialEvents extends Omit<EventIntake, 'closed'> {
  /** Nothing is queued or being sent. */
  readonly idle: boolean;
  /** Starts sending what is queued. */
  flush(): void;
  /** Resolves when all are delivered, or dropped after `timeoutMs`. Nothing may be added any more. */
  finish(timeoutMs: number): Promise<void>;
}

export interface CredentialEventsParts {
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

export function createCredentialEvents(
  { name, kind, sender, flag }: CredentialEventsOptions,
  parts: CredentialEventsParts,
): CredentialEvents {
  const { capacity, budget, courier, meter, timings, random } = parts;
  const payloads = createRecent(PAYLOADS_REMEMBERED);
  let contextsForgottenAt = performance.now();

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
      deliver: (json, progress) =>
        courier.deliver({
          subject: `analytics, ${kind}`,
          address: () => addressOf('analytics', kind, sender()),
          headers,
          json,
          patience: 'much',
          progress,
        }),
      forwarded(events) {
        meter.forwarded(name, kind, events);
        parts.kept();
      },
      dropped,
      summary: about.unsummarized ? createSummary(capacity, budget) : undefined,
    });
    return Object.assign(queue, { seen: about.unsummarized ? createRecent(CONTEXTS_REMEMBERED) : undefined });
  });

  const diagnostics = createDiagnostics<EventDelivery>({
    budget,
    deliver: ({ headers, body }) =>
      courier.deliver({
        subject: `diagnostics, ${kind}`,
        address: () => addressOf('diagnostic', kind, sender()),
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
    get idle() {
      return diagnostics.idle && Array.from(queues.all()).every((queue) => queue.idle);
    },
    analytics(delivery) {
      const id = textOf(delivery.headers, 'x-launchdarkly-payload-id');
      if (id !== '' && !payloads.add(id)) return meter.repeated(name);
      const { events, malformed, isDiagnostic } = parseIncoming(delivery.body);
      if (isDiagnostic) return diagnostics.add(delivery);
      meter.received(name, kind, events.length + malformed);
      if (malformed > 0) dropped('malformed', malformed);
      if (events.length === 0) return;
      const about = metadataOf(delivery.headers);
      const queue = queues.find(about);
      queue.add(outgoing(events, about, queue));
    },
    diagnostic(delivery) {
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
    async finish(timeoutMs) {
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

const PATHS = {
  analytics: { sdkKey: '/bulk', mobileKey: '/mobile', environmentId: '/events/bulk' },
  diagnostic: {
    sdkKey: '/diagnostic',
    mobileKey: '/mobile/events/diagnostic',
    environmentId: '/events/diagnostic',
  },
};

function addressOf(what: keyof typeof PATHS, kind: CredentialKind, sender: string): Address {
  const path = PATHS[what][kind];
  return kind === 'environmentId' ? { path: `${path}/${encodeURIComponent(sender)}` } : { path, key: sender };
}
