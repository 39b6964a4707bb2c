/** A payload that remembers which of its events came together, and from whom. */
import { elementsIn } from '../common/json-elements.ts';
import { inSlices } from '../common/slices.ts';
import { type Kept, keptPart } from './spool-index.ts';

/** The sender of events that the relay itself adds. */
export const RELAY = '';

/** Events that came in one body, their JSON texts joined by commas. */
export interface Batch {
  readonly bytes: Buffer;
  readonly events: number;
  /** Identifies the address that they came from. */
  readonly sender: string;
  /** Where they are in the spool, if they are. */
  readonly kept?: readonly Kept[] | undefined;
  /** Releases their memory. Call it once they were sent or dropped. */
  readonly release: () => void;
}

interface Part extends Pick<Batch, 'events' | 'sender' | 'kept'> {
  /** The bytes in the JSON of the parcel. */
  readonly from: number;
  readonly to: number;
}

export interface Parcel {
  /** An array. */
  readonly json: Buffer;
  readonly parts: readonly Part[];
}

const [OPENING, COMMA, CLOSING] = ['[', ',', ']'].map((text) => Buffer.from(text)) as [Buffer, Buffer, Buffer];

export function parcelOf(batches: readonly Omit<Batch, 'release'>[]): Parcel {
  const pieces = [OPENING];
  const parts: Part[] = [];
  let at = OPENING.length;
  for (const { bytes, events, sender, kept } of batches) {
    if (parts.length > 0) {
      pieces.push(COMMA);
      at += COMMA.length;
    }
    pieces.push(bytes);
    parts.push({ events, sender, kept, from: at, to: at + bytes.length });
    at += bytes.length;
  }
  return { json: Buffer.concat([...pieces, CLOSING]), parts };
}

export function eventsIn({ parts }: { readonly parts: readonly Pick<Part, 'events'>[] }): number {
  return parts.reduce((sum, { events }) => sum + events, 0);
}

/** Where its events are in the spool. */
export function keptOf({ parts }: Pick<Parcel, 'parts'>): readonly Kept[] {
  return parts.flatMap(({ kept = [] }) => kept);
}

/** Its parts as they came. */
export function batchesOf({ json, parts }: Parcel): Omit<Batch, 'release'>[] {
  return parts.map(({ from, to, ...rest }) => ({ ...rest, bytes: json.subarray(from, to) }));
}

export function sendersOf({ parts }: Parcel): string[] {
  return Array.from(new Set(parts.map(({ sender }) => sender)));
}

/**
 * Divides it so that the events of one sender stay together as long as there are others, then those of one body. It has at least two
 * events. In slices, since only the last division looks for events.
 */
export function* halvesOf(parcel: Parcel): Generator<void, readonly [Parcel, Parcel]> {
  const { json, parts } = parcel;
  const takenFrom = (of: readonly Part[]) => parcelOf(batchesOf({ json, parts: of }));
  if (parts.length > 1) {
    const senders = sendersOf(parcel);
    const first = new Set(senders.slice(0, half(senders.length)));
    const isFirst = ({ sender }: Part, index: number) =>
      senders.length > 1 ? first.has(sender) : index < half(parts.length);
    return [takenFrom(parts.filter(isFirst)), takenFrom(parts.filter((of, index) => !isFirst(of, index)))];
  }
  const [part] = parts as readonly [Part];
  const left = half(part.events);
  const { end, start } = yield* gapBefore(json, left);
  return [
    takenFrom([{ ...part, events: left, to: end, kept: keptPart(part.kept, 0, left) }]),
    takenFrom([{ ...part, events: part.events - left, from: start, kept: keptPart(part.kept, left, part.events) }]),
  ];
}

/** The JSON texts of some of the events of a batch, joined by commas. Rejects if it has fewer. */
export async function textsOf(
  { bytes, events: all }: Pick<Batch, 'bytes' | 'events'>,
  { first, events }: Pick<Kept, 'first' | 'events'>,
): Promise<Buffer> {
  if (events === all) return bytes;
  const { json } = parcelOf([{ bytes, events: all, sender: '' }]);
  return inSlices(
    (function* () {
      let seen = 0;
      let from = 0;
      for (const range of elementsIn(json)) {
        if (!range) yield;
        else {
          if (seen === first) from = range.from;
          seen += 1;
          if (seen === first + events) return json.subarray(from, range.to);
        }
      }
      throw new Error('a batch has fewer events than it should');
    })(),
  );
}

const half = (count: number) => Math.ceil(count / 2);

/** Where the element before the one with this index ends, and where this one starts. */
function* gapBefore(array: Buffer, index: number): Generator<void, { readonly end: number; readonly start: number }> {
  let seen = 0;
  let end = OPENING.length;
  for (const range of elementsIn(array)) {
    if (!range) yield;
    else if (seen++ === index) return { end, start: range.from };
    else end = range.to;
  }
  return { end, start: end };
}
