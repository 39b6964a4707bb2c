/** Places for requests in flight, which a hung request keeps until it times out. */

/** Those of one credential. */
export interface CredentialPlaces {
  /**
   * Resolves with a function that leaves again, or with undefined if `signal` was aborted first. `queue` identifies the queue of the request;
   * without it, the request has a queue of its own.
   */
  enter(signal?: AbortSignal, queue?: object): Promise<(() => void) | undefined>;
}

interface Group {
  inside: number;
  /** How many requests of a queue are inside. */
  readonly insideOf: Map<object, number>;
  /** Each lets one request of this queue in. */
  readonly waiting: Map<() => void, object>;
}

/** The part of a credential's places that second and further requests of the same queue may take. */
const FURTHER_PART = 1 / 2;

/**
 * A credential has at most `each` places, and all credentials together `together`. One place each is guaranteed beyond that, so that no
 * credential waits for another's hung requests; the configuration limits how many credentials there are. Within a credential, each queue gets
 * one place while there are any, and half are for further requests of the same queue, so that a few queues that hang do not stop the others.
 */
export function createPlaces({ each, together }: { readonly each: number; readonly together: number }) {
  /** Those that wait; the one that was let in longest ago comes first. */
  const groups = new Set<Group>();
  let inside = 0;

  const mayEnter = (group: Group, queue: object) => {
    if (group.inside === 0) return true;
    const further = group.inside - group.insideOf.size;
    const isFurther = group.insideOf.has(queue);
    return group.inside < each && inside < together && !(isFurther && further >= Math.max(1, each * FURTHER_PART));
  };

  function take(group: Group, queue: object): () => void {
    const change = (by: 1 | -1) => {
      group.inside += by;
      inside += by;
      const ofQueue = (group.insideOf.get(queue) ?? 0) + by;
      if (ofQueue > 0) group.insideOf.set(queue, ofQueue);
      else group.insideOf.delete(queue);
    };
    change(1);
    return () => {
      change(-1);
      admitNext();
    };
  }

  function admitNext(): void {
    for (const group of groups) {
      const next = Array.from(group.waiting).find(([, queue]) => mayEnter(group, queue));
      if (!next) continue;
      groups.delete(group);
      const [admit] = next;
      admit();
      if (group.waiting.size > 0) groups.add(group);
      return;
    }
  }

  function wait(group: Group, queue: object, signal: AbortSignal | undefined): Promise<(() => void) | undefined> {
    return new Promise((resolve) => {
      const settle = () => {
        group.waiting.delete(admit);
        signal?.removeEventListener('abort', giveUp);
      };
      const admit = () => {
        settle();
        resolve(take(group, queue));
      };
      const giveUp = () => {
        settle();
        if (group.waiting.size === 0) groups.delete(group);
        resolve(undefined);
      };
      group.waiting.set(admit, queue);
      groups.add(group);
      signal?.addEventListener('abort', giveUp);
    });
  }

  return {
    open(): CredentialPlaces {
      const group: Group = { inside: 0, insideOf: new Map(), waiting: new Map() };
      return {
        async enter(signal, queue = {}) {
          if (signal?.aborted) return undefined;
          return mayEnter(group, queue) ? take(group, queue) : wait(group, queue, signal);
        },
      };
    },
  };
}
