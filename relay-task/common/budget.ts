/** A limit in bytes for memory that outsiders can make the relay hold. */
export interface Budget {
  readonly maxBytes: number;
  readonly usedBytes: number;
  /** What can still be reserved, here and with every parent; below 0 if more is held. */
  readonly freeBytes: number;
  /** Whether nothing more can be reserved. */
  readonly full: boolean;
  /** False: this would exceed the limit, or that of a parent; nothing was reserved. */
  reserve(bytes: number): boolean;
  /** Counts bytes that are held already, even beyond the limit. */
  hold(bytes: number): void;
  /** Never more than was reserved and held. */
  release(bytes: number): void;
}

export interface BudgetOptions {
  /** What is reserved here is reserved there, too. */
  readonly parent?: Budget | undefined;
  /** Called after every change. Must not throw. */
  readonly changed?: ((usedBytes: number) => void) | undefined;
}

export function createBudget(maxBytes: number, { parent, changed = () => {} }: BudgetOptions = {}): Budget {
  let usedBytes = 0;
  const set = (bytes: number) => {
    usedBytes = bytes;
    changed(usedBytes);
  };
  return {
    maxBytes,
    get usedBytes() {
      return usedBytes;
    },
    get freeBytes() {
      return Math.min(maxBytes - usedBytes, parent?.freeBytes ?? Infinity);
    },
    get full() {
      return usedBytes >= maxBytes || parent?.full === true;
    },
    hold(bytes) {
      parent?.hold(bytes);
      set(usedBytes + bytes);
    },
    reserve(bytes) {
      if (usedBytes + bytes > maxBytes || parent?.reserve(bytes) === false) return false;
      set(usedBytes + bytes);
      return true;
    },
    release(bytes) {
      parent?.release(bytes);
      set(usedBytes - bytes);
    },
  };
}

/**
 * One user's part of a budget: at most as much as is still free in it and its parents. However many users fill theirs, some room is left
 * for the next: one gets a half, two get a third each, and so on.
 */
export function createShare(whole: Budget): Budget {
  const own = createBudget(whole.maxBytes, { parent: whole });
  const freeBytes = () => whole.freeBytes - own.usedBytes;
  return {
    maxBytes: own.maxBytes,
    get usedBytes() {
      return own.usedBytes;
    },
    get freeBytes() {
      return freeBytes();
    },
    get full() {
      return freeBytes() <= 0;
    },
    hold: own.hold,
    reserve: (bytes) => bytes <= freeBytes() && own.reserve(bytes),
    release: own.release,
  };
}
