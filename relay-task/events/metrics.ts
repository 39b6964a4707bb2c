import { Counter, Gauge, type Registry } from 'prom-client';
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

export function createEventMeter(registry: Registry): EventMeter {
  const registers = [registry];
  const counter = (name: string, help: string, ...labels: string[]) =>
    new Counter({ name, help, labelNames: ['env', ...labels], registers });

  const received = counter('relay_events_received_total', 'Events received from SDKs.', 'kind');
  const forwarded = counter('relay_events_forwarded_total', 'Events accepted by LaunchDarkly.', 'kind');
  const dropped = counter('relay_events_dropped_total', 'Events and diagnostic events dropped, by reason.', 'reason');
  const repeated = counter(
    'relay_event_payloads_repeated_total',
    'Payloads that an SDK sent again, ignored as duplicates.',
  );
  const retried = counter('relay_event_retries_total', 'Payloads retried after a failure.');
  const bytes = new Gauge({
    name: 'relay_events_queue_bytes',
    help: 'Memory used by events that are queued or being sent, in bytes.',
    registers,
  });

  return {
    received: (env, kind, events) => received.inc({ env, kind }, events),
    forwarded: (env, kind, events) => forwarded.inc({ env, kind }, events),
    dropped: (env, reason, events) => dropped.inc({ env, reason }, events),
    repeated: (env) => repeated.inc({ env }),
    retried: (env) => retried.inc({ env }),
    queued: (used) => bytes.set(used),
  };
}
