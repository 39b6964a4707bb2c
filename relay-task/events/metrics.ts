import type { Measures } from '../common/measures.ts';
import type { CredentialKind } from '../ports.ts';
import type { DropReason } from './queue.ts';

/** Counts what happens to events. */
export interface EventMeter {
  /** As sent by SDKs. */
  received(environment: string, kind: CredentialKind, events: number): void;
  /** As accepted by LaunchDarkly, after summarizing. */
  forwarded(environment: string, kind: CredentialKind, events: number): void;
  dropped(environment: string, reason: DropReason, events: number): void;
  /** A payload that an SDK sent again. */
  repeated(environment: string): void;
  retried(environment: string): void;
  queued(bytes: number): void;
}

export function createEventMeter(measures: Measures): EventMeter {
  const received = measures.counter('events_received_total');
  const forwarded = measures.counter('events_forwarded_total');
  const dropped = measures.counter('events_dropped_total');
  const repeated = measures.counter('event_payloads_repeated_total');
  const retried = measures.counter('event_retries_total');
  const bytes = measures.gauge('events_queue_bytes');
  return {
    received: (env, kind, events) => received.inc({ env, kind }, events),
    forwarded: (env, kind, events) => forwarded.inc({ env, kind }, events),
    dropped: (env, reason, events) => dropped.inc({ env, reason }, events),
    repeated: (env) => repeated.inc({ env }),
    retried: (env) => retried.inc({ env }),
    queued: (used) => bytes.set(used),
  };
}
