/** Events on a disk, so that what is not delivered yet survives this process: what it keeps itself, and what others have left. */
import { type Budget, createBudget, createShare } from '../common/budget.ts';
import { within } from '../common/pause.ts';
import { createTurnstile } from '../common/turnstile.ts';
import type { Log, SpoolStatus } from '../ports.ts';
import type { Keeping } from './keeping.ts';
import type { EventMeter } from './metrics.ts';
import type { Entry, Kept } from './spool-index.ts';
import { createJournal, type Journal, type JournalOptions } from './spool-journal.ts';
import { createOthers } from './spool-others.ts';
import { createOwner, type OwnerTimings, usualOwnerTimings } from './spool-owner.ts';
import { createReplay, type FindReplayTarget } from './spool-replay.ts';
import { createSpoolReports } from './spool-reports.ts';

interface SpoolTimings extends OwnerTimings {
  /** The longest that an answer waits until its events are written. */
  readonly lateMs: number;
  /** Events of an environment that is not served are kept for so long. */
  readonly goneMs: number;
}

export interface SpoolSettings {
  /** Several relays may share it. */
  readonly directory: string;
  /** For what this process keeps and what it has taken over. */
  readonly maxBytes: number;
  readonly timings?: Partial<SpoolTimings>;
}

interface SpoolOptions extends SpoolSettings {
  readonly log: Log;
  readonly meter: EventMeter;
  readonly find: FindReplayTarget;
}

/** A queue as the spool names it. `key`: JSON, without any secret. */
interface SpooledQueue {
  readonly environment: string;
  readonly key: string;
}

export interface Spool extends Pick<Keeping, 'assign' | 'free' | 'settle' | 'isTaken' | 'stays'> {
  keep(queue: SpooledQueue, batch: Parameters<Keeping['keep']>[0]): readonly Kept[] | undefined;
  /** A body of this queue was taken in to its end. `id`: the sender's, by which it is known if it comes again. */
  body(queue: SpooledQueue, id: string): void;
  /** Resolves when everything until now is on the disk, or soon if that takes long. */
  written(): Promise<void>;
  /** Sends more of what others have left, if there is room for it. */
  proceed(): void;
  status(): SpoolStatus;
  /** Nothing more is replayed. */
  endReplay(): void;
  /** Leaves what is not settled to others. */
  close(): Promise<void>;
}

const usualTimings: SpoolTimings = { ...usualOwnerTimings, lateMs: 250, goneMs: 3_600_000 };
/** The part of all for what is not settled; the rest is for what is of no use any more and not deleted yet. */
const LIVE_PART = 3 / 4;
/** Less than one environment may fill, so that a spool which was full is not said to have room, and then to be full again. */
const ROOM_PART = 1 / 4;
const SEGMENT_PART = 1 / 32;
const LARGEST_SEGMENT_BYTES = 4 * 1024 * 1024;
const WASTE_PART = 1 / 16;
/** A disk that hangs must not hold up the end of the process. */
const CLOSING_MS = 2_000;

export function createSpool({ directory: root, maxBytes, log, meter, find, ...options }: SpoolOptions): Spool {
  const timings = { ...usualTimings, ...options.timings };
  const reports = createSpoolReports({ log, meter, directory: root, maxBytes });
  const lane = createTurnstile({ maxInside: 1 }).run;
  const budget = createBudget(maxBytes * LIVE_PART);
  const shares = new Map<string, Budget>();
  const owner = createOwner({
    root,
    timings,
    sync: () => own.sync(),
    lost(seenAt, isTaken) {
      // What was written since then may not be there for the new owner: a file server gets it later.
      const events = own.abandon(({ since }) => isTaken && since < seenAt);
      replay.abandon(isTaken);
      own = createOwnJournal();
      if (isTaken) reports.takenOver(timings.unsureMs, events);
      else reports.deleted(events);
    },
  });
  const { foreign, stuck } = reports;
  const others = createOthers({ root, silenceMs: timings.silenceMs, foreign, stuck });
  let isClosed = false;

  const journalOptions: Omit<JournalOptions, 'directory'> = {
    lane,
    segmentBytes: Math.min(LARGEST_SEGMENT_BYTES, maxBytes * SEGMENT_PART),
    wasteBytes: maxBytes * WASTE_PART,
    lateMs: timings.lateMs,
    mayWrite: async () => !owner.isUnsure || owner.beat().catch(() => false),
    unkept: reports.unkept,
    recovered: reports.recovered,
    unmarked: reports.unmarked,
  };
  let own = createOwnJournal();
  const replay = createReplay({
    lane,
    log,
    meter,
    find,
    goneMs: timings.goneMs,
    retryMs: timings.beatMs,
    open: (directory) => createJournal({ ...journalOptions, directory: () => directory }),
  });

  function createOwnJournal(): Journal {
    return createJournal({ ...journalOptions, directory: () => owner.directory });
  }

  /** In steps, so that nothing waits for others' directories, however many there are, and as many as can be replayed. */
  async function takeOver(): Promise<void> {
    for (const name of await lane(() => others.list(owner.directory))) {
      if (isClosed || !replay.hasRoom) return;
      if (owner.isDue && !(await lane(owner.beat))) return;
      await replay.add(
        await lane(async () => (owner.directory === undefined ? [] : others.takeOver(name, owner.directory))),
      );
    }
  }

  async function look(): Promise<void> {
    if (isClosed) return;
    try {
      await lane(async () => {
        if (!(await owner.beat())) await owner.begin();
      });
      reports.usable();
      own.proceed();
      await takeOver();
    } catch (error) {
      reports.unusable(error);
    }
    if (!isClosed) timer = setTimeout(look, timings.beatMs).unref();
  }
  let timer: NodeJS.Timeout | undefined;
  void look();

  function shareOf(environment: string): Budget {
    const share = shares.get(environment) ?? createShare(budget);
    shares.set(environment, share);
    return share;
  }

  const bytes = () => own.bytes + replay.bytes;
  meter.watchSpool(() => {
    const oldest = Math.min(own.oldestAt, replay.oldestAt());
    return { bytes: bytes(), ageMs: Number.isFinite(oldest) ? Math.max(0, Date.now() - oldest) : 0 };
  });

  return {
    keep({ environment, key }, batch) {
      const bytesThen = bytes() + batch.bytes.length;
      const entry = bytesThen <= maxBytes ? own.keep({ ...batch, queue: key }, shareOf(environment)) : 'full';
      if (typeof entry === 'string') {
        reports.unkept(batch.events, entry);
        return undefined;
      }
      if (bytesThen <= maxBytes * ROOM_PART) reports.hasRoom();
      return [{ entry, first: 0, events: batch.events }];
    },
    body: ({ key }, id) => own.body(key, id),
    async assign(kept, id) {
      if (owner.isUnsure)
        await within(
          timings.lateMs,
          lane(owner.beat).catch(() => false),
        );
      const journals = byJournal(kept);
      for (const [journal, parts] of journals) journal.assign(parts, id);
      await Promise.all(Array.from(journals.keys(), (journal) => journal.written()));
    },
    free(kept) {
      for (const [journal, parts] of byJournal(kept)) journal.assign(parts, '');
    },
    settle(kept) {
      for (const [journal, parts] of byJournal(kept)) journal.settle(parts);
    },
    isTaken: (kept) => areAll(kept, 'taken'),
    async stays() {
      await own.written();
      return (kept) => areAll(kept, 'written');
    },
    written: () => own.written(),
    status: () => ({ ...reports.status(), bytes: bytes(), maxBytes }),
    proceed: replay.proceed,
    endReplay: replay.end,
    async close() {
      isClosed = true;
      clearTimeout(timer);
      reports.closed(await within(CLOSING_MS, closeAll()), CLOSING_MS);
    },
  };

  /** Returns what it leaves. */
  async function closeAll() {
    await replay.close();
    await own.close();
    const { events, unreadDirectories } = replay.left();
    const left = { events: own.events + events, unreadDirectories, bytes: bytes() };
    if (own.entries.size === 0) await own.remove();
    await lane(owner.leave);
    return left;
  }
}

function areAll(kept: readonly Kept[] | undefined, state: Entry['state']): boolean {
  return kept !== undefined && kept.length > 0 && kept.every(({ entry }) => entry.state === state);
}

function byJournal(kept: readonly Kept[]): Map<Entry['journal'], Kept[]> {
  const found = new Map<Entry['journal'], Kept[]>();
  for (const one of kept) {
    const parts = found.get(one.entry.journal) ?? [];
    parts.push(one);
    found.set(one.entry.journal, parts);
  }
  return found;
}
