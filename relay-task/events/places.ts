/** Places for requests in flight, which a hung request keeps until it times out. */
import type { Turnstile } from '../common/turnstile.ts';

export interface Places {
  /** The places of one credential. */
  open(): Pick<Turnstile, 'enter'>;
}

interface Group {
  inside: number;
  /** Lets the first of them in. */
  readonly waiting: Set<() => void>;
}

/**
 * A credential has at most `each` places, and all credentials together `together`. One place each is guaranteed beyond that,
 * so that no credential waits for another's hung requests; the configuration bounds how many there are.
 */
export function createPlaces({ each, together }: { readonly each: number; readonly together: number }): Places {
  /** Those that wait; the one that was let in longest ago comes first. */
  const queue = new Set<Group>();
  let inside = 0;

  const mayEnter = (group: Group) => group.inside === 0 || (group.inside < each && inside < together);

  function take(group: Group): () => void {
    group.inside += 1;
    inside += 1;
    return () => {
      group.inside -= 1;
      inside -= 1;
      admitNext();
    };
  }

  function admitNext(): void {
    for (const group of queue) {
      if (!mayEnter(group)) continue;
      queue.delete(group);
      const [admit] = group.waiting;
      admit?.();
      if (group.waiting.size > 0) queue.add(group);
      return;
    }
  }

  function wait(group: Group, signal: AbortSignal | undefined): Promise<(() => void) | undefined> {
    return new Promise((resolve) => {
      const settle = () => {
        group.waiting.delete(admit);
        signal?.removeEventListener('abort', giveUp);
      };
      const admit = () => {
        settle();
        resolve(take(group));
      };
      const giveUp = () => {
        settle();
        if (group.waiting.size === 0) queue.delete(group);
        resolve(undefined);
      };
      group.waiting.add(admit);
      queue.add(group);
      signal?.addEventListener('abort', giveUp);
    });
  }

  return {
    open() {
      const group: Group = { inside: 0, waiting: new Set() };
      return {
        async enter(signal) {
          if (signal?.aborted) return undefined;
          return mayEnter(group) ? take(group) : wait(group, signal);
        },
      };
    },
  };
}
