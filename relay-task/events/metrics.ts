import type { Measures } from '../common/measures.ts';
import type { CredentialKind } from '../ports.ts';
import type { DropReason } from './queue.ts';

/** Counts what happens to events. */
export interface EventMeter {
  /** As sent by SDKs. */
  received(environment: string, kind: CredentialKind, events: number): void;
  /** As accepted by LaunchDarkly, after summarizing; `bytes` before compression. */
  forwarded(environment: string, kind: CredentialKind, events: number, bytes: number): void;
  dropped(environment: string, reason: DropReason, events: number): void;
  /** Of the dropped ones those that were sent, with the last status; undefined: there was no response. */
  failed(environment: string, events: number, status: number | undefined): void;
  /** A payload that an SDK sent again. */
  repeated(environment: string): void;
  retried(environment: string): void;
  queued(bytes: number): void;
  /** Left in the spool for another process, when this one ends. */
  spooled(environment: string, events: number): void;
  /** Taken from what another process has left. */
  replayed(environment: string, events: number): void;
  /** Accepted without being in the spool. */
  unspooled(reason: 'full' | 'slow' | 'failed', events: number): void;
  /** From now on there is a spool. */
  watchSpool(look: () => { readonly bytes: number; readonly ageMs: number }): void;
}

/** `pending`: how many events of each open environment are queued or being sent. */
export function createEventMeter(
  measures: Measures,
  pending: () => Iterable<readonly [environment: string, events: number]>,
): EventMeter {
  const received = measures.counter('events_received_total');
  const forwarded = measures.counter('events_forwarded_total');
  const forwardedBytes = measures.counter('events_forwarded_bytes_total');
  const dropped = measures.counter('events_dropped_total');
  const failed = measures.counter('events_failed_total');
  const repeated = measures.counter('event_payloads_repeated_total');
  const retried = measures.counter('event_retries_total');
  const bytes = measures.gauge('events_queue_bytes');
  const spooled = measures.counter('events_spooled_total');
  const replayed = measures.counter('events_replayed_total');
  const unspooled = measures.counter('events_unspooled_total');
  measures.gauge('events_pending', (gauge) => {
    // Environments come and go. Those that are replaced by one of the same name may still have some.
    gauge.reset();
    for (const [env, events] of pending()) gauge.inc({ env }, events);
  });
  let spool = () => ({ bytes: 0, ageMs: 0 });
  measures.gauge('events_spool_bytes', (gauge) => gauge.set(spool().bytes));
  measures.gauge('events_spool_oldest_seconds', (gauge) => gauge.set(spool().ageMs / 1_000));

  return {
    spooled: (env, events) => spooled.inc({ env }, events),
    replayed: (env, events) => replayed.inc({ env }, events),
    unspooled: (reason, events) => unspooled.inc({ reason }, events),
    watchSpool(look) {
      spool = look;
      // From the start, so that the first ones count in `rate()`.
      for (const reason of ['full', 'slow', 'failed']) unspooled.inc({ reason }, 0);
    },
    received: (env, kind, events) => received.inc({ env, kind }, events),
    forwarded(env, kind, events, bytes) {
      forwarded.inc({ env, kind }, events);
      forwardedBytes.inc({ env }, bytes);
    },
    dropped: (env, reason, events) => dropped.inc({ env, reason }, events),
    failed: (env, events, status) => failed.inc({ env, status: String(status ?? '') }, events),
    repeated: (env) => repeated.inc({ env }),
    retried: (env) => retried.inc({ env }),
    queued: (used) => bytes.set(used),
  };
}
