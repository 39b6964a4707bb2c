/** How much LaunchDarkly may send at once: an event, the items of a transfer, the answer to a poll. */
import { type Budget, type BudgetOptions, createBudget, createShare } from '../common/budget.ts';
import { VALUE_BYTES } from '../common/json-text.ts';
import { type ProcessLimits, processLimits } from '../common/process-limits.ts';

const MEBIBYTE = 1024 * 1024;

/**
 * In bytes. While it is read, a whole set of flags is held several times: as it arrived, in parts, and as the items that memory
 * still has.
 */
export function receivedLimit({ memoryBytes, heapBytes }: ProcessLimits = processLimits()): number {
  return Math.max(8 * MEBIBYTE, Math.floor(Math.min(memoryBytes, heapBytes) / 6));
}

/**
 * The limit, in bytes, for everything that LaunchDarkly has begun to send and not finished, over all environments. One environment alone gets
 * half of it (`createShare`), which is the most that it may send at once.
 */
export function receivedMemoryBytes(limits?: ProcessLimits): number {
  return 2 * receivedLimit(limits);
}

/** The memory for what LaunchDarkly has not finished sending, and who holds some of it. */
export interface ReceivedMemory extends Budget {
  readonly holders: Set<Holder>;
  /** A holder that received less than `LEAST_PACE` for this long makes room for others that need it. */
  readonly patienceMs: number;
}

interface Holder {
  readonly usedBytes: number;
  /** Whether it has received little for `patienceMs`, and not because the relay was busy. */
  isIdle(): boolean;
  giveUp(): void;
}

/** `patienceMs`: 3 s. */
export function createReceivedMemory(
  maxBytes: number,
  { patienceMs = 3_000, ...options }: BudgetOptions & { readonly patienceMs?: number } = {},
): ReceivedMemory {
  return Object.assign(createBudget(maxBytes, options), { holders: new Set<Holder>(), patienceMs });
}

/** In bytes per ms: 64 KB/s. */
const LEAST_PACE = 64;

/** What one connection holds at present, out of its share of that memory. */
export interface Received {
  /** `what` begins the sentence: "an event". */
  part(what: string): ReceivedPart;
  /** It is waiting for the relay, so it is not to blame that nothing arrives. */
  setWaiting(waits: boolean): void;
  /** Called when others need the room: must release all parts. */
  onGivenUp(problem: string): void;
}

export interface ReceivedPart {
  /** Sets how many bytes it holds. Returns why it may not hold them: its count is then unchanged, and it must be given up. */
  hold(bytes: number): string | undefined;
}

/** `memory`: undefined without a limit. */
export function createReceived(memory: ReceivedMemory | undefined): Received {
  const nowhere = { part: () => ({ hold: () => undefined }), setWaiting() {}, onGivenUp() {} };
  return memory ? createCounted(memory) : nowhere;
}

function createCounted(memory: ReceivedMemory): Received {
  const { holders, patienceMs } = memory;
  const share = createShare(memory);
  const stepBytes = LEAST_PACE * patienceMs;
  let isWaiting = false;
  /** When it had last received `stepBytes` more, or had begun, as `performance.now()`; and what it held then. */
  let mark = { at: 0, bytes: 0 };

  const holder: Holder = {
    get usedBytes() {
      return share.usedBytes;
    },
    isIdle: () => !isWaiting && performance.now() - mark.at >= patienceMs,
    giveUp: () =>
      received.onGivenUp(
        `what has arrived so far, ${sizeText(share.usedBytes)}, makes room for another environment, since little more of it came within ${patienceMs} ms`,
      ),
  };

  /** How much must be freed first: afterwards as much must be free as it takes. */
  const lackingBytes = (more: number) => 2 * more - share.freeBytes;

  /** Gives up others that are idle, the largest first, if that helps. */
  function makeRoom(more: number): void {
    const idle = [...holders].filter((one) => one !== holder && one.isIdle());
    if (idle.reduce((sum, { usedBytes }) => sum + usedBytes, 0) < lackingBytes(more)) return;
    for (const one of idle.sort((a, b) => b.usedBytes - a.usedBytes)) if (lackingBytes(more) > 0) one.giveUp();
  }

  function change(more: number): boolean {
    if (more > 0) {
      if (lackingBytes(more) > 0) makeRoom(more);
      if (lackingBytes(more) > 0 || !share.reserve(more)) return false;
    } else if (more < 0) share.release(-more);
    if (share.usedBytes === 0) holders.delete(holder);
    else if (!holders.has(holder)) {
      holders.add(holder);
      mark = { at: performance.now(), bytes: 0 };
    } else if (share.usedBytes >= mark.bytes + stepBytes) mark = { at: performance.now(), bytes: share.usedBytes };
    return true;
  }

  const received: Received = {
    part(what) {
      let held = 0;
      return {
        hold(bytes) {
          if (!change(bytes - held)) return describeNoRoom(what, bytes, memory);
          held = bytes;
          return undefined;
        },
      };
    },
    setWaiting(waits) {
      isWaiting = waits;
      mark = { at: performance.now(), bytes: share.usedBytes };
    },
    onGivenUp() {},
  };
  return received;
}

/** Of one item. LaunchDarkly's largest items have a tenth of that. */
const MOST_PARSED_VALUES = 250_000;

/** How many values of JSON may be held. */
export function mostValuesIn(maxBytes: number): number {
  return Math.floor(maxBytes / VALUE_BYTES);
}

/** How many values of JSON one item may have. */
export function mostParsedIn(maxBytes: number): number {
  return Math.min(MOST_PARSED_VALUES, mostValuesIn(maxBytes));
}

/** `what` begins the sentence: "an event". */
export function describeTooLarge(what: string, limitBytes: number): string {
  return `${what} takes more than ${sizeText(limitBytes)}, the most that fits into this relay's memory: give it more memory, or send less`;
}

function describeNoRoom(what: string, bytes: number, { maxBytes, usedBytes }: Budget): string {
  const taken = `of which ${sizeText(usedBytes)} are taken`;
  return `${what} takes ${sizeText(bytes)} so far and finds no room: all that LaunchDarkly is still sending may take ${sizeText(maxBytes)}, ${taken}`;
}

/** Whether a failure is that there is no memory, as the messages of this file say. */
export function isAboutRoom(message: string): boolean {
  return /finds no room: |makes room for another environment|the most that fits into this relay's memory/.test(message);
}

function sizeText(bytes: number): string {
  return bytes < MEBIBYTE ? `${bytes} bytes` : `${Math.floor(bytes / MEBIBYTE)} MiB`;
}

/** Bytes that a text takes in memory: V8 has one or two for each character. */
export function bytesOf(text: string): number {
  return /[^\0-\xff]/.test(text) ? 2 * text.length : text.length;
}
