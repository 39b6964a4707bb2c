/** Sends what other processes have left in the spool: the oldest first for each queue, and only into memory that nobody else needs. */
import { randomUUID } from 'node:crypto';
import { errorText } from '../common/error-text.ts';
import { createPacedLines } from '../common/paced-lines.ts';
import { createTurnstile } from '../common/turnstile.ts';
import type { Log } from '../ports.ts';
import type { EventMeter } from './metrics.ts';
import { type Batch, eventsIn } from './parcel.ts';
import { createAdoption } from './spool-adoption.ts';
import { MOST_BODIES } from './spool-index.ts';
import type { Adopted, Journal } from './spool-journal.ts';
import { type Group, type Groups, type Lot, parseName, type QueueName, readLot, sortInto } from './spool-lots.ts';
import type { Lane } from './spool-segments.ts';

/** Where the events of one queue go. */
export interface ReplayTarget {
  /** False: there is no memory for them at present. */
  reserve(bytes: number): boolean;
  release(bytes: number): void;
  /** The memory for them was reserved. Resolves when they have landed. */
  send(batches: readonly Omit<Batch, 'release'>[], id: string): Promise<void>;
  /** What a batch takes in memory. */
  heldBytes(bytes: number): number;
}

export interface FindReplayTarget {
  /** Undefined: its environment is not served, or has no such credential. */
  queue(name: QueueName): ReplayTarget | undefined;
  /** Where to tell the IDs of bodies that another process has taken in. Undefined: the same. */
  bodies(name: Omit<QueueName, 'about'>): ((id: string) => void) | undefined;
}

interface ReplayOptions {
  readonly lane: Lane;
  readonly log: Log;
  readonly meter: EventMeter;
  readonly find: FindReplayTarget;
  readonly goneMs: number;
  /** When reading has failed. */
  readonly retryMs: number;
  open(directory: string): Journal;
}

export function createReplay({ lane, log, meter, find, goneMs, retryMs, open }: ReplayOptions) {
  const paced = createPacedLines();
  const groups: Groups = new Map();
  /** Bodies of environments that are not served yet. */
  let unremembered: Adopted['bodies'] = [];
  let isOver = false;
  const reads = createTurnstile({ maxInside: 1 }).run;
  const adoption = createAdoption({
    lane,
    log,
    retryMs,
    open,
    isOver: () => isOver,
    adopted(journal, { queues, bodies }) {
      unremembered = [...unremembered, ...bodies].slice(-MOST_BODIES);
      return sortInto(groups, journal, queues);
    },
    proceed,
  });

  function proceed(): void {
    if (isOver) return;
    tellBodies();
    for (const [queue, group] of groups) {
      if (group.isSending || performance.now() < group.waitsUntil) continue;
      if (group.lots.length === 0) groups.delete(queue);
      else sendNext(group);
    }
    adoption.proceed();
  }

  function tellBodies(): void {
    const tellers = new Map<string, ReturnType<FindReplayTarget['bodies']>>();
    unremembered = unremembered.filter(({ queue, id }) => {
      const name = parseName(queue);
      if (!name) return false;
      const tell = tellers.has(queue) ? tellers.get(queue) : find.bodies(name);
      tellers.set(queue, tell);
      tell?.(id);
      return tell === undefined;
    });
  }

  function sendNext(group: Group): void {
    const [lot] = group.lots;
    const target = group.name && find.queue(group.name);
    if (!lot) return;
    if (!target) {
      dropIfGone(group);
      return;
    }
    group.goneSince = undefined;
    const bytes = lot.items.reduce((sum, { entry }) => sum + target.heldBytes(entry.bytes), 0);
    if (!target.reserve(bytes)) return;
    group.isSending = true;
    group.lots.shift();
    void send(group, lot, target, bytes).then(() => {
      group.isSending = false;
      proceed();
    });
  }

  async function send(group: Group, lot: Lot, target: ReplayTarget, reservedBytes: number): Promise<void> {
    const environment = group.name?.environment ?? '';
    const batches = await readLot(lot, {
      reads,
      unreadable(events, error) {
        meter.dropped(environment, 'unreadable', events);
        log.warn('Events in the spool are damaged and are dropped', { events, reason: errorText(error) });
      },
    }).catch((error: unknown) => later(group, lot, error));
    if (!batches) {
      target.release(reservedBytes);
      return;
    }
    const bytes = batches.reduce((sum, batch) => sum + target.heldBytes(batch.bytes.length), 0);
    const isLate = isOver || batches.length === 0;
    target.release(isLate ? reservedBytes : reservedBytes - bytes);
    if (isLate) return;
    meter.replayed(environment, eventsIn({ parts: batches }));
    await target.send(batches, lot.id ?? randomUUID());
  }

  /** Others of its queue come first: the disk may have failed in one place only. */
  function later(group: Group, lot: Lot, error: unknown): undefined {
    // All of it was lost meanwhile.
    if (![...groups.values()].includes(group)) return undefined;
    group.lots.push(lot);
    group.waitsUntil = performance.now() + retryMs;
    paced('unread', (more) =>
      log.warn(
        'Events in the spool cannot be read at present; they stay there, and it is tried again every few seconds',
        {
          environment: group.name?.environment ?? '',
          reason: errorText(error),
          ...more,
        },
      ),
    );
    return undefined;
  }

  /** Nobody has them any more. */
  function tellDeleted({ name, lots }: Group): void {
    const events = eventsIn({ parts: lots.flatMap(({ items }) => items) });
    if (events > 0) meter.dropped(name?.environment ?? '', 'unreadable', events);
  }

  function dropIfGone(group: Group): void {
    group.goneSince ??= performance.now();
    if (group.name && performance.now() - group.goneSince < goneMs) return;
    let events = 0;
    for (const { items } of group.lots.splice(0)) {
      for (const item of items) {
        events += item.events;
        item.journal.settle([item]);
      }
    }
    const environment = group.name?.environment ?? '';
    meter.dropped(environment, 'gone', events);
    log.warn('Events in the spool were dropped, since nothing serves their environment any more', {
      environment,
      events,
    });
  }

  return {
    get bytes() {
      return adoption.bytes;
    },
    oldestAt: adoption.oldestAt,
    left: adoption.left,
    /** Whether more directories may be added. */
    get hasRoom() {
      return adoption.hasRoom;
    },
    async add(directories: readonly string[]): Promise<void> {
      if (directories.length === 0) return;
      await adoption.add(directories);
      proceed();
    },
    proceed,
    end(): void {
      isOver = true;
    },
    /** Another process has taken all of it, or it was deleted. */
    abandon(isTaken: boolean): void {
      if (!isTaken) for (const group of groups.values()) tellDeleted(group);
      unremembered = [];
      groups.clear();
      adoption.abandon(isTaken);
    },
    async close(): Promise<void> {
      isOver = true;
      await adoption.close();
    },
  };
}
