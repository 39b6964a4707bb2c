import { createHash } from 'node:crypto';

export type Random = () => number;

/** A small generator of numbers from 0 to 1 (mulberry32), seeded with any text. */
export function randomFrom(seed: string): Random {
  let state = createHash('sha256').update(seed).digest().readUInt32LE();
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** JSON text that keeps -0. */
export function toJson(value: unknown): string {
  const marked = JSON.stringify(value, (_, part) => (Object.is(part, -0) ? '\u0001-0' : part));
  return marked.replaceAll('"\\u0001-0"', '-0');
}

/** Choices by a seeded generator. */
export class RandomChoices {
  protected readonly random: Random;

  constructor(random: Random) {
    this.random = random;
  }

  protected chance(share: number): boolean {
    return this.random() < share;
  }

  protected whole(from: number, to: number): number {
    return from + Math.floor(this.random() * (to - from + 1));
  }

  protected pick<T>(choices: readonly T[]): T {
    return choices[Math.floor(this.random() * choices.length)] as T;
  }

  protected times<T>(count: number, make: (index: number) => T): T[] {
    return Array.from({ length: count }, (_, index) => make(index));
  }

  /** With the given probability 1 to `most` of them, else none. */
  protected some<T>(share: number, most: number, make: (index: number) => T): T[] {
    return this.chance(share) ? this.times(this.whole(1, most), make) : [];
  }
}
