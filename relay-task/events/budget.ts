/** The memory limit shared by all queues. */
export interface Budget {
  readonly usedBytes: number;
  /** False: this would exceed the limit; nothing was reserved. */
  reserve(bytes: number): boolean;
  release(bytes: number): void;
}

export function createBudget(maxBytes: number, changed: (usedBytes: number) => void = () => {}): Budget {
  let usedBytes = 0;
  const set = (bytes: number) => {
    usedBytes = bytes;
    changed(usedBytes);
  };
  return {
    get usedBytes() {
      return usedBytes;
    },
    reserve(bytes) {
      if (usedBytes + bytes > maxBytes) return false;
      set(usedBytes + bytes);
      return true;
    },
    release: (bytes) => set(usedBytes - bytes),
  };
}
