/** The events of streams of evaluated flags, and the slots in which subjects hold what they were sent. */
import type { EvaluatedFlag } from '../ports.ts';
import type { Subject } from './connection.ts';
import { eventText, type Framing, frame, piecesOf } from './framing.ts';

/** What follows an answer's value, without the versions, which come first; what follows them names no other versions. */
function withoutVersions({ rest, version }: EvaluatedFlag): readonly [string, string] {
  const shown = JSON.stringify(version);
  const versions = `,"version":${shown},"flagVersion":${shown}`;
  const at = rest.lastIndexOf(versions);
  // With its versions it differs from every other.
  return at < 0 ? [rest, ''] : [rest.slice(0, at), rest.slice(at + versions.length)];
}

function differInVersionsOnly(a: EvaluatedFlag, b: EvaluatedFlag): boolean {
  const [beforeA, behindA] = withoutVersions(a);
  const [beforeB, behindB] = withoutVersions(b);
  return behindA === behindB && beforeA === beforeB;
}

export type EvaluatedEvents = ReturnType<typeof createEvaluatedEvents>;

/** `onPut`: the size of a whole set that was serialised. */
export function createEvaluatedEvents(framing: Framing, onPut: (bytes: number) => void) {
  const slots = createSlots();
  let used = false;
  /** One buffer per event between two changes, shared by all connections. */
  const patches = new Map<EvaluatedFlag, Buffer>();
  const removals = new Map<string, Buffer>();
  /** Clients keep the versions of deletions, until a whole set replaces everything. */
  const removedVersions = new Map<string, number>();
  /** The last whole set, for other connections of the same subject. */
  let last: { readonly subject: Subject; readonly stamp: number; readonly pieces: readonly Buffer[] } | undefined;

  const forget = (): void => {
    patches.clear();
    removals.clear();
    last = undefined;
  };

  return {
    /** Whether any subject holds answers. */
    get used() {
      return used;
    },
    /** Of flags that subjects hold answers of. */
    get slots() {
      return slots.names.length;
    },
    /** Of a flag that some subject may hold. */
    slotOf: slots.of,
    /** Undefined: no subject holds it. */
    knownSlot: slots.known,
    /** The answers, each in its slot. */
    place(answers: readonly EvaluatedFlag[]): (EvaluatedFlag | undefined)[] {
      used = true;
      const slotted = answers.map((answer) => slots.of(answer.key));
      const held: (EvaluatedFlag | undefined)[] = new Array(slots.names.length).fill(undefined);
      slotted.forEach((slot, index) => {
        held[slot] = answers[index];
      });
      return held;
    },
    /** Everything that the subject holds, in pieces. */
    put(subject: Subject): readonly Buffer[] {
      if (last?.subject === subject && last.stamp === subject.stamp) return last.pieces;
      const parts: string[] = [];
      subject.held?.forEach((answer, slot) => {
        if (answer) parts.push(`${slots.names[slot]}${answer.json}`);
      });
      const bytes = frame(eventText('put', `{${parts.join(',')}}`), framing);
      // Copies: a part of a buffer would keep all of it in memory until the last byte is sent.
      last = { subject, stamp: subject.stamp, pieces: piecesOf(bytes).map((piece) => Buffer.from(piece)) };
      onPut(bytes.length);
      return last.pieces;
    },
    /** Whether a client that was sent `before` need not be sent `after`. */
    saysTheSame(before: EvaluatedFlag | undefined, after: EvaluatedFlag | undefined): boolean {
      if (!before || !after) return before === after;
      if (before.value.json !== after.value.json) return false;
      if (before.rest === after.rest) return true;
      // A version that fell must be sent: later versions could stay below the one that clients know.
      return after.version > before.version && differInVersionsOnly(before, after);
    },
    patch(flag: EvaluatedFlag): Buffer {
      let bytes = patches.get(flag);
      if (bytes === undefined) {
        bytes = frame(
          eventText('patch', `{"key":${JSON.stringify(flag.key)},"value":${flag.value.json}${flag.rest}`),
          framing,
        );
        patches.set(flag, bytes);
      }
      return bytes;
    },
    remove(key: string, version: number): Buffer {
      removedVersions.set(key, Math.max(version, removedVersions.get(key) ?? -1));
      const name = `${version} ${key}`;
      let bytes = removals.get(name);
      if (bytes === undefined) {
        bytes = frame(eventText('delete', `{"key":${JSON.stringify(key)},"version":${version}}`), framing);
        removals.set(name, bytes);
      }
      return bytes;
    },
    /** The highest version under which any client was told of the flag's deletion; -1: none was. */
    removedVersion: (key: string) => removedVersions.get(key) ?? -1,
    /** No client is left. */
    emptied: () => removedVersions.clear(),
    /** The flags' answers may differ from now on: drops the events that were made before. */
    changed: forget,
    /** A pass is over: drops its events, and frees the slots of flags that are gone. */
    passed(gone: readonly string[]): void {
      forget();
      for (const key of gone) slots.free(key);
    },
  };
}

/** The place of each flag among the answers that subjects hold. Places of flags that are gone are used again. */
function createSlots() {
  const slots = new Map<string, number>();
  const names: string[] = [];
  const free: number[] = [];
  return {
    /** `"KEY":` by slot. */
    names: names as readonly string[],
    known: (key: string) => slots.get(key),
    of(key: string): number {
      let slot = slots.get(key);
      if (slot === undefined) {
        slot = free.pop() ?? names.length;
        slots.set(key, slot);
        names[slot] = `${JSON.stringify(key)}:`;
      }
      return slot;
    },
    free(key: string): void {
      const slot = slots.get(key);
      if (slot === undefined) return;
      slots.delete(key);
      free.push(slot);
    },
  };
}
