import { within } from '../common/pause.ts';
import type { Log } from '../ports.ts';
import type { BigSegmentMetadata, BigSegmentReading, BigSegmentStore } from './big-segments.ts';
import { createStandings, type StandingsOptions } from './big-segments-standing.ts';

export interface BigSegmentWatchOptions extends Omit<StandingsOptions, 'before'> {
  /** The first one is used; the others replace it while it cannot be relied on. */
  readonly stores: readonly Pick<BigSegmentStore, 'read'>[];
  /** Where the same environment's members were kept before. Asked after `stores`, until one of these is current. */
  readonly former?: FormerStores | undefined;
  readonly log: Log;
  /** Memberships may differ: another relay moved the cursor, or a store can be relied on again. Must not throw. */
  onChange?(): void;
  /** How often the metadata is read. Default 5 s. */
  readonly pollMs?: number;
  /** How long a read waits for the store. Default 2 s. */
  readonly timeoutMs?: number;
  /** How often a store that cannot be relied on is tried again. Default 1 s. */
  readonly retryMs?: number;
  /** How long evaluations without a known membership wait for the end of an outage, from its beginning. Default 5 s. */
  readonly outageWaitMs?: number;
}

export interface FormerStores {
  readonly stores: readonly Pick<BigSegmentStore, 'read'>[];
  /** What they said last when they were current. */
  readonly newest: BigSegmentMetadata | undefined;
  /** They are not asked any more. */
  close(): void;
}

/** `outdated`: the stores' answers are older than what was known. `none`: no store can be asked. */
type Reliability = 'current' | 'outdated' | 'none';

export interface WatchedReading extends BigSegmentReading {
  readonly reliability: 'current' | 'outdated';
}

/** What the stores said to one question. */
interface Result {
  /** Whether any of them answered. */
  readonly answered: boolean;
  readonly reading: WatchedReading | undefined;
  /** Why no current answer was found; '' if there is one. */
  readonly problem: string;
}

/** Reads from the stores, and knows whether they can be relied on. */
export function createBigSegmentWatch(options: BigSegmentWatchOptions) {
  const { pollMs = 5_000, retryMs = 1_000, outageWaitMs = 5_000 } = options;
  const stores = createStores(options);
  const outage = createOutage(outageWaitMs);
  const trouble = createTroubleLog(options.log);
  const questions = createQuestions();
  let available: boolean | undefined;
  let reliability: Reliability | undefined;
  /** The last cursor that was announced to readers. */
  let cursor: string | undefined;
  /** A hash of the last question that failed: the next attempt has to read it, and not only the metadata. */
  let probe: readonly string[] = [];
  let first: Promise<void> | undefined;
  let timer: NodeJS.Timeout | undefined;
  let closed = false;

  /** Asks, and draws conclusions from the answer. Returns whether the stores can be relied on again. */
  async function ask(stored: typeof stores.read, hashes: readonly string[]) {
    const number = questions.next();
    const { answered, reading, problem } = await stored(hashes);
    const isCurrent = reading?.reliability === 'current';
    if (closed || !questions.counts(number, isCurrent)) return { reading, recovered: false };
    const before = reliability;
    reliability = reading?.reliability ?? 'none';
    available = answered;
    if (isCurrent) {
      probe = [];
      outage.end(true);
    } else {
      if (hashes.length > 0) probe = hashes.slice(0, 1);
      if (reliability === 'none') outage.begin();
      else outage.end(true);
    }
    if (trouble.report(problem, answered, stores.newest() !== undefined) && first) schedule(retryMs);
    const recovered = isCurrent && before !== undefined && before !== 'current';
    if (recovered) cursor = stores.newest()?.cursor;
    return { reading, recovered };
  }

  /** Returns whether memberships may differ from what was read before. */
  async function look(): Promise<'moved' | 'recovered' | undefined> {
    const { recovered } = await ask(stores.readFirst, probe);
    if (recovered) return 'recovered';
    if (reliability !== 'current') return undefined;
    const before = cursor;
    cursor = stores.newest()?.cursor;
    return before !== undefined && before !== cursor ? 'moved' : undefined;
  }

  async function poll(): Promise<void> {
    const change = await look();
    if (closed) return;
    schedule(reliability === 'current' ? pollMs : retryMs);
    if (change) options.onChange?.();
  }

  function schedule(ms: number): void {
    clearTimeout(timer);
    if (closed) return;
    timer = setTimeout(() => void poll(), ms);
    timer.unref();
  }

  return {
    newest: stores.newest,
    /** Whether any store answers; undefined: not known yet. */
    available: () => available,
    /** Undefined: not known yet. */
    reliability: () => reliability,
    /** Undefined: no store can be asked. */
    async read(hashes: readonly string[]): Promise<WatchedReading | undefined> {
      const { reading, recovered } = await ask(stores.read, hashes);
      if (recovered) options.onChange?.();
      return reading;
    },
    /** Whether a store can be asked, after an outage ended; false once it lasts longer than evaluations wait. */
    recovery: outage.over,
    /** This relay changed memberships. */
    async refresh(): Promise<void> {
      if ((await look()) === 'recovered' && !closed) options.onChange?.();
    },
    /** Reads the metadata from now on, if it did not before. */
    start(): void {
      if (!closed) first ??= poll();
    },
    close(): void {
      closed = true;
      clearTimeout(timer);
      outage.end(false);
      stores.leaveFormer();
    },
  };
}

/** The stores of Big Segments of an environment, and those before them until one of these is current. */
function createStores(options: BigSegmentWatchOptions) {
  const { stores: own, timeoutMs = 2_000 } = options;
  let { former } = options;
  const standings = createStandings({ ...options, before: former?.newest });
  let stores = [...own, ...(former?.stores ?? [])];
  /** The store that was current last. */
  let preferred = 0;

  function leaveFormer(): void {
    stores = [...own];
    former?.close();
    former = undefined;
  }

  /** Asks one store after the other until one is current. */
  async function readFrom(from: number, hashes: readonly string[]): Promise<Result> {
    let answered = false;
    let reading: WatchedReading | undefined;
    let problem = 'there is no store of Big Segments';
    const inOrder = [...stores.entries()];
    for (const [index, store] of [...inOrder.slice(from), ...inOrder.slice(0, from)]) {
      try {
        const found = await within(timeoutMs, store.read(hashes));
        if (!found) throw new Error(`no answer within ${timeoutMs} ms`);
        answered = true;
        const standing = standings.judge(index, found.metadata);
        if (standing.kind === 'current') {
          preferred = index;
          if (index < own.length) leaveFormer();
          return { answered, reading: { ...found, reliability: 'current' }, problem: '' };
        }
        problem = standing.reason;
        if (standing.kind === 'outdated') reading ??= { ...found, reliability: 'outdated' };
      } catch (error) {
        problem = (error as Error).message;
      }
    }
    return { answered, reading, problem };
  }

  return {
    newest: () => standings.newest,
    leaveFormer,
    read: (hashes: readonly string[]) => readFrom(preferred, hashes),
    /** Asks the first one first, as for metadata. */
    readFirst: (hashes: readonly string[]) => readFrom(0, hashes),
  };
}

const UNREADABLE = 'Big Segments cannot be read; using the last known memberships';
const BEHIND = 'The store of Big Segments is not up to date; using the last known memberships until it is';

/** Logs the beginning and the end of each kind of trouble, once. */
function createTroubleLog(log: Log) {
  let reported = '';
  return {
    /** `problem` is '' without trouble. Returns whether trouble began, or became another. */
    report(problem: string, answered: boolean, hadData: boolean): boolean {
      const message = problem === '' ? '' : answered ? BEHIND : UNREADABLE;
      if (message === reported) return false;
      reported = message;
      if (message === '') log.info('Big Segments can be read again');
      // It is no trouble that a new store has yet to be filled.
      else if (answered && !hadData) log.info(message, { reason: problem });
      else log.warn(message, { reason: problem, runbook: 'operations.md#big-segments-stale' });
      return message !== '';
    },
  };
}

/** Questions are numbered, since answers may overtake each other. */
function createQuestions() {
  let asked = 0;
  let succeeded = 0;
  let failed = 0;
  return {
    next: () => ++asked,
    /** Takes note of an answer. False: a later question had the opposite answer already. */
    counts(number: number, hasSucceeded: boolean): boolean {
      if (number < (hasSucceeded ? failed : succeeded)) return false;
      if (hasSucceeded) succeeded = Math.max(succeeded, number);
      else failed = Math.max(failed, number);
      return true;
    },
  };
}

/** The time in which no store can be asked. */
function createOutage(waitMs: number) {
  let over = Promise.resolve(true);
  let settle: ((isOver: boolean) => void) | undefined;
  let begun = false;
  let timer: NodeJS.Timeout | undefined;
  return {
    over: () => over,
    begin(): void {
      if (begun) return;
      begun = true;
      over = new Promise((resolve) => {
        settle = resolve;
      });
      timer = setTimeout(() => settle?.(false), waitMs);
      timer.unref();
    },
    end(isOver: boolean): void {
      begun = false;
      clearTimeout(timer);
      settle?.(isOver);
      over = Promise.resolve(isOver);
    },
  };
}
