/** Whether the events of one environment reach LaunchDarkly, by the last attempts with each of its credentials. */
import type { EventStatus } from '../ports.ts';
import { type PostAnswer, reasonOf } from './post.ts';

/** What the deliveries with one credential say. */
export interface Reach {
  /** An attempt failed, and not because of what was sent. */
  failed(answer: PostAnswer): void;
  delivered(): void;
  /** The credential is not used any more. */
  forget(): void;
}

export function createReaches(eventsUri: string) {
  const { host } = new URL(eventsUri);
  const failing = new Set<Reach>();
  let hasDelivered = false;
  let lastError: EventStatus['lastError'];
  let state: EventStatus['state'] = 'INITIALIZING';
  let stateSince = Date.now();

  function settle(): void {
    const next = failing.size > 0 ? 'INTERRUPTED' : hasDelivered ? 'VALID' : 'INITIALIZING';
    if (next === state) return;
    state = next;
    stateSince = Date.now();
  }

  return {
    open(): Reach {
      const reach: Reach = {
        failed(answer) {
          const time = Date.now();
          const message = reasonOf(answer, host);
          lastError =
            'status' in answer
              ? { kind: 'ERROR_RESPONSE', time, message, statusCode: answer.status }
              : { kind: 'NETWORK_ERROR', time, message };
          failing.add(reach);
          settle();
        },
        delivered() {
          hasDelivered = true;
          failing.delete(reach);
          settle();
        },
        forget() {
          failing.delete(reach);
          settle();
        },
      };
      return reach;
    },
    status: (): Omit<EventStatus, 'pending'> => ({ state, stateSince, ...(lastError && { lastError }) }),
  };
}
