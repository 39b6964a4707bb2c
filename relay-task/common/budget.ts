/** A limit in bytes for memory that outsiders can make the relay hold. */
export interface Budget {
  readonly maxBytes: number;
  readonly usedBytes: number;
  /** False: this would exceed the limit, or that of a parent; nothing was reserved. */
  reserve(bytes: number): boolean;
  /** Never more than was reserved. */
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
