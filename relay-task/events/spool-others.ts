/** The directories of other processes in the spool: which of them have no owner any more, and taking those over. */
import { constants } from 'node:fs';
import { open, opendir, readdir, rename, unlink } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { hasEnded } from './process-identity.ts';
import { BEAT, BEAT_BYTES, DIRECTORY, isMissing, NOT_WAITING } from './spool-owner.ts';

interface OthersOptions {
  readonly root: string;
  /** A directory whose counter has not changed for this long counts as abandoned. */
  readonly silenceMs: number;
  /** Something that is none of a spool of this version. Must not throw. */
  foreign(name: string): void;
  /** A directory that cannot be looked at or taken over. Must not throw. */
  stuck(name: string, error: unknown): void;
}

/** One that is being made. */
const BEGUN = /^\.v1-[0-9a-f]{8}-[0-9a-f-]{27}$/;
/** Directories that are looked at in one go. */
const MOST_LISTED = 10_000;
const MOST_TOLD = 20;

/** All of it is to be called one after the other, in the spool's lane. */
export function createOthers({ root, silenceMs, foreign, stuck }: OthersOptions) {
  /** What the counters were, and since when. */
  const seen = new Map<string, { readonly text: string; readonly since: number }>();
  const told = new Set<string>();

  /** Whether its owner is gone. */
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
    else if (performance.now() - before.since >= silenceMs) return true;
    return hasEnded(text);
  }

  /** Returns the directories that it brings: none if another process was first. */
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

  function isNews(name: string): boolean {
    if (told.has(name) || told.size >= MOST_TOLD) return false;
    told.add(name);
    return true;
  }

  return {
    /** The names of directories that may belong to others. `own`: this process's. */
    async list(own: string | undefined): Promise<readonly string[]> {
      const names = new Set<string>();
      // Not all at once: anyone may put any number of files there.
      for await (const entry of await opendir(root, { bufferSize: 256 })) {
        const { name } = entry;
        if (own === join(root, name)) continue;
        if (entry.isDirectory() && (DIRECTORY.test(name) || BEGUN.test(name))) names.add(name);
        else if (isNews(name)) foreign(name);
        if (names.size >= MOST_LISTED) break;
      }
      for (const name of seen.keys()) if (!names.has(name)) seen.delete(name);
      return [...names];
    },
    /**
     * Takes one over if it has no owner: moves it into the own directory, and returns where it and what was in it are now. What cannot be taken
     * over costs only itself.
     */
    async takeOver(name: string, own: string): Promise<readonly string[]> {
      try {
        return (await isFree(name)) ? await move(name, own) : [];
      } catch (error) {
        if (isNews(name)) stuck(name, error);
        return [];
      }
    },
  };
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
