/** Limits how much is read from stores at once: a store, or whatever answers in its place, may send anything. */
import { isAscii } from 'node:buffer';
import { type Budget, createBudget, createShare } from '../common/budget.ts';
import { type ProcessLimits, processLimits } from '../common/process-limits.ts';

const MEBIBYTE = 1024 * 1024;
/** What a row takes beside its key and text, and an attribute of DynamoDB beside its name and text. */
const ROW_BYTES = 256;
const ATTRIBUTE_BYTES = 64;

/** In bytes, for one environment: more than LaunchDarkly may send. While it is read, memory may hold as much again. */
export function storedLimit({ memoryBytes, heapBytes }: ProcessLimits = processLimits()): number {
  return Math.min(128 * MEBIBYTE, Math.max(10 * MEBIBYTE, Math.floor(Math.min(memoryBytes, heapBytes) / 5)));
}

/** For all that is read at the same time: one environment alone may take half of it, two a third each, and so on. */
export function createReadMemory(limits?: ProcessLimits): Budget {
  return createBudget(2 * storedLimit(limits));
}

/** Counts bytes that were read. Throws an Error of one sentence when there is no room for them. */
export type TakeRead = (bytes: number) => void;

/** What is read of one environment, until `end`. */
export function startReading(memory: Budget): { readonly take: TakeRead; end(): void } {
  const share = createShare(memory);
  return {
    take(bytes) {
      // As much must stay free, so that a large part leaves some for the next reader.
      if (2 * bytes <= share.freeBytes && share.reserve(bytes)) return;
      const limit = `all that is read from stores at the same time may take ${memory.maxBytes}`;
      throw new Error(`the stored data takes more than ${share.usedBytes} bytes, and ${limit}`);
    },
    end: () => share.release(share.usedBytes),
  };
}

/** The same for one function: what it reads is counted until it is over. */
export async function whileReading<T>(memory: Budget, read: (take: TakeRead) => Promise<T>): Promise<T> {
  const { take, end } = startReading(memory);
  try {
    return await read(take);
  } finally {
    end();
  }
}

/** What a row takes in memory. */
export function rowBytes(key: string, text: string | Buffer): number {
  return ROW_BYTES + textBytes(key) + textBytes(text);
}

/** What an attribute takes in memory. */
export function attributeBytes(name: string, value: string | Uint8Array | undefined): number {
  return ATTRIBUTE_BYTES + name.length + (typeof value === 'string' ? textBytes(value) : (value?.length ?? 0));
}

/** V8 takes two bytes for each character of a text in which one needs them. */
function textBytes(text: string | Buffer): number {
  const isShort = typeof text === 'string' ? Buffer.byteLength(text) === text.length : isAscii(text);
  return isShort ? text.length : 2 * text.length;
}
