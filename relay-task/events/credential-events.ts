/**
 * Receives the events that came with one credential. Everything that is kept for them belongs to that credential, since the next one of the
 * same kind may be of another environment of LaunchDarkly.
 */
import type { Item } from '../../lib/flag-table/index.ts';
import type { Budget } from '../common/budget.ts';
import type { CredentialKind, EventIntake } from '../ports.ts';
import type { Address, Courier, Payload, Verdict } from './courier.ts';
import { createCredentialSpool } from './credential-spool.ts';
import { createDiagnostics } from './diagnostics.ts';
import type { LastAnswer } from './flights.ts';
import { createKeptSummary } from './kept-summary.ts';
import { heldBytes } from './line.ts';
import { diagnosticHeaders, type Metadata, outgoingHeaders, queueKey, textOf } from './metadata.ts';
import type { EventMeter } from './metrics.ts';
import { createQueue, type DropReason } from './queue.ts';
import { createQueues, type EventQueue } from './queues.ts';
import { createReading } from './reading.ts';
import { createRecent, shortHash } from './recent.ts';
import { createSenderMemory } from './sender-memory.ts';
import type { Spool } from './spool.ts';
import type { ReplayTarget } from './spool-replay.ts';
import { createSummary } from './summary.ts';
import { createSuspects } from './suspects.ts';
import { MAX_DIAGNOSTIC_BYTES, parseDiagnostic } from './take-in.ts';
import type { EventTimings } from './timings.ts';

export interface CredentialEventsOptions {
  /** Of the environment. */
  readonly name: string;
  readonly kind: CredentialKind;
  /** What they came with. */
  readonly credential: string;
  /** LaunchDarkly's ID of the environment that it belongs to, as far as is known. Must not throw. */
  readonly environmentId: () => string | undefined;
  /** What to send the events with. Called before every attempt. Must not throw. */
  readonly sender: () => string;
  /** The flag as memory holds it. Must not throw. */
  readonly flag: (key: string) => Item | undefined;
}

export interface CredentialEvents extends Omit<EventIntake, 'closed'> {
  /** Sends what the relay itself has to say, which counts as nobody's events. Resolves when it was delivered or given up. */
  own(event: OwnEvent): Promise<void>;
  /** Nothing is queued or being sent. */
  readonly idle: boolean;
  /** How many analytics events are queued or being sent. */
  readonly events: number;
  /** Starts sending what is queued. */
  flush(): void;
  /** Releases the memory of what is remembered; nothing is sent any more. */
  forget(): void;
  /** Events that another process has left, with this metadata. */
  left(about: Metadata): ReplayTarget;
  /** A body with this ID was taken in by another process. */
  remember(id: string): void;
  /**
   * Resolves when all are delivered, or dropped after `timeoutMs`. Nothing may be added any more. `leaves`: what is in the spool then stays
   * there, for another process.
   */
  finish(timeoutMs: number, leaves: boolean): Promise<void>;
}

/** JSON: an array of analytics events, or one diagnostic event. */
export interface OwnEvent {
  readonly what: keyof typeof PATHS;
  readonly json: string;
}

export interface CredentialEventsParts {
  readonly capacity: number;
  readonly maxPayloadBytes: number;
  readonly budget: Budget;
  /** For the contexts and payload IDs that are remembered. */
  readonly memory: Budget;
  readonly courier: Courier;
  readonly meter: EventMeter;
  readonly spool?: Spool | undefined;
  /** Called for each loss. */
  readonly lost: (reason: DropReason, events: number) => void;
  /** A body was dropped because reading it failed, which is a fault of the relay. */
  readonly failed: (error: unknown) => void;
  readonly timings: EventTimings;
  readonly random: () => number;
}

/** Of the relay's own events. */
const OWN_SCHEMA = '4';
const PAYLOADS_REMEMBERED = 5_000;
/** LaunchDarkly's SDKs remember 1,000 each, and one credential may serve a few kinds of them. */
export const CONTEXTS_REMEMBERED = 4_000;

export function createCredentialEvents(
  { name, kind, credential, environmentId, sender, flag }: CredentialEventsOptions,
  parts: CredentialEventsParts,
): CredentialEvents {
  const { capacity, budget, courier, meter, timings, random } = parts;
  const remembered = createRemembered(parts.memory, timings.forgetContextsMs);
  const memory = createSenderMemory({ budget, drop: (sender, bytes) => queues.drop(sender, bytes) });
  const suspects = createSuspects(timings.suspectMs);
  const left = (events: number) => meter.spooled(name, events);
  const spool =
    parts.spool && createCredentialSpool(parts.spool, { environment: name, kind, credential, environmentId, left });

  const dropped = (reason: DropReason, events: number, last?: LastAnswer) => {
    meter.dropped(name, reason, events);
    if (last) meter.failed(name, events, last.status);
    parts.lost(reason, events);
  };

  function deliver(what: keyof typeof PATHS, payload: Omit<Payload, 'subject' | 'address'>): Promise<Verdict> {
    return courier.deliver({ subject: `${what}, ${kind}`, address: () => addressOf(what, kind, sender()), ...payload });
  }

  const queues = createQueues((about): EventQueue => {
    const headers = outgoingHeaders(about);
    const keeping = spool?.keepingOf(about);
    const summary = about.unsummarized ? createSummary(capacity, memory) : undefined;
    const queue = createQueue({
      capacity,
      maxPayloadBytes: parts.maxPayloadBytes,
      memory,
      suspects,
      // The headers are one object for each queue.
      deliver: (json, how) => deliver('analytics', { headers, json, queue: headers, retries: 'many', ...how }),
      forwarded: (events, bytes) => meter.forwarded(name, kind, events, bytes),
      dropped,
      keeping,
      summary: summary && keeping ? createKeptSummary(summary, keeping) : summary,
      landed() {
        for (const other of queues.all()) other.proceed();
      },
    });
    return Object.assign(queue, { seen: about.unsummarized ? remembered.contextsOf(about) : undefined });
  });

  const ownQueue = {};
  /** Events of the relay itself. */
  const own = new Set<Promise<unknown>>();
  const diagnostics = createDiagnostics({
    memory,
    deliver: ({ headers, body: json }, answered) =>
      deliver('diagnostics', { headers: diagnosticHeaders(headers), json, queue: ownQueue, retries: 'few', answered }),
    dropped,
  });

  /** Bodies that are being read, by their IDs. */
  const underWay = new Map<string, Promise<unknown>>();
  const reading = createReading({
    queues,
    flag,
    serverTime: () => courier.serverTime,
    random,
    received: (events) => meter.received(name, kind, events),
    dropped,
    diagnostic: diagnostics.add,
    failed: parts.failed,
  });

  return {
    get idle() {
      return reading.idle && own.size === 0 && diagnostics.idle && queues.idle;
    },
    get events() {
      return Array.from(queues.all()).reduce((sum, queue) => sum + queue.events, 0);
    },
    async own({ what, json }) {
      const headers: Record<string, string> = what === 'analytics' ? { 'X-LaunchDarkly-Event-Schema': OWN_SCHEMA } : {};
      const retries = what === 'analytics' ? 'many' : 'few';
      const sent = deliver(what, { headers, json: Buffer.from(json), queue: own, retries });
      own.add(sent);
      await sent;
      own.delete(sent);
    },
    async analytics(delivery) {
      const id = textOf(delivery.headers, 'x-launchdarkly-payload-id');
      if (id !== '' && !remembered.payloads.add(id)) {
        meter.repeated(name);
        // The answer says that it is safe, and the first one may still be read.
        await underWay.get(id);
        return spool?.written();
      }
      const read = reading.read(delivery);
      if (id !== '') underWay.set(id, read);
      const isWhole = await read;
      underWay.delete(id);
      if (id !== '' && isWhole) spool?.body(id);
      await spool?.written();
    },
    diagnostic(delivery) {
      if (delivery.body.length > MAX_DIAGNOSTIC_BYTES) dropped('too-large', 1);
      else if (parseDiagnostic(delivery.body)) diagnostics.add(delivery);
      else dropped('malformed', 1);
    },
    flush() {
      remembered.refresh();
      queues.flush();
      queues.sweep(timings.idleQueueMs);
      courier.lookAtKeys();
    },
    forget() {
      remembered.forget();
      courier.forget();
    },
    left: (about) => ({
      reserve: memory.reserveSpare,
      release: memory.release,
      heldBytes,
      send: (batches, id) => queues.find(about).replay(batches, id),
    }),
    remember: (id) => void remembered.payloads.add(id),
    async finish(timeoutMs, leaves) {
      const leavesRest = leaves && spool !== undefined;
      if (leavesRest) spool.leave();
      const timer = setTimeout(() => {
        reading.stop();
        courier.stop();
      }, timeoutMs);
      await reading.ended();
      queues.flush();
      courier.hurry(leavesRest ? 'closed' : 'refused');
      await queues.drained();
      await diagnostics.drained();
      clearTimeout(timer);
      // They are worth no wait.
      if (own.size > 0) courier.stop();
      await Promise.all(own);
      remembered.forget();
    },
  };
}

/** Payloads by their IDs, so that none is taken twice, and the contexts that were described to LaunchDarkly. */
function createRemembered(memory: Budget, forgetContextsMs: number) {
  const payloads = createRecent(PAYLOADS_REMEMBERED, memory);
  /** One for all queues: a client may invent as many kinds of SDK as there are queues. */
  const contexts = createRecent(CONTEXTS_REMEMBERED, memory);
  let forgottenAt = performance.now();
  return {
    payloads,
    /** Each kind of SDK describes its contexts itself. */
    contextsOf(about: Metadata): EventQueue['seen'] {
      const kindOfSdk = shortHash(queueKey(about));
      return { add: (context) => contexts.add(kindOfSdk + context) };
    },
    /** Forgets the contexts when it is time to describe them again. */
    refresh(): void {
      const now = performance.now();
      if (now - forgottenAt < forgetContextsMs) return;
      forgottenAt = now;
      contexts.clear();
    },
    forget(): void {
      payloads.clear();
      contexts.clear();
    },
  };
}

const PATHS = {
  analytics: { sdkKey: '/bulk', mobileKey: '/mobile', environmentId: '/events/bulk' },
  diagnostics: {
    sdkKey: '/diagnostic',
    mobileKey: '/mobile/events/diagnostic',
    environmentId: '/events/diagnostic',
  },
};

function addressOf(what: keyof typeof PATHS, kind: CredentialKind, sender: string): Address {
  const path = PATHS[what][kind];
  return kind === 'environmentId' ? { path: `${path}/${encodeURIComponent(sender)}` } : { path, key: sender };
}
