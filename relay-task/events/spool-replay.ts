/** Sends what other processes have left in the spool: the oldest first for each queue, and only into memory that nobody else needs. */
import { randomUUID } from 'node:crypto';
import { readdir, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { errorText } from '../common/error-text.ts';
import { isObject } from '../common/json.ts';
import { elementsIn } from '../common/json-elements.ts';
import { inSlices } from '../common/slices.ts';
import type { CredentialKind, Log } from '../ports.ts';
import type { Metadata } from './metadata.ts';
import type { EventMeter } from './metrics.ts';
import { type Batch, parcelOf } from './parcel.ts';
import { type Entry, MOST_BODIES } from './spool-index.ts';
import type { Adopted, Journal } from './spool-journal.ts';
import type { Lane } from './spool-segments.ts';

/** Which queue of which credential events belong to, as it is on the disk. */
interface QueueName {
  readonly environment: string;
  readonly kind: CredentialKind;
  /** Of the credential. */
  readonly digest: string;
  readonly about: Metadata;
}

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
  /** A body with this ID was taken in by another process. False: its environment is not served. */
  remember(name: Omit<QueueName, 'about'>, id: string): boolean;
}

interface ReplayOptions {
  readonly lane: Lane;
  readonly log: Log;
  readonly meter: EventMeter;
  readonly find: FindReplayTarget;
  readonly goneMs: number;
  open(directory: string): Journal;
}

/** Events of one batch. */
interface Item {
  readonly entry: Entry;
  readonly journal: Journal;
  readonly first: number;
  readonly events: number;
}

/** What is left of one queue. */
interface Group {
  /** Undefined: it has none that this version reads. */
  readonly name: QueueName | undefined;
  /** The oldest first. */
  readonly lots: Lot[];
  isSending: boolean;
  /** `performance.now()` when it was first found that nobody serves it. */
  goneSince: number | undefined;
}

interface Left {
  readonly directory: string;
  readonly journal: Journal;
}

/** Events that are sent in one payload. */
interface Lot {
  /** Undefined: they were not sent under an ID yet. */
  readonly id: string | undefined;
  readonly items: Item[];
  bytes: number;
}

interface Waiting {
  readonly directory: string;
  readonly bytes: number;
  /** Of its oldest file, Unix ms. */
  readonly at: number;
}

/** What is known of so many events in memory is enough; further directories wait. */
const MOST_ITEMS = 50_000;
/** Of a payload that was not sent before. */
const LOT_BYTES = 256 * 1024;

export function createReplay({ lane, log, meter, find, goneMs, open }: ReplayOptions) {
  let waiting: Waiting[] = [];
  const lefts = new Set<Left>();
  /** By the name of the queue, as it is on the disk. */
  const groups = new Map<string, Group>();
  let adopting: Promise<void> | undefined;
  /** Bodies of environments that are not served yet. */
  let unremembered: Adopted['bodies'] = [];
  let isOver = false;

  const itemsLeft = () => [...lefts].reduce((sum, { journal }) => sum + journal.entries.size, 0);

  async function adoptAll(): Promise<void> {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      const { directory } = next;
      await adopt(directory).catch((error: unknown) =>
        log.error(
          'Cannot read what another relay left in the spool; it stays there, and is tried again after a restart',
          {
            directory,
            reason: errorText(error),
          },
        ),
      );
      if (isOver || itemsLeft() > MOST_ITEMS) break;
    }
    adopting = undefined;
  }

  async function adopt(directory: string): Promise<void> {
    const journal = open(directory);
    const { queues, bodies, damage, foreign } = await journal.adopt();
    for (const { file, ...lost } of damage) {
      log.warn('A file of the spool is damaged; its other records are kept', { file, ...lost });
    }
    if (foreign.length > 0)
      log.warn('Files in the spool are not its own; they are left as they are', { directory, foreign });
    unremembered = [...unremembered, ...bodies].slice(-MOST_BODIES);
    if (isOver) return;
    lefts.add({ directory, journal });
    const events = sort(journal, queues);
    if (events > 0) log.info('Took over events from a relay that has ended', { spool: basename(directory), events });
    proceed();
  }

  /** Returns how many events there are. */
  function sort(journal: Journal, queues: Adopted['queues']): number {
    let events = 0;
    const byPayload = new Map<string, Lot>();
    for (const entry of journal.entries) {
      const group = groupOf(queues.get(entry) ?? '');
      for (const { first, events: count, payload } of entry.spans) {
        events += count;
        const known = payload === '' ? group.lots.at(-1) : byPayload.get(payload);
        const isOpen = known && (payload !== '' || (known.id === undefined && known.bytes + entry.bytes <= LOT_BYTES));
        const lot = isOpen ? known : { id: payload || undefined, items: [], bytes: 0 };
        if (!isOpen) group.lots.push(lot);
        if (payload !== '') byPayload.set(payload, lot);
        lot.items.push({ entry, journal, first, events: count });
        lot.bytes += entry.bytes;
      }
    }
    return events;
  }

  function groupOf(queue: string): Group {
    const group = groups.get(queue) ?? { name: parseName(queue), lots: [], isSending: false, goneSince: undefined };
    groups.set(queue, group);
    return group;
  }

  function proceed(): void {
    if (isOver) return;
    unremembered = unremembered.filter(({ queue, id }) => {
      const name = parseName(queue);
      return name !== undefined && !find.remember(name, id);
    });
    for (const [queue, group] of groups) {
      if (group.isSending) continue;
      if (group.lots.length === 0) groups.delete(queue);
      else sendNext(group);
    }
    for (const left of lefts) {
      if (left.journal.entries.size > 0) continue;
      lefts.delete(left);
      void left.journal.remove();
    }
    if (waiting.length > 0 && itemsLeft() <= MOST_ITEMS) adopting ??= adoptAll();
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
    const batches = await load(lot, group);
    const bytes = batches.reduce((sum, batch) => sum + target.heldBytes(batch.bytes.length), 0);
    const isLate = isOver || batches.length === 0;
    target.release(isLate ? reservedBytes : reservedBytes - bytes);
    if (isLate) return;
    meter.replayed(group.name?.environment ?? '', eventsOf(batches));
    await target.send(batches, lot.id ?? randomUUID());
  }

  /** What cannot be read is dropped. */
  async function load({ items }: Lot, { name }: Group): Promise<Omit<Batch, 'release'>[]> {
    const batches: Omit<Batch, 'release'>[] = [];
    for (const { entry, journal, first, events } of items) {
      const kept = [{ entry, first, events }];
      try {
        const { bytes, sender } = await journal.load(entry);
        batches.push({ bytes: await eventsIn(bytes, first, events, entry.events), events, sender, kept });
      } catch (error) {
        if (entry.state !== 'written') continue;
        journal.settle(kept);
        meter.dropped(name?.environment ?? '', 'unreadable', events);
        log.warn('Events in the spool cannot be read and are dropped', { events, reason: errorText(error) });
      }
    }
    return batches;
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
      const adopted = [...lefts].reduce((sum, { journal }) => sum + journal.bytes, 0);
      return waiting.reduce((sum, { bytes }) => sum + bytes, adopted);
    },
    /** Unix ms, or Infinity. */
    oldestAt(): number {
      const times = [...lefts].map(({ journal }) => firstOf(journal.entries)?.at ?? Number.POSITIVE_INFINITY);
      return Math.min(...times, ...waiting.map(({ at }) => at));
    },
    /** Directories that are this process's now. */
    async add(directories: readonly string[]): Promise<void> {
      const found = await Promise.all(directories.map((directory) => lane(() => describe(directory))));
      waiting = [...waiting, ...found].sort((a, b) => a.at - b.at);
      proceed();
    },
    proceed,
    end(): void {
      isOver = true;
    },
    /** Another process has taken all of it. */
    abandon(): void {
      waiting = [];
      unremembered = [];
      groups.clear();
      for (const { journal } of lefts) journal.abandon(() => true);
      lefts.clear();
    },
    async close(): Promise<void> {
      isOver = true;
      await adopting;
      await Promise.all(
        Array.from(lefts, ({ journal }) => (journal.entries.size > 0 ? journal.close() : journal.remove())),
      );
    },
  };
}

const firstOf = ([first]: Iterable<Entry>) => first;
const eventsOf = (batches: readonly Pick<Batch, 'events'>[]) => batches.reduce((sum, { events }) => sum + events, 0);

async function describe(directory: string): Promise<Waiting> {
  let bytes = 0;
  let at = Number.POSITIVE_INFINITY;
  for (const name of await readdir(directory)) {
    const found = await stat(join(directory, name)).catch(() => undefined);
    if (!found?.isFile()) continue;
    bytes += found.size;
    at = Math.min(at, found.mtimeMs);
  }
  return { directory, bytes, at };
}

function parseName(queue: string): QueueName | undefined {
  try {
    const name: unknown = JSON.parse(queue);
    return isObject(name) && typeof name.environment === 'string' ? (name as unknown as QueueName) : undefined;
  } catch {
    return undefined;
  }
}

/** The JSON texts of some of the events of a batch. */
async function eventsIn(bytes: Buffer, first: number, events: number, all: number): Promise<Buffer> {
  if (events === all) return bytes;
  const { json } = parcelOf([{ bytes, events: all, sender: '' }]);
  return inSlices(
    (function* () {
      let seen = 0;
      let from = 0;
      for (const range of elementsIn(json)) {
        if (!range) yield;
        else {
          if (seen === first) from = range.from;
          seen += 1;
          if (seen === first + events) return json.subarray(from, range.to);
        }
      }
      throw new Error('a batch has fewer events than it should');
    })(),
  );
}
