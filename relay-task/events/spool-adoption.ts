/**
 * The directories that other processes have left in the spool: read one after the other, the oldest first, as long as there is memory for what
 * they hold, and deleted once nothing in them is left to be sent.
 */
import { readdir, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { errorText } from '../common/error-text.ts';
import type { Log } from '../ports.ts';
import { isPassing } from './spool-files.ts';
import type { Adopted, Journal } from './spool-journal.ts';
import type { Lane } from './spool-segments.ts';

interface AdoptionOptions {
  readonly lane: Lane;
  readonly log: Log;
  /** When reading has failed. */
  readonly retryMs: number;
  open(directory: string): Journal;
  /** Nothing more is read. */
  isOver(): boolean;
  /** Takes over what a directory holds. Returns how many events there are. */
  adopted(journal: Journal, held: Adopted): number;
  /** Called after that. */
  proceed(): void;
}

interface Waiting {
  readonly directory: string;
  readonly bytes: number;
  /** Of its oldest file, Unix ms. */
  readonly at: number;
  /** `performance.now()`: when reading it failed first, and when it is tried again. */
  readonly failedAt?: number;
  readonly tryAt?: number;
}

/** What is known of so many events in memory is enough; further directories wait. */
const MOST_ITEMS = 50_000;
/** So many directories are this process's at a time; others stay where they are, for any relay. */
const MOST_DIRECTORIES = 500;
/** A directory of which the disk gives a part only is read after this. The rest stays, for the next relay. */
const UNREAD_MS = 60_000;

export function createAdoption({ lane, log, retryMs, open, isOver, adopted, proceed }: AdoptionOptions) {
  let waiting: Waiting[] = [];
  const journals = new Set<Journal>();
  let adopting: Promise<void> | undefined;
  /** How often all of it was lost. */
  let losses = 0;

  const isFull = () => [...journals].reduce((sum, { entries }) => sum + entries.size, 0) > MOST_ITEMS;

  async function adoptAll(): Promise<void> {
    for (let next = takeNext(); next; next = takeNext()) {
      const tried = next;
      const lossesBefore = losses;
      await adopt(tried).catch((error: unknown) => {
        if (losses !== lossesBefore) return;
        if (isPassing(error) && isEarly(tried)) tryLater(tried, error);
        else
          log.error(
            'Cannot read what another relay left in the spool; it stays there, and is tried again after a restart',
            { directory: tried.directory, reason: errorText(error) },
          );
      });
      if (isOver() || isFull()) break;
    }
    adopting = undefined;
  }

  function takeNext(): Waiting | undefined {
    const next = waiting.find(isDue);
    waiting = waiting.filter((one) => one !== next);
    return next;
  }

  const isEarly = ({ failedAt = performance.now() }: Waiting) => performance.now() - failedAt < UNREAD_MS;

  function tryLater(tried: Waiting, error: unknown): void {
    const now = performance.now();
    const { directory, failedAt } = tried;
    waiting.push({ ...tried, failedAt: failedAt ?? now, tryAt: now + retryMs });
    if (failedAt !== undefined) return;
    log.warn('Cannot read what another relay left in the spool; it is tried again every few seconds', {
      directory,
      reason: errorText(error),
    });
  }

  async function adopt(tried: Waiting): Promise<void> {
    const { directory } = tried;
    const journal = open(directory);
    const lossesBefore = losses;
    const held = await journal.adopt();
    if (losses !== lossesBefore) return;
    const passing = held.unreadable.find(({ error }) => isPassing(error));
    if (passing && isEarly(tried)) throw passing.error;
    for (const { file, ...lost } of held.damage) {
      log.warn('A file of the spool is damaged; its other records are kept', { file, ...lost });
    }
    for (const { file, error } of held.unreadable) {
      log.warn('Cannot read a file of the spool; it is left as it is, and its other files are kept', {
        file,
        reason: errorText(error),
      });
    }
    const { foreign } = held;
    if (foreign.length > 0)
      log.warn('Files in the spool are not its own; they are left as they are', { directory, foreign });
    if (isOver()) return;
    journals.add(journal);
    const events = adopted(journal, held);
    if (events > 0) log.info('Took over events from a relay that has ended', { spool: basename(directory), events });
    proceed();
  }

  return {
    get bytes() {
      const read = [...journals].reduce((sum, { bytes }) => sum + bytes, 0);
      return waiting.reduce((sum, { bytes }) => sum + bytes, read);
    },
    get hasRoom() {
      return waiting.length + journals.size < MOST_DIRECTORIES;
    },
    /** Unix ms, or Infinity. */
    oldestAt(): number {
      return Math.min(...Array.from(journals, (journal) => journal.oldestAt), ...waiting.map(({ at }) => at));
    },
    /** Not settled, and the directories that were not read yet. */
    left: () => ({
      events: [...journals].reduce((sum, { events }) => sum + events, 0),
      unreadDirectories: waiting.length,
    }),
    /** Directories that are this process's now. */
    async add(directories: readonly string[]): Promise<void> {
      const found = await Promise.all(directories.map((directory) => lane(() => describe(directory))));
      waiting = [...waiting, ...found].sort((a, b) => a.at - b.at);
    },
    /** Deletes what is done with, and reads more if there is room for it. */
    proceed(): void {
      for (const journal of journals) {
        if (journal.entries.size > 0) continue;
        journals.delete(journal);
        void journal.remove();
      }
      if (waiting.some(isDue) && !isFull()) adopting ??= adoptAll();
    },
    /** Another process has taken all of it, or it was deleted. */
    abandon(isTaken: boolean): void {
      losses += 1;
      waiting = [];
      for (const journal of journals) journal.abandon(() => isTaken);
      journals.clear();
    },
    /** Leaves what is not settled to others. */
    async close(): Promise<void> {
      await adopting;
      await Promise.all(
        Array.from(journals, (journal) => (journal.entries.size > 0 ? journal.close() : journal.remove())),
      );
    },
  };
}

function isDue({ tryAt = 0 }: Waiting): boolean {
  return tryAt <= performance.now();
}

/** What cannot be looked at is told of when it is read. */
async function describe(directory: string): Promise<Waiting> {
  let bytes = 0;
  let at = Number.POSITIVE_INFINITY;
  for (const name of await readdir(directory).catch(() => [])) {
    const found = await stat(join(directory, name)).catch(() => undefined);
    if (!found?.isFile()) continue;
    bytes += found.size;
    at = Math.min(at, found.mtimeMs);
  }
  return { directory, bytes, at };
}
