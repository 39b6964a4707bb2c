/** The queues of one environment, as many as there are kinds of SDKs that send to it, but never too many. */
import { type Metadata, plainMetadata, queueKey } from './metadata.ts';
import type { Queue } from './queue.ts';
import type { Recent } from './recent.ts';

export interface EventQueue extends Queue {
  /** Contexts that were described lately; where the relay summarises. */
  readonly seen?: Recent | undefined;
}

export interface Queues {
  /**
   * The queue for such events. Once too many queues are busy, events of further kinds share one that does not name
   * their tags and SDK: losing those is better than losing events.
   */
  find(about: Metadata): EventQueue;
  all(): Iterable<EventQueue>;
  /** Gives up queues that are empty and were not used for so long. */
  sweep(idleMs: number): void;
}

export const MOST_QUEUES = 64;

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

  function hasRoom(): boolean {
    if (queues.size < MOST_QUEUES) return true;
    for (const [key, queue] of queues) if (queue.idle) return queues.delete(key);
    return false;
  }

  return {
    find: (about) => open(queues.has(queueKey(about)) || hasRoom() ? about : plainMetadata(about)),
    all: () => queues.values(),
    sweep(idleMs) {
      const now = performance.now();
      for (const [key, queue] of queues) if (queue.idle && now - queue.usedAt >= idleMs) queues.delete(key);
    },
  };
}
