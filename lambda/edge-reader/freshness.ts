import {
  createSnapshotReader,
  formatRev,
  type HeadPointer,
  initedKey,
  type Reading,
  type Snapshot,
} from '../../lib/flag-table/index.ts';
import type { Settings } from './config.ts';
import { createModels, type Model } from './model.ts';
import { createOfficialLayout, type Holding } from './official-layout.ts';
import type { Surroundings } from './surroundings.ts';
import type { Flight, Table } from './table.ts';
import { within } from './within.ts';

export interface ReaderStatus {
  /** `loading`: no data yet. `unreachable`: no data, and the last read failed. `stale`: see `message`. */
  readonly state: 'loading' | 'ready' | 'stale' | 'unreachable';
  /** A human-readable description of the problem; empty if there is none. */
  readonly message: string;
  /** Age of the data: ms since the start of the last read that found it current. */
  readonly ageMs: number | undefined;
  /** The revision of the snapshot. */
  readonly rev: string | undefined;
  /** Unix ms: when the relay last confirmed that it is current with LaunchDarkly, according to the snapshot's head. */
  readonly checkedAt: number | undefined;
  /** Which of the table's two layouts is read; `held`: flags of the program itself, since nothing was read. */
  readonly source: 'snapshot' | 'official' | 'held' | undefined;
  /** The region that answered last. */
  readonly replica: string | undefined;
  /** The last failed read; kept after later reads succeed. `at` in Unix ms. */
  readonly lastError: { readonly at: number; readonly message: string } | undefined;
}

/** One state of the table. */
export interface Data {
  /** Unix ms: when a read last found it current. Only of the state before. */
  readonly readAt?: number;
  readonly snapshot?: Snapshot | undefined;
  readonly official?: Holding | undefined;
}

/** Must not throw. */
export type OnData = (before: Data, after: Data) => void;

/** The data read from the table, and when it is refreshed. */
interface Freshness {
  /** Undefined until data was read. */
  model(): Model | undefined;
  /** Set while the official layout is in use: a flag and its dependencies may then have to be fetched first. */
  official(): Holding | undefined;
  snapshot(): Snapshot | undefined;
  /**
   * Starts a read if one is due. If the caller should wait for it, returns a promise, which never rejects. `patient` callers wait up to
   * `coldDeadlineMs`, as all callers do without data; others wait for a few round trips.
   */
  look(how?: 'behind' | 'patient'): Promise<unknown> | undefined;
  /** Official layout: fetches the flag (undefined: all flags) with its dependencies; false if it could not be read in time. */
  obtain(flagKey: string | undefined): Promise<boolean>;
  /** A flight for a read outside of this module. */
  takeOff(ms: number): Flight;
  /** The snapshot turned out to be unreadable: switches to the official layout. */
  distrust(reason: string): void;
  /** Reads now, or joins the read under way; whether it succeeded. */
  refresh(): Promise<boolean>;
  status(): ReaderStatus;
}

/** Delays before reading again while a publication is under way or the replica lags; after these, the normal interval. */
const LOOK_AGAIN_MS = [250, 1_000];
/** Data without confirmation for this long is stale: the relay confirms at least every few minutes that it is current. */
const CHECKED_MS = 5 * 60_000;
/** Data that has been due for this long is stale. */
const STALE_MS = 60_000;
/** How often to look for a snapshot in a table that has none. */
const PROBE_MS = 60_000;
/** `onData` is called when another state of the table is held. */
export function createFreshness(
  settings: Settings,
  table: Table,
  { now, random }: Surroundings,
  onData?: OnData,
): Freshness {
  const { tableName, prefix, refreshMs, maxWaitMs, coldDeadlineMs } = settings;
  const models = createModels();
  const layout = createOfficialLayout(prefix, table, models);

  let snapshot: Snapshot | undefined;
  let head: HeadPointer | undefined;
  let official: Holding | undefined;
  let model: Model | undefined;
  let readAt = 0;
  let lookAt = 0;
  let looksBehind = 0;
  let probeAt = 0;
  let lastError: ReaderStatus['lastError'];
  /** How many calls have waited in vain since the last read. */
  let inVain = 0;
  /** Calls do not wait until then, because one has waited in vain for the longest time allowed. */
  let hurryUntil = 0;

  const fail = (message: string) => {
    lastError = { at: now(), message };
  };

  /** From one read to the next: less than `refreshMs`, so that calls do not wait in a process that keeps running. */
  const interval = () => refreshMs * (0.7 + 0.2 * random());

  // Callers wait at most coldDeadlineMs; a later result still serves the next calls.
  const reads = createReads(now, 3 * coldDeadlineMs, fail);

  function hold(next: Data & { readonly head?: HeadPointer }, at: number) {
    const isOther = next.official || next.snapshot !== snapshot;
    if (isOther) {
      const find = next.snapshot;
      model = find ? models((kind, key) => find.get(kind, key)) : next.official?.model;
    }
    const before = { snapshot, official, readAt };
    ({ snapshot, official, head } = next);
    readAt = at;
    if (isOther) onData?.(before, next);
  }

  /** Applies a reading; true if the official layout must be read instead. */
  function adopt(reading: Reading, at: number): boolean {
    lookAt = at + interval();
    const { behind } = reading as { readonly behind?: boolean };
    if (reading.kind === 'snapshot' || reading.kind === 'unchanged') hold({ snapshot, ...reading }, at);
    if (reading.kind === 'refused') fail(reading.reason);
    if (reading.kind === 'absent' && snapshot) fail('the snapshot is gone');
    const soonMs = behind ? LOOK_AGAIN_MS[looksBehind] : undefined;
    looksBehind = behind ? looksBehind + 1 : 0;
    if (soonMs !== undefined) {
      lookAt = probeAt = Math.min(lookAt, now() + soonMs);
      setTimeout(look, soonMs + 1, 'behind').unref();
    }
    return snapshot === undefined;
  }

  async function read(flight: Flight) {
    await readAny(flight);
    hurryUntil = inVain = 0;
  }

  async function readAny(flight: Flight) {
    const probe = !official || now() >= probeAt;
    if (probe) {
      const source = createSnapshotReader({
        prefix,
        get: (keys) => table.get(keys, flight),
        query: (query) => table.query(query, flight),
      });
      probeAt = now() + PROBE_MS;
      const reading = snapshot ? await source.refresh(snapshot) : await source.cold();
      if (!adopt(reading, flight.askedAt)) return;
    }
    // While the table is being filled, a missing item may only not have been written yet.
    if (!official && !(await table.get([initedKey(prefix)], flight))[0])
      throw new Error(`no flags in table ${tableName}, prefix "${prefix}"`);
    const next = official ? await layout.again(official, flight) : layout.empty();
    if (snapshot) return;
    hold({ official: next }, flight.askedAt);
    if (!probe) lookAt = flight.askedAt + interval();
  }

  function look(how?: 'behind' | 'patient'): Promise<unknown> | undefined {
    const at = now();
    reads.thaw(at);
    const wasFresh = isFresh(at);
    if (wasFresh && at < lookAt) return undefined;
    const waitsLong = how === 'patient' || !model;
    if (how === 'behind' || wasFresh || (!waitsLong && at < hurryUntil)) {
      reads.join(null, read);
      return undefined;
    }
    return waitsLong ? waitUntil(at + coldDeadlineMs) : waitABit(at);
  }

  const isFresh = (at: number) => model !== undefined && at >= readAt && at - readAt < refreshMs;

  /** In a process that freezes between calls, background reads never complete, so calls wait. False: it waited in vain. */
  async function waitUntil(deadlineAt: number): Promise<boolean> {
    // The answer to a request from before a freeze may arrive after it, and is old by then.
    for (let turn = 0; turn < 2 && !isFresh(now()); turn += 1) {
      const isRead = await within(reads.join(null, read).done, deadlineAt - now());
      if (!isRead) return isRead === false;
    }
    return true;
  }

  async function waitABit(at: number): Promise<void> {
    // The distance to the replica may have grown.
    const enoughMs = table.enoughMs() * 2 ** inVain;
    if (await waitUntil(at + Math.min(maxWaitMs, enoughMs))) return;
    inVain += 1;
    if (enoughMs >= maxWaitMs) hurryUntil = now() + refreshMs;
  }

  return {
    look,
    takeOff: reads.takeOff,
    model: () => model,
    official: () => official,
    snapshot: () => snapshot,
    refresh() {
      reads.thaw(now());
      return reads.join(null, read).done;
    },
    async obtain(flagKey) {
      const into = official;
      if (!into) return false;
      const { done } = reads.join(flagKey, async (flight) => {
        if (flagKey !== undefined) await layout.add(into, [flagKey], flight);
        else {
          const all = await layout.everything(into, flight);
          if (!snapshot) hold({ official: all }, Math.min(readAt, flight.askedAt));
        }
      });
      return (await within(done, coldDeadlineMs)) === true;
    },
    distrust(reason) {
      fail(reason);
      hold({ official: layout.empty() }, now());
      probeAt = now() + PROBE_MS;
    },
    status() {
      const at = now();
      const message = model ? staleness(at, readAt, refreshMs + STALE_MS, head) : (lastError?.message ?? '');
      return {
        state: model ? (message ? 'stale' : 'ready') : lastError ? 'unreachable' : 'loading',
        message,
        ageMs: model && at - readAt,
        rev: snapshot && formatRev(snapshot.rev),
        checkedAt: head?.checkedAt,
        source: snapshot ? 'snapshot' : official && 'official',
        replica: table.replica(),
        lastError,
      };
    },
  };
}

/** The reads under way. Reads for the same key are one: a flag, all flags (undefined), or the refresh (null). */
function createReads(now: () => number, limitMs: number, fail: (message: string) => void) {
  const joined = new Map<string | undefined | null, { readonly flight: Flight; readonly done: Promise<boolean> }>();

  const takeOff = (ms = limitMs): Flight => ({
    askedAt: Infinity,
    deadlineAt: now() + ms,
  });

  return {
    takeOff,
    /** Joins the read for the key, or starts it. `done`: whether it succeeded; never rejects. */
    join(key: string | undefined | null, read: (flight: Flight) => Promise<void>) {
      let mine = joined.get(key);
      if (!mine) {
        const flight = takeOff();
        const done = read(flight)
          .then(
            () => true,
            (problem: Error) => {
              fail(problem.message);
              return false;
            },
          )
          .finally(() => joined.delete(key));
        mine = { flight, done };
        joined.set(key, mine);
      }
      return mine;
    },
    /** A read that is past its deadline and still in progress was frozen with the process. The replica is not to blame, so it gets its full time again. */
    thaw(at: number) {
      for (const { flight } of joined.values()) {
        if (at > flight.deadlineAt) flight.deadlineAt = at + limitMs;
      }
    },
  };
}

/** Why data is stale; empty if it is not. */
function staleness(at: number, readAt: number, staleMs: number, head: HeadPointer | undefined): string {
  const old = (since: number, why: string) => `stale (${Math.round((at - since) / 1_000)} s): ${why}`;
  if (at - readAt > staleMs) return old(readAt, 'not read');
  if (head && at - head.checkedAt > CHECKED_MS) return old(head.checkedAt, 'the relay has not confirmed it');
  return '';
}
