/** LaunchDarkly's streams of flags, in both protocols. */
import { counted } from '../common/counted.ts';
import { inSlices, resultOf } from '../common/slices.ts';
import type { Log, Outbound, StreamAttempt } from '../ports.ts';
import { type EventStreamTimes, startEventStream, streamUrl } from './event-stream.ts';
import { createFDv2Reader } from './fdv2-reader.ts';
import { type Held, LARGE_CHARACTERS, type Message, prepareItem, readMessage } from './messages.ts';
import { createReceived, receivedLimit } from './received-limit.ts';
import type { Step, SynchronizerEvents, Way } from './synchronizer.ts';

export interface FlagStreamOptions extends EventStreamTimes {
  /** LaunchDarkly's stream server or another relay; `/all` or `/sdk/stream` is appended to its path. */
  readonly streamUri: string;
  readonly sdkKey: string;
  /** The key of a payload filter. */
  readonly filter?: string | undefined;
  readonly log: Log;
  /** `EdgeFlagRelay/<version>` */
  readonly userAgent: string;
  /** Absent: a direct connection. */
  readonly outbound?: Outbound | undefined;
  /** What memory holds. After a reconnect most items are unchanged and are not validated again. */
  readonly held?: Held | undefined;
  /** For log lines: how many flags clients get; undefined before there is data. */
  readonly serving?: { readonly environment: string; flags(): number | undefined } | undefined;
  /** After each attempt to connect. */
  onAttempt?(attempt: StreamAttempt): void;
}

/** FDv1's `/all`. Throws CONFIG_INVALID when `streamUri` is not an http or https address. */
export function fdv1Stream(options: FlagStreamOptions): Way {
  // Asking the system for its limits takes longer than a small event.
  const { held, maxReceivedBytes: maxBytes = receivedLimit() } = options;
  const url = streamUrl(options.streamUri, '/all', queryOf({ filter: options.filter }));
  return {
    name: "FDv1's stream",
    start: (events) =>
      startEventStream({
        ...common(options, events),
        url,
        onOpen: events.onOpen,
        onEvent(event, data, receivedAt) {
          const apply = (message: Message) => events.onStep(stepOf(message), receivedAt);
          const reading = readMessage(event, data, { held, maxBytes });
          return data.length > LARGE_CHARACTERS
            ? inSlices(prepared(reading, held)).then(apply)
            : apply(resultOf(reading));
        },
      }),
  };
}

/** FDv2's `/sdk/stream`. Throws CONFIG_INVALID when `streamUri` is not an http or https address. */
export function fdv2Stream(options: FlagStreamOptions): Way {
  const { filter, held, maxReceivedBytes: maxBytes, receivedMemory } = options;
  const url = streamUrl(options.streamUri, '/sdk/stream', '');
  return {
    name: "FDv2's stream",
    start(events, basis) {
      // The transfer and the events of one connection count together.
      const received = createReceived(receivedMemory);
      const reader = createFDv2Reader({ held, maxBytes, received });
      return startEventStream({
        ...common(options, events),
        url,
        query: () => queryOf({ basis: basis(), filter }),
        onOpen: events.onOpen,
        onEvent(event, data, receivedAt) {
          const apply = (step: Step) => events.onStep(step, receivedAt);
          const reading = reader.read(event, data);
          return data.length > LARGE_CHARACTERS ? inSlices(reading).then(apply) : apply(resultOf(reading));
        },
        received,
        transfer: reader.transfer,
        onOver: reader.reset,
      });
    },
  };
}

function common(
  { held: _, serving, ...options }: FlagStreamOptions,
  { onAlive, onDelay, onFailure }: SynchronizerEvents,
) {
  return {
    ...options,
    name: 'LaunchDarkly stream',
    outage: flagOutage({ serving }),
    key: options.sdkKey,
    onAlive,
    onDelay,
    onFailure,
  };
}

/** What log lines about flags' connections say. */
export function flagOutage({ serving }: Pick<FlagStreamOptions, 'serving'>) {
  return {
    key: serving ? `the SDK key of environment "${serving.environment}"` : 'the SDK key',
    meanwhile() {
      if (!serving) return undefined;
      const flags = serving.flags();
      return flags === undefined ? 'there are no flags yet' : `still serving ${counted(flags, 'flag')}`;
    },
  };
}

/** Prepares the items of a whole set in slices. */
function* prepared(reading: Generator<void, Message>, held: Held | undefined): Generator<void, Message> {
  const message = yield* reading;
  if (message.kind === 'put') {
    for (const item of message.items) {
      yield* prepareItem(item, held?.(item.kind, item.key));
      yield;
    }
  }
  return message;
}

function stepOf(message: Message): Step {
  switch (message.kind) {
    case 'put':
      return { kind: 'full', items: message.items, unreadable: message.unreadable, state: undefined };
    case 'upsert':
    case 'skip':
      return { kind: 'changes', changes: [message.item], state: undefined };
    default:
      return message;
  }
}

/** Omits empty parameters. Never throws: half of a surrogate pair becomes U+FFFD, as in every URL. */
export function queryOf(parameters: Readonly<Record<string, string | undefined>>): string {
  const parts = Object.entries(parameters).flatMap(([name, value]) =>
    value === undefined || value === '' ? [] : `${name}=${encodeURIComponent(value.toWellFormed())}`,
  );
  return parts.length === 0 ? '' : `?${parts.join('&')}`;
}
