import type { IncomingHttpHeaders } from 'node:http';
import type { Item } from '../../lib/flag-table/index.ts';
import type { UnreadableItem } from '../ports.ts';
import type { Failure } from './status.ts';

/** One way to get flags and their changes, such as a stream or polling. Retries every failure until it is closed. */
export interface Synchronizer {
  /** Nothing is reported after this. */
  close(): void;
}

/** What a synchronizer reports. None of these throws, but each may close it. */
export interface SynchronizerEvents {
  /** LaunchDarkly accepted the key. */
  onOpen(headers: IncomingHttpHeaders): void;
  /** Data arrived, possibly just a heartbeat. */
  onAlive(): void;
  /**
   * One step; `receivedAt` as `performance.now()`. Returns undefined to go on, `reconnect` when LaunchDarkly asked for it, or a
   * failure, which also reconnects.
   */
  onStep(step: Step, receivedAt: number): Failure | 'reconnect' | undefined;
  /** Why something large is late; undefined: it no longer is. */
  onDelay(reason: string | undefined): void;
  /** Called after each failure; a retry follows. */
  onFailure(failure: Failure): void;
}

/** What an event means, in either protocol. */
export type Step =
  /** Part of a transfer, or nothing at all. */
  | { readonly kind: 'pending' }
  /** Everything. */
  | {
      readonly kind: 'full';
      readonly items: readonly Item[];
      readonly unreadable: readonly UnreadableItem[];
      readonly state: string | undefined;
    }
  /** What has changed since the state that was named. */
  | {
      readonly kind: 'changes';
      readonly changes: readonly (Item | UnreadableItem)[];
      /** What to name as `basis` next time; '': nothing. Undefined: the protocol has no states. */
      readonly state: string | undefined;
    }
  /** The state that was named is the present one. */
  | { readonly kind: 'current' }
  /** LaunchDarkly is about to close the stream. `fallbackMs`: it also asks for FDv1 for this long; 0: for good. */
  | { readonly kind: 'goodbye'; readonly reason: string; readonly fallbackMs?: number }
  /** An unknown event or object, which LaunchDarkly's SDKs ignore as well. */
  | { readonly kind: 'ignored'; readonly why: string }
  /** The transfer is damaged and has to begin again. */
  | { readonly kind: 'invalid'; readonly problem: string };

/**
 * A kind of synchronizer. `basis` returns the state that memory has; '' if LaunchDarkly gave it no name, undefined if memory has
 * none to which changes could be applied.
 */
export interface Way {
  /** For log lines. */
  readonly name: string;
  start(events: SynchronizerEvents, basis: () => string | undefined): Synchronizer;
}
