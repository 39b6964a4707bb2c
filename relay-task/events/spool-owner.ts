/**
 * Which process a directory of the spool belongs to. Its owner changes a counter in it every few seconds. Others take it over when the counter
 * stood still for longer, by their own clocks, or at once if its process is known to have ended. To take it over is to move it into one's own
 * directory: only one process can do that, and the owner before misses it at its next beat.
 */
import { randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { mkdir, open, readdir, rename, rmdir, stat, unlink, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { ownIdentity } from './process-identity.ts';

export interface OwnerTimings {
  readonly beatMs: number;
  /** So long after its last beat a process asks whether it is still the owner before it writes or sends anything. */
  readonly unsureMs: number;
  /** A directory whose counter has not changed for this long counts as abandoned. Much longer than `unsureMs`. */
  readonly silenceMs: number;
}

export const usualOwnerTimings: OwnerTimings = { beatMs: 5_000, unsureMs: 20_000, silenceMs: 30_000 };

interface OwnerOptions {
  readonly root: string;
  readonly timings: OwnerTimings;
  /** Before each beat: what was written is where others see it. */
  sync(): Promise<void>;
  /**
   * This process's own is gone. `seenAt`, in `performance.now()`: its new owner finds in it what was written until then.
   * `isTaken`: another process has taken it over; otherwise it was deleted.
   */
  lost(seenAt: number, isTaken: boolean): void;
}

/** Its version is that of the records. */
export const DIRECTORY = /^v1-[0-9a-f]{8}-[0-9a-f-]{27}$/;
export const BEAT = 'owner';
/** The file is overwritten at its place, which a full disk allows. */
export const BEAT_BYTES = 256;
/** A pipe in place of a file answers at once, and a link is not followed. */
export const NOT_WAITING = constants.O_NONBLOCK | constants.O_NOFOLLOW;
export const isMissing = (error: unknown) => (error as NodeJS.ErrnoException).code === 'ENOENT';

/** All of it is to be called one after the other, in the spool's lane. */
export function createOwner({ root, timings, sync, lost }: OwnerOptions) {
  let directory: string | undefined;
  let sureAt = -Infinity;
  let seenAt = -Infinity;
  let beats = 0;

  async function counter(): Promise<Buffer> {
    beats += 1;
    return Buffer.from(JSON.stringify({ ...(await ownIdentity()), beats }).padEnd(BEAT_BYTES));
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
    // Before the counter changes, so that who takes the directory over finds all that was written until the last beat.
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
    /** What is in it is free for others at once; it is deleted if it is empty. */
    async leave(): Promise<void> {
      const own = directory;
      if (own === undefined) return;
      directory = undefined;
      await removeOwn(own);
    },
  };
}

/** Its counter, and the directory if that was all. */
async function removeOwn(directory: string): Promise<void> {
  await unlink(join(directory, BEAT)).catch(() => {});
  await rmdir(directory).catch(() => {});
}
