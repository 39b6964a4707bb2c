/** Reads the bodies of events that came with one credential, in slices, several at a time. */
import type { Item } from '../../lib/flag-table/index.ts';
import { inSlices } from '../common/slices.ts';
import type { EventDelivery } from '../ports.ts';
import { metadataOf } from './metadata.ts';
import type { Queues } from './queues.ts';
import { summarise } from './summarise.ts';
import { takeIn } from './take-in.ts';
import { trackingInSlices } from './tracking.ts';

interface ReadingOptions {
  readonly queues: Pick<Queues, 'find'>;
  readonly flag: (key: string) => Item | undefined;
  /** LaunchDarkly's clock, Unix ms. */
  readonly serverTime: () => number;
  readonly random: () => number;
  readonly received: (events: number) => void;
  readonly dropped: (reason: 'closed' | 'malformed' | 'too-large' | 'capacity' | 'memory', events: number) => void;
  /** It is a diagnostic event. */
  readonly diagnostic: (delivery: EventDelivery) => void;
  /** A body was dropped because reading it failed. */
  readonly failed: (error: unknown) => void;
}

/** Ends reading a body. */
const OVER = new Error('the relay stops');

export function createReading(options: ReadingOptions) {
  const { queues, flag, serverTime, random, received, dropped } = options;
  const underWay = new Set<Promise<boolean>>();
  let isOver = false;
  let stop = () => {};
  const stopped = new Promise<void>((resolve) => {
    stop = () => {
      isOver = true;
      resolve();
    };
  });

  async function take(delivery: EventDelivery): Promise<boolean> {
    const about = metadataOf(delivery.headers);
    const { schema } = about;
    const { address, body } = delivery;
    const work = takeIn(body, {
      queue: () => queues.find(about),
      sender: address,
      prepare: ({ fields }) => trackingInSlices(typeof fields.key === 'string' ? flag(fields.key) : undefined),
      outgoing(events, { seen, summary }) {
        if (!seen || !summary) return events.map(({ text }) => text);
        const more = summarise(events, {
          schema,
          sender: address,
          summary,
          seen,
          flag,
          serverTime: serverTime(),
          random,
          dropped,
        });
        summary.bodyEnds();
        return more;
      },
      received,
      dropped,
      diagnostic: () => options.diagnostic(delivery),
    });
    try {
      await inSlices(work, {
        async pause() {
          await delivery.pause();
          if (isOver) throw OVER;
        },
      });
      return true;
    } catch (error) {
      dropped(error === OVER ? 'closed' : 'malformed', 1);
      if (error !== OVER) options.failed(error);
      return false;
    }
  }

  return {
    get idle() {
      return underWay.size === 0;
    },
    /** False: the body was not read to its end. Never rejects. */
    async read(delivery: EventDelivery): Promise<boolean> {
      const done = take(delivery);
      underWay.add(done);
      const isWhole = await done;
      underWay.delete(done);
      return isWhole;
    },
    /** What is not read yet is dropped. */
    stop,
    /** Resolves when all is read, or at `stop`. */
    ended: () => Promise.race([Promise.all(underWay), stopped]),
  };
}
