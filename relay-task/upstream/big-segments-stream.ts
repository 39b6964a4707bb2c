import { describeError } from '../common/http-request.ts';
import type { BigSegmentPatch, Log, Outbound } from '../ports.ts';
import { parsePatches } from './big-segments-patches.ts';
import { type EventStreamTimes, startEventStream, streamUrl } from './event-stream.ts';
import type { Failure } from './status.ts';

export interface BigSegmentStreamOptions extends EventStreamTimes {
  /** `/big-segments` is appended to its path. */
  readonly streamUri: string;
  readonly sdkKey: string;
  readonly userAgent: string;
  readonly outbound?: Outbound | undefined;
  readonly log: Log;
  /** How many patches are queued. */
  waiting(): number;
  onOpen(): void;
  onAlive(): void;
  onPatches(patches: readonly BigSegmentPatch[]): void;
  /** Patches were discarded because too many are queued. */
  onOverflow(): void;
  /** The stream of the active key failed; it reconnects. */
  onFailure(failure: Failure): void;
}

export interface BigSegmentStream {
  /** Idempotent. */
  open(): void;
  isOpen(): boolean;
  /** The key to poll with. */
  key(): string;
  /** If the stream of the previous key is open, it stays open until the new one is. */
  setKey(sdkKey: string): void;
  close(): void;
}

interface Member {
  readonly key: string;
  connection?: { close(): void };
  isOpen: boolean;
}

const MAX_WAITING = 1_000;

/** LaunchDarkly's stream of patches. Changes keys without a gap. Throws CONFIG_INVALID for an invalid address. */
export function createBigSegmentStream(options: BigSegmentStreamOptions): BigSegmentStream {
  const url = streamUrl(options.streamUri, '/big-segments', '');
  let active: Member = { key: options.sdkKey, isOpen: false };
  let next: Member | undefined;
  let started = false;

  function start(member: Member): void {
    member.connection = startEventStream({
      ...options,
      name: 'Big Segments stream',
      rejected: 'LaunchDarkly rejected the SDK key for Big Segments; retrying slowly',
      url,
      key: member.key,
      onOpen() {
        member.isOpen = true;
        if (member === next) {
          active.connection?.close();
          [active, next] = [member, undefined];
          options.log.info('Big Segments stream now uses the new SDK key');
        }
        options.onOpen();
      },
      onEvent(_event, data) {
        try {
          const patches = parsePatches(data);
          if (options.waiting() + patches.length > MAX_WAITING) options.onOverflow();
          else options.onPatches(patches);
          return undefined;
        } catch (error) {
          return { kind: 'INVALID_DATA', message: describeError(error) };
        }
      },
      onFailure(failure) {
        member.isOpen = false;
        if (member === active) options.onFailure(failure);
      },
    });
  }

  return {
    open() {
      if (!started) start(active);
      started = true;
    },
    isOpen: () => active.isOpen,
    key: () => (active.isOpen ? active : (next ?? active)).key,
    setKey(sdkKey) {
      if (sdkKey === (next ?? active).key) return;
      next?.connection?.close();
      next = undefined;
      if (sdkKey === active.key) return;
      const member: Member = { key: sdkKey, isOpen: false };
      if (active.isOpen) next = member;
      else {
        active.connection?.close();
        active = member;
      }
      if (started) start(member);
    },
    close() {
      started = true;
      active.connection?.close();
      next?.connection?.close();
    },
  };
}
