/** Work in the background, such as closing replaced stores, that has to end before the relay has closed. */
interface Background {
  add(work: Promise<unknown>): void;
  /** Resolves when everything added so far has ended, well or not. */
  ended(): Promise<void>;
}

export function createBackground(): Background {
  const running = new Set<Promise<void>>();
  return {
    add(work) {
      const end = () => {
        running.delete(ended);
      };
      const ended = work.then(end, end);
      running.add(ended);
    },
    async ended() {
      await Promise.all(running);
    },
  };
}
