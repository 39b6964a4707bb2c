/** The queues of one credential: one per kind of SDK, up to a limit. */
import { type Metadata, plainMetadata, queueKey } from './metadata.ts';
import type { Queue } from './queue.ts';
import type { Recent } from './recent.ts';

export interface EventQueue extends Queue {
  /** Contexts described recently, if the relay summarizes. */
  readonly seen?: Pick<Recent, 'add'> | undefined;
}

export interface Queues extends Pick<Queue, 'idle' | 'flush' | 'drop' | 'drained'> {
  /**
   * The queue for events with this metadata. When too many queues are busy, further kinds share a queue without tags and
   * SDK names: losing those is better than losing events.
   */
  find(about: Metadata): EventQueue;
  all(): Iterable<EventQueue>;
  /** Removes empty queues that were not used for `idleMs`. */
  sweep(idleMs: number): void;
}

const MOST_QUEUES = 64;

export function createQueues(create: (about: Metadata) => EventQueue): Queues {
  /** Least recently used first. */
  const queues = new Map<string, EventQueue>();

  function open(about: Metadata): EventQueue {
    const key = queueKey(about);
    const queue = queues.get(key) ?? create(about);
    queues.delete(key);
    queues.set(key, queue);
    return queue;
  }

  /** `shared`: the queue to use otherwise, which is not removed to make room for itself. */
  function hasRoom(shared: string): boolean {
    if (queues.size < MOST_QUEUES) return true;
    for (const [key, queue] of queues) if (queue.idle && key !== shared) return queues.delete(key);
    return false;
  }

  const isIdle = () => Array.from(queues.values()).every((queue) => queue.idle);

  function flush() {
    for (const queue of queues.values()) queue.flush();
  }

  return {
    get idle() {
      return isIdle();
    },
    find(about) {
      const plain = plainMetadata(about);
      return open(queues.has(queueKey(about)) || hasRoom(queueKey(plain)) ? about : plain);
    },
    all: () => queues.values(),
    flush,
    async drained() {
      while (!isIdle()) {
        await Promise.all(Array.from(queues.values(), (queue) => queue.drained()));
        // A queue may have waited for payloads of others.
        flush();
      }
    },
    drop(sender, maxBytes) {
      let newest: EventQueue | undefined;
      let newestAt = -1;
      for (const queue of queues.values()) {
        const at = queue.newestOf(sender);
        if (at <= newestAt) continue;
        newest = queue;
        newestAt = at;
      }
      return newest?.drop(sender, maxBytes) ?? 0;
    },
    sweep(idleMs) {
      const now = performance.now();
      for (const [key, queue] of queues) if (queue.idle && now - queue.usedAt >= idleMs) queues.delete(key);
    },
  };
}
