import { errorText } from '../common/error-text.ts';
import type { BigSegmentPatch, Log, Outbound } from '../ports.ts';
import { readPatches } from './big-segments-patches.ts';
import { type EventStreamTimes, startEventStream, streamUrl } from './event-stream.ts';
import { createHandover } from './handover.ts';
import { type Failure, invalidData } from './status.ts';

interface BigSegmentStreamOptions extends EventStreamTimes {
  /** `/big-segments` is appended to its path. */
  readonly streamUri: string;
  readonly sdkKey: string;
  readonly userAgent: string;
  readonly outbound?: Outbound | undefined;
  readonly log: Log;
  onOpen(): void;
  onAlive(): void;
  /** Why a large event is late; undefined: it no longer is. */
  onDelay(reason: string | undefined): void;
  /** False: there is no room for them. */
  onPatches(patches: readonly BigSegmentPatch[]): boolean;
  /** Patches were discarded, because too many are queued or they are too large: they have to be polled. */
  onOverflow(): void;
  /** The stream of the active key failed; it reconnects. */
  onFailure(failure: Failure): void;
}

interface Member {
  readonly sdkKey: string;
  connection?: { close(): void };
  isOpen: boolean;
}

/** Longer events are polled instead. */
const MAX_EVENT_LENGTH = 512 * 1024;

/** LaunchDarkly's stream of patches. Changes keys without a gap. Throws CONFIG_INVALID for an invalid address. */
export function createBigSegmentStream(options: BigSegmentStreamOptions) {
  const url = streamUrl(options.streamUri, '/big-segments', '');
  const handover = createHandover<Member>({
    sdkKey: options.sdkKey,
    create: (sdkKey) => ({ sdkKey, isOpen: false }),
    isReady: ({ isOpen }) => isOpen,
    isKept: ({ isOpen }) => isOpen,
    onPromote: () => options.log.info('Big Segments stream now uses the new SDK key'),
    leave: ({ connection }) => connection?.close(),
  });
  let started = false;

  function start(member: Member): void {
    member.connection = startEventStream({
      ...options,
      name: 'Big Segments stream',
      outage: { key: 'the SDK key for Big Segments', meanwhile: () => 'keeping what the store has of them' },
      url,
      key: member.sdkKey,
      onOpen() {
        member.isOpen = true;
        handover.promoteWhenReady();
        options.onOpen();
      },
      *onEvent(_event, data) {
        if (data.length > MAX_EVENT_LENGTH) {
          options.onOverflow();
          return undefined;
        }
        try {
          const patches = yield* readPatches(data);
          if (!options.onPatches(patches)) options.onOverflow();
          return undefined;
        } catch (error) {
          return invalidData(errorText(error));
        }
      },
      onFailure(failure) {
        member.isOpen = false;
        if (member === handover.active()) options.onFailure(failure);
      },
    });
  }

  return {
    /** Idempotent. */
    open(): void {
      if (!started) start(handover.active());
      started = true;
    },
    isOpen: () => handover.active().isOpen,
    /** The key to poll with. */
    key(): string {
      const active = handover.active();
      return (active.isOpen ? active : (handover.next() ?? active)).sdkKey;
    },
    /** If the stream of the previous key is open, it stays open until the new one is. */
    setKey(sdkKey: string): void {
      const member = handover.setKey(sdkKey);
      if (member && started) start(member);
    },
    close(): void {
      started = true;
      handover.leaveAll();
    },
  };
}
