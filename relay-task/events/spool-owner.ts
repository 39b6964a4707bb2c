/**
 * Which process a directory of the spool belongs to. Its owner changes a counter in it every few seconds. Others take it over when the counter
 * stood still for longer, by their own clocks, or at once if its process is known to have ended. To take it over is to move it into one's own
 * directory: only one process can do that, and the owner before misses it at its next beat.
 */
import { randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import {
  mkdir,
  open,
  opendir,
  readdir,
  readFile,
  readlink,
  rename,
  rmdir,
  stat,
  unlink,
  writeFile,
} from 'node:fs/promises';
import { basename, join } from 'node:path';

export interface OwnerTimings {
  readonly beatMs: number;
  /** So long after its last beat a process asks whether it is still the owner before it writes or sends anything. */
  readonly unsureMs: number;
  /** A counter that stood still for so long has no owner. Much longer than `unsureMs`. */
  readonly silenceMs: number;
}

export const usualOwnerTimings: OwnerTimings = { beatMs: 5_000, unsureMs: 20_000, silenceMs: 30_000 };

interface OwnerOptions {
  readonly root: string;
  readonly timings: OwnerTimings;
  /** Something that is none of a spool of this version. Must not throw. */
  foreign(name: string): void;
  /** A directory that cannot be looked at or taken over. Must not throw. */
  stuck(name: string, error: unknown): void;
  /** Before each beat: what was written is where others see it. */
  sync(): Promise<void>;
  /**
   * This process's own is not there any more. `seenAt`: what was written until then, in `performance.now()`, is in it for whoever has it now.
   * `isTaken`: another process has taken it over; otherwise it was deleted.
   */
  lost(seenAt: number, isTaken: boolean): void;
}

/** Its version is that of the records. */
const DIRECTORY = /^v1-[0-9a-f]{8}-[0-9a-f-]{27}$/;
/** One that is being made. */
const BEGUN = /^\.v1-[0-9a-f]{8}-[0-9a-f-]{27}$/;
const BEAT = 'owner';
/** The file is overwritten at its place, which a full disk allows. */
const BEAT_BYTES = 256;
/** Others' directories that are looked at in one go. */
const MOST_LISTED = 10_000;
/** A pipe in place of a file answers at once, and a link is not followed. */
const NOT_WAITING = constants.O_NONBLOCK | constants.O_NOFOLLOW;
const isMissing = (error: unknown) => (error as NodeJS.ErrnoException).code === 'ENOENT';

/** All of it is to be called one after the other, in the spool's lane. */
export function createOwner({ root, timings, foreign, stuck, sync, lost }: OwnerOptions) {
  let directory: string | undefined;
  let sureAt = -Infinity;
  let seenAt = -Infinity;
  let beats = 0;
  let self: Promise<ProcessIdentity | undefined> | undefined;
  /** What the counters of others were, and since when. */
  const seen = new Map<string, { readonly text: string; readonly since: number }>();
  const told = new Set<string>();

  async function counter(): Promise<Buffer> {
    beats += 1;
    self ??= ownIdentity();
    return Buffer.from(JSON.stringify({ ...(await self), beats }).padEnd(BEAT_BYTES));
  }

  async function begin(): Promise<void> {
    // Not with its parents: where the system refuses them in an unusual way, as in /proc, Node.js tries without end.
    await mkdir(root, { mode: 0o700 }).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    });
    const name = `v1-${randomUUID()}`;
    const begun = join(root, `.${name}`);
    await mkdir(begun, { mode: 0o700 });
    const from = performance.now();
    try {
      await writeFile(join(begun, BEAT), await counter(), { mode: 0o600 });
      await rename(begun, join(root, name));
    } catch (error) {
      // It is tried again under another name, and a full disk must not fill with what was begun.
      await removeOwn(begun);
      throw error;
    }
    directory = join(root, name);
    sureAt = from;
  }

  async function beat(of: string): Promise<boolean> {
    const from = performance.now();
    // Another beat can only come after it, so what is told to be seen was seen when the counter stood still.
    const isSynced = await sync().then(
      () => true,
      () => false,
    );
    try {
      const file = await open(join(of, BEAT), constants.O_RDWR | NOT_WAITING);
      try {
        await file.write(await counter(), 0, BEAT_BYTES, 0);
      } finally {
        await file.close();
      }
    } catch (error) {
      if (!isMissing(error)) throw error;
      const isTaken = await wasTaken(of);
      directory = undefined;
      lost(seenAt, isTaken);
      return false;
    }
    sureAt = from;
    if (isSynced) seenAt = from;
    return true;
  }

  /** Otherwise it was deleted: it is nowhere, and its counter has not stood still for long enough to be taken over. */
  async function wasTaken(own: string): Promise<boolean> {
    if (performance.now() - sureAt >= timings.silenceMs) return true;
    const owners = (await readdir(root).catch(() => [])).filter((name) => DIRECTORY.test(name));
    for (const path of [own, ...owners.map((owner) => join(root, owner, basename(own)))]) {
      const found = await stat(path).catch(() => undefined);
      if (found) return true;
    }
    return false;
  }

  /** Whether nobody owns it. */
  async function isFree(name: string): Promise<boolean> {
    let text = '';
    try {
      text = await readCounter(join(root, name, BEAT));
    } catch (error) {
      if (!isMissing(error)) throw error;
      if (DIRECTORY.test(name)) return true;
    }
    const before = seen.get(name);
    if (before?.text !== text) seen.set(name, { text, since: performance.now() });
    else if (performance.now() - before.since >= timings.silenceMs) return true;
    self ??= ownIdentity();
    return hasEnded(text, await self);
  }

  /** Returns the directories that it brings. False: another process was first. */
  async function move(name: string, to: string, from = root): Promise<readonly string[]> {
    const moved = join(to, basename(name).replace(/^\./, ''));
    try {
      await rename(join(from, name), moved);
    } catch (error) {
      if (isMissing(error)) return [];
      throw error;
    }
    await unlink(join(moved, BEAT)).catch(() => {});
    const brought: string[] = [];
    try {
      // What it had taken over itself: not deeper than before, however often that goes on.
      for (const inner of await readdir(moved, { withFileTypes: true })) {
        if (!inner.isDirectory() || !DIRECTORY.test(inner.name)) continue;
        brought.push(...(await move(join(basename(moved), inner.name), to, to)));
      }
    } catch (error) {
      // What was moved is ours.
      if (isNews(name)) stuck(name, error);
    }
    return [...brought, moved];
  }

  async function others(): Promise<readonly string[]> {
    const names = new Set<string>();
    // Not all at once: anyone may put any number of files there.
    for await (const entry of await opendir(root, { bufferSize: 256 })) {
      const { name } = entry;
      if (directory === join(root, name)) continue;
      if (entry.isDirectory() && (DIRECTORY.test(name) || BEGUN.test(name))) names.add(name);
      else if (isNews(name)) foreign(name);
      if (names.size >= MOST_LISTED) break;
    }
    for (const name of seen.keys()) if (!names.has(name)) seen.delete(name);
    return [...names];
  }

  function isNews(name: string): boolean {
    if (told.has(name) || told.size >= MOST_TOLD) return false;
    told.add(name);
    return true;
  }

  /** What cannot be taken over costs only itself. */
  async function takeOver(name: string, to: string): Promise<readonly string[]> {
    try {
      return (await isFree(name)) ? await move(name, to) : [];
    } catch (error) {
      if (isNews(name)) stuck(name, error);
      return [];
    }
  }

  return {
    /** This process's own; undefined while there is none. */
    get directory() {
      return directory;
    },
    /** There is none, or it may be another's by now. */
    get isUnsure() {
      return directory === undefined || performance.now() - sureAt > timings.unsureMs;
    },
    /** It is time for the next beat. */
    get isDue() {
      return performance.now() - sureAt > timings.beatMs;
    },
    /** Makes one. Rejects if that is not possible. */
    begin,
    /** False: another process has taken it over, and there is none now. Rejects if that cannot be told. */
    beat: async () => directory !== undefined && (await beat(directory)),
    /** The names of directories that may belong to others. */
    others,
    /** Takes one of them over if it has no owner: moves it into the own directory, and returns where it and what was in it are now. */
    takeOver: async (name: string) => (directory === undefined ? [] : takeOver(name, directory)),
    /** What is in it is free for others at once; it is deleted if it is empty. */
    async leave(): Promise<void> {
      const own = directory;
      if (own === undefined) return;
      directory = undefined;
      await removeOwn(own);
    },
  };
}

const MOST_TOLD = 20;

/** Its counter, and the directory if that was all. */
async function removeOwn(directory: string): Promise<void> {
  await unlink(join(directory, BEAT)).catch(() => {});
  await rmdir(directory).catch(() => {});
}

/** No more than a counter has, whatever is in its place. */
async function readCounter(path: string): Promise<string> {
  const file = await open(path, constants.O_RDONLY | NOT_WAITING);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(BEAT_BYTES), 0, BEAT_BYTES, 0);
    return buffer.toString('utf8', 0, bytesRead);
  } finally {
    await file.close();
  }
}

/** Names a process for ever, among those that can see each other. */
interface ProcessIdentity {
  /** Of the machine since it started. */
  readonly boot: string;
  /** Where process IDs are from. */
  readonly ids: string;
  readonly pid: number;
  /** When it started, in the kernel's ticks. */
  readonly started: string;
  readonly user: number;
}

/** Undefined where the system does not tell, so that only silence counts. */
async function ownIdentity(): Promise<ProcessIdentity | undefined> {
  try {
    const [boot, ids, text, { uid: user }] = await Promise.all([
      readFile('/proc/sys/kernel/random/boot_id', 'utf8'),
      readlink('/proc/self/ns/pid'),
      readFile('/proc/self/stat', 'utf8'),
      stat('/proc/self'),
    ]);
    const { started } = processStat(text);
    return { boot: boot.trim(), ids, pid: Number.parseInt(text, 10), started, user };
  } catch {
    return undefined;
  }
}

/** The name of the program, in brackets, may hold anything. */
function processStat(text: string): { readonly state: string; readonly started: string } {
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return { state: fields[0] ?? '', started: fields[19] ?? '' };
}

/** Whether the process that wrote this surely has: it would be visible here. IDs are reused, but not with the same start. */
async function hasEnded(text: string, self: ProcessIdentity | undefined): Promise<boolean> {
  const other = parseIdentity(text);
  if (!self || !other || other.boot !== self.boot || other.ids !== self.ids || other.user !== self.user) return false;
  try {
    const { state, started } = processStat(await readFile(`/proc/${other.pid}/stat`, 'utf8'));
    return started !== other.started || state === 'Z' || state === 'X';
  } catch (error) {
    return isMissing(error) || (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
}

function parseIdentity(text: string): ProcessIdentity | undefined {
  try {
    const { boot, ids, pid, started, user } = JSON.parse(text);
    return Number.isInteger(pid) ? { boot, ids, pid, started, user } : undefined;
  } catch {
    return undefined;
  }
}
