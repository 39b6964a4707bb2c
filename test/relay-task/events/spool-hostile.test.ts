/** What others do to the directory of a spool, and disks that fail. */
import { execFileSync } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { createBudget } from '../../../relay-task/common/budget.ts';
import { createTurnstile } from '../../../relay-task/common/turnstile.ts';
import type { Kept } from '../../../relay-task/events/spool-index.ts';
import { createJournal } from '../../../relay-task/events/spool-journal.ts';
import { createWaits } from '../../../relay-task/events/spool-waits.ts';
import { eventually } from '../../support/eventually.ts';
import { asKilled, filesIn, logsIn, newDirectory, startSpooling } from './spool-support.ts';
import { custom, type Event, NEVER_MS, send, startLaunchDarkly } from './support.ts';

const numbered = (count: number, from = 0) => Array.from({ length: count }, (_, index) => custom(from + index));
const keys = (events: readonly Event[]) => events.map(({ key }) => key).sort();
const nameOf = (digit: string) => `v1-${digit}0000000-0000-0000-0000-000000000000`;

/** What a killed relay leaves that had these events. */
async function leftBy(events: readonly Event[]): Promise<string> {
  const away = await startLaunchDarkly(() => 503);
  const directory = newDirectory();
  const { intake } = startSpooling(away.uri, directory, { flushIntervalMs: NEVER_MS });
  for (const event of events) await send(intake, [event]);
  return asKilled(directory);
}

/** With the counter of `make` in three directories, in whatever order they are found. */
test.each<[string, (path: string) => void]>([
  ['a pipe', (path) => execFileSync('mkfifo', [path])],
  ['a directory', (path) => mkdirSync(path)],
  ['a link to what never ends', (path) => symlinkSync('/dev/zero', path)],
])('a directory with %s for a counter costs only itself', async (_, make) => {
  const directory = await leftBy(numbered(2));
  for (const digit of '07f') {
    mkdirSync(join(directory, nameOf(digit)));
    make(join(directory, nameOf(digit), 'owner'));
  }
  const launchDarkly = await startLaunchDarkly();
  const next = startSpooling(launchDarkly.uri, directory);
  await eventually(() => expect(keys(launchDarkly.taken())).toEqual(keys(numbered(2))));
  await send(next.intake, numbered(1, 2));
  await next.forwarding.close(60_000);
  expect(readdirSync(directory).sort()).toEqual(['0', '7', 'f'].map(nameOf));
  expect(next.lines.filter((line) => line.startsWith('Cannot take over a directory'))).toHaveLength(3);
  expect(next.lines.join()).not.toContain('Cannot use EVENTS_SPOOL_DIR');
});

test('a log that is larger than any relay makes it is not read, and costs only itself', async () => {
  const directory = await leftBy(numbered(2));
  const [own = ''] = readdirSync(directory);
  const huge = join(directory, own, '00000000-0123456789abcdef.log');
  writeFileSync(huge, '');
  truncateSync(huge, 3 * 2 ** 30);
  const launchDarkly = await startLaunchDarkly();
  const next = startSpooling(launchDarkly.uri, directory);
  await eventually(() => expect(keys(launchDarkly.taken())).toEqual(keys(numbered(2))));
  await next.forwarding.close(60_000);
  expect(filesIn(directory).map((path) => path.split('/').at(-1))).toEqual(['00000000-0123456789abcdef.log']);
  expect(next.lines.filter((line) => line.startsWith('Cannot read a file of the spool'))).toHaveLength(1);
});

test('events whose directory was deleted are sent from memory, and the next ones are kept in a new one', async () => {
  const launchDarkly = await startLaunchDarkly(() => 503);
  const directory = newDirectory();
  const relay = startSpooling(launchDarkly.uri, directory, { flushIntervalMs: NEVER_MS });
  await send(relay.intake, numbered(3));
  const [own = ''] = readdirSync(directory);
  // At once, as a relay that is moving it would find it.
  renameSync(join(directory, own), join(newDirectory(), own));
  await eventually(() => expect(relay.lines.join()).toContain('was deleted'));
  await eventually(() => expect(readdirSync(directory).join()).toMatch(/^v1-/));
  await send(relay.intake, numbered(3, 3));
  expect(await relay.measured('events_unspooled_total', { reason: 'failed' })).toBe(3);
  launchDarkly.mood.react = () => 202;
  relay.intake.flush();
  await eventually(() => expect(keys(launchDarkly.taken())).toEqual(keys(numbered(6))));
  expect(await relay.measured('events_spooled_total')).toBe(0);
  await relay.forwarding.close(60_000);
});

test('of very many directories a relay takes only some at a time, and goes on beating @heavy', async () => {
  const seed = await leftBy(numbered(1));
  const [log = ''] = logsIn(seed);
  const directory = newDirectory();
  for (let index = 0; index < 700; index++) {
    const path = join(directory, `v1-${String(index).padStart(8, '0')}-0000-0000-0000-000000000000`);
    mkdirSync(path);
    writeFileSync(join(path, log.split('/').at(-1) ?? ''), readFileSync(log));
  }
  const away = await startLaunchDarkly(() => 503);
  const next = startSpooling(away.uri, directory);
  await eventually(() => expect(readdirSync(directory).length).toBeLessThan(300));
  await send(next.intake, numbered(1));
  expect(readdirSync(directory).length).toBeGreaterThan(150);
});

/** A journal in a directory of its own, which others may fail. */
function startJournal() {
  const directory = mkdtempSync(join(newDirectory(), 'journal-'));
  const state = { mayWrite: async () => true, unkept: 0, unmarked: [] as unknown[] };
  const open = () =>
    createJournal({
      directory: () => directory,
      lane: createTurnstile({ maxInside: 1 }).run,
      segmentBytes: 256 * 1024,
      wasteBytes: 1024 * 1024,
      lateMs: NEVER_MS,
      mayWrite: () => state.mayWrite(),
      unkept: (events) => {
        state.unkept += events;
      },
      recovered() {},
      unmarked: (error) => void state.unmarked.push(error),
    });
  return { directory, state, open, journal: open() };
}

const batchOf = (text: string, events = 1) => ({ queue: '{}', sender: '', bytes: Buffer.from(text), events });
const wholeOf = (entry: Kept['entry']): Kept[] => [{ entry, first: 0, events: entry.events }];

function keep(journal: ReturnType<typeof createJournal>, batch: ReturnType<typeof batchOf>) {
  const entry = journal.keep(batch, createBudget(Infinity));
  if (typeof entry === 'string') throw new Error(entry);
  return entry;
}

/** The IDs of what another process finds. */
async function found({ open: openAgain }: ReturnType<typeof startJournal>) {
  const next = openAgain();
  await next.adopt();
  return Array.from(next.entries, ({ id }) => id);
}

/** The methods of file handles, to be failed. */
async function handles(): Promise<FileHandle> {
  const path = join(newDirectory(), 'any');
  const handle = await open(path, 'w');
  await handle.close();
  return Object.getPrototypeOf(handle) as FileHandle;
}

/** Reading fails as a broken disk, or a process without descriptors, makes it fail. Returns what ends that. */
async function failReading(method: 'read' | 'readFile', fails: (args: readonly unknown[]) => boolean = () => true) {
  const prototype = await handles();
  const real = prototype[method];
  const spy = jest.spyOn(prototype, method).mockImplementation(async function (this: FileHandle, ...args: unknown[]) {
    if (fails(args)) throw Object.assign(new Error('EIO: i/o error, read'), { code: 'EIO', errno: -5 });
    return Reflect.apply(real, this, args);
  } as never);
  return { end: () => spy.mockRestore(), failed: () => spy.mock.calls.length };
}

/** The disk takes so many more bytes, beside those that `isFree`. */
async function withRoom(
  room: number,
  work: () => Promise<void>,
  isFree: (file: { readonly size: number }, at: number) => boolean = () => false,
): Promise<void> {
  const prototype = await handles();
  const { write } = prototype;
  let left = room;
  const spy = jest.spyOn(prototype, 'write').mockImplementation(async function (this: FileHandle, ...args: unknown[]) {
    const [buffer, from, length, at] = args as [Buffer, number, number, number];
    if (isFree(await this.stat(), at)) return Reflect.apply(write, this, args);
    if (left === 0) throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });
    const part = Math.min(length, left);
    left -= part;
    return Reflect.apply(write, this, [buffer, from, part, at]);
  } as never);
  try {
    await work();
  } finally {
    spy.mockRestore();
  }
}

/** No file becomes longer. */
async function withoutRoom(work: () => Promise<void>): Promise<void> {
  await withRoom(0, work, ({ size }, at) => at < size);
}

test('what a full disk took of a group is not there for the next process, which nobody told what became of it', async () => {
  const started = startJournal();
  const { journal } = started;
  const stays = keep(journal, batchOf('stays'));
  await journal.written();
  // All are in one group, of which a few fit.
  await withRoom(300, async () => {
    const lost = ['one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight'].map((text) =>
      keep(journal, batchOf(text)),
    );
    await journal.written();
    expect(lost.map(({ state }) => state)).toEqual(lost.map(() => 'lost'));
  });
  await journal.close();
  expect(await found(started)).toEqual([stays.id]);
});

test('a full disk has room again once everything is settled, although that cannot be written', async () => {
  const { journal, directory } = startJournal();
  const entries = ['x', 'y', 'z'].map((text) => keep(journal, batchOf(text.repeat(1_000))));
  await journal.written();
  expect(filesIn(directory)).toHaveLength(1);
  await withRoom(0, async () => {
    for (const entry of entries) journal.settle(wholeOf(entry));
    await journal.written();
    await eventually(() => expect(filesIn(directory)).toEqual([]));
  });
  expect(journal.bytes).toBe(0);
  const later = keep(journal, batchOf('later'));
  await journal.written();
  expect(later.state).toBe('written');
  await journal.close();
});

test('what was settled while nothing could be written is not sent again @heavy', async () => {
  const started = startJournal();
  const { journal, state } = started;
  const events = 600_000;
  const many = keep(journal, batchOf('many', events));
  const stays = keep(journal, batchOf('stays'));
  await journal.written();
  state.mayWrite = async () => false;
  // Each is told in so many ranges that both together are more than may wait.
  for (const from of [0, events / 2])
    journal.settle(Array.from({ length: events / 2 }, (_, index) => ({ entry: many, first: from + index, events: 1 })));
  expect(many.state).toBe('settled');
  state.mayWrite = async () => true;
  await journal.close();
  expect(await found(started)).toEqual([stays.id]);
});

test('a wait ends in time although others are written meanwhile', async () => {
  jest.useFakeTimers();
  try {
    const late = jest.fn();
    const waits = createWaits(250, late);
    let isOver = false;
    void waits.until(9, 0).then(() => {
      isOver = true;
    });
    for (let number = 1; number < 4; number++) {
      await jest.advanceTimersByTimeAsync(100);
      waits.passed(number, false);
    }
    await jest.advanceTimersByTimeAsync(0);
    expect(isOver).toBe(true);
    expect(late).toHaveBeenCalledTimes(1);
  } finally {
    jest.useRealTimers();
  }
});

describe('a log whose process ends while nothing can be appended to it', () => {
  /** Three files: in the first a batch that is settled and one that is not, unless it is `whole`, in each other a settled one. */
  async function threeFiles({ whole = false } = {}) {
    const started = startJournal();
    const { journal, directory } = started;
    const large = 'x'.repeat(300_000);
    const first = whole ? [] : [keep(journal, batchOf('first'))];
    const entries = [...first];
    for (const text of [large, large, large]) {
      entries.push(keep(journal, batchOf(text)));
      await journal.written();
    }
    const paths = filesIn(directory).sort();
    expect(paths).toHaveLength(3);
    const stays = entries[first.length]!;
    /** Ends after `before`. */
    const end = (before = () => {}) =>
      withoutRoom(async () => {
        for (const entry of entries) if (entry !== stays) journal.settle(wholeOf(entry));
        await journal.written();
        before();
        await journal.close();
      });
    return { ...started, entries, stays, end, paths };
  }

  /** A file cannot be read while there is a directory in its place. */
  function hide(path: string) {
    renameSync(path, `${path}.hidden`);
    mkdirSync(path);
    return () => {
      rmSync(path, { recursive: true });
      renameSync(`${path}.hidden`, path);
    };
  }

  test('tells in it what is settled', async () => {
    const started = await threeFiles();
    await started.end();
    expect(await found(started)).toEqual([started.stays.id]);
    expect(started.state.unmarked).toEqual([]);
  });

  test('goes on after a file that cannot be read, and says so', async () => {
    const started = await threeFiles();
    let show = () => {};
    await started.end(() => {
      show = hide(started.paths[0]!);
    });
    show();
    expect(await found(started)).toEqual(started.entries.slice(0, 2).map(({ id }) => id));
    expect(started.state.unmarked).toEqual([expect.objectContaining({ code: 'EISDIR' })]);
  });

  test('does not read files in which there is nothing to tell', async () => {
    const started = await threeFiles({ whole: true });
    let show = () => {};
    await started.end(() => {
      show = hide(started.paths[0]!);
    });
    show();
    expect(await found(started)).toEqual([started.stays.id]);
    expect(started.state.unmarked).toEqual([]);
  });

  test('asks before each file whether it is still its own', async () => {
    const started = await threeFiles();
    const [path = ''] = started.paths;
    await started.end(() => {
      // Another relay takes it over when the first file has been written.
      const before = readFileSync(path);
      started.state.mayWrite = async () => readFileSync(path).equals(before);
    });
    expect(await found(started)).toEqual(started.entries.slice(1).map(({ id }) => id));
  });
});

describe('files that cannot be read for a while', () => {
  test('hold up the events in them, which are then sent once', async () => {
    const directory = await leftBy(numbered(3));
    const launchDarkly = await startLaunchDarkly();
    // All reads of batches, and none of counters.
    const disk = await failReading('read', ([buffer]) => (buffer as Buffer).length !== 256);
    const next = startSpooling(launchDarkly.uri, directory);
    try {
      const told = () => next.lines.filter((line) => line.startsWith('Events in the spool cannot be read at present'));
      await eventually(() => expect(told()).toHaveLength(1));
    } finally {
      disk.end();
    }
    await eventually(() => expect(keys(launchDarkly.taken())).toEqual(keys(numbered(3))));
    await next.forwarding.close(60_000);
    expect(await next.measured('events_dropped_total')).toBe(0);
    expect(launchDarkly.taken()).toHaveLength(3);
  });

  test('are read later, with all others of their directory', async () => {
    const directory = await leftBy(numbered(3));
    const launchDarkly = await startLaunchDarkly();
    const disk = await failReading('readFile');
    const next = startSpooling(launchDarkly.uri, directory);
    try {
      await eventually(() => expect(disk.failed()).toBeGreaterThan(1));
      expect(launchDarkly.taken()).toEqual([]);
    } finally {
      disk.end();
    }
    await eventually(() => expect(keys(launchDarkly.taken())).toEqual(keys(numbered(3))));
    await next.forwarding.close(60_000);
    expect(filesIn(directory)).toEqual([]);
  });

  /** In two files: a batch that is settled and one that is not; what settles the first one, and a batch of two events. */
  async function twoFiles() {
    const started = startJournal();
    const { journal } = started;
    const [first, second] = [keep(journal, batchOf('"a"')), keep(journal, batchOf(`"${'x'.repeat(300_000)}"`))];
    await journal.written();
    journal.settle(wholeOf(first));
    const third = keep(journal, batchOf('"is settled in place","stays"', 2));
    await journal.written();
    await journal.close();
    expect(filesIn(started.directory)).toHaveLength(2);
    return { ...started, ids: { second: second.id, third: third.id } };
  }

  /** What an adopting process finds if it cannot read these files. */
  async function adopted({ open: openAgain, directory }: ReturnType<typeof startJournal>, unread: readonly number[]) {
    const order = filesIn(directory).toSorted();
    let reads = 0;
    const disk = await failReading('readFile', () => unread.includes(reads++ % order.length));
    const next = openAgain();
    const { unreadable } = await next.adopt();
    disk.end();
    expect(unreadable).toHaveLength(unread.length);
    return next;
  }

  test('keep what tells of them, although all the rest is settled', async () => {
    const started = await twoFiles();
    const next = await adopted(started, [0]);
    for (const entry of [...next.entries]) next.settle(wholeOf(entry));
    await next.remove();
    expect(await found(started)).toEqual([started.ids.second]);
  });

  test('share no number with what is left of a batch in another one', async () => {
    const started = await twoFiles();
    // A third file, which is not read, has the next number.
    const before = await adopted(started, []);
    await before.close();
    const next = started.open();
    await next.adopt();
    const last = keep(next, batchOf('"later"'));
    await next.written();
    await next.close();
    const third = await adopted(started, [2]);
    const [, divided] = third.entries;
    await withoutRoom(async () => {
      third.settle([{ entry: divided!, first: 0, events: 1 }]);
      await third.written();
      await third.close();
    });
    const after = started.open();
    await after.adopt();
    const left = Array.from(after.entries, ({ id, spans }) => [id, spans.reduce((sum, { events }) => sum + events, 0)]);
    expect(left).toEqual([
      [started.ids.second, 1],
      [expect.any(Number), 1],
      [last.id, 1],
    ]);
  });
});

test('a disk that is too slow is in the status until everything is written', async () => {
  const launchDarkly = await startLaunchDarkly(() => 503);
  const { intake, forwarding } = startSpooling(launchDarkly.uri, newDirectory(), {
    flushIntervalMs: NEVER_MS,
    spool: { timings: { lateMs: 10 } },
  });
  await send(intake, numbered(1));
  // Until then that may have taken long, too.
  await eventually(() => expect(forwarding.spool()).toMatchObject({ state: 'VALID' }));
  const prototype = await handles();
  const { write } = prototype;
  let goOn = () => {};
  const gate = new Promise<void>((resolve) => {
    goOn = resolve;
  });
  const spy = jest.spyOn(prototype, 'write').mockImplementation(async function (this: FileHandle, ...args: unknown[]) {
    await gate;
    return Reflect.apply(write, this, args);
  } as never);
  try {
    await send(intake, numbered(1, 1));
    const message = 'writing takes too long, so answers no longer wait for it';
    expect(forwarding.spool()).toMatchObject({ state: 'INTERRUPTED', lastError: { message } });
    goOn();
    await eventually(() => expect(forwarding.spool()).toMatchObject({ state: 'VALID', lastError: { message } }));
  } finally {
    goOn();
    spy.mockRestore();
  }
});
