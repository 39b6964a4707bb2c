/** One sleeper; only who names what it waits for can wake it. */
export function createPause() {
  let present: { readonly reason: string; end(): void } | undefined;
  return {
    wait(ms: number, reason: 'idle' | 'trouble'): Promise<void> {
      return new Promise((resolve) => {
        const end = () => {
          clearTimeout(timer);
          present = undefined;
          resolve();
        };
        const timer = setTimeout(end, ms);
        present = { reason, end };
      });
    },
    end(reason: 'idle' | 'trouble'): void {
      if (present?.reason === reason) present.end();
    },
  };
}
