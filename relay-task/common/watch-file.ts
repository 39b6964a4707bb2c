import { watch } from 'node:fs';
import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { sleep } from './pause.ts';

interface WatchOptions {
  readonly path: string;
  /** The file's state, from `fileStateOf`, before it was last read. */
  readonly seen: string;
  /** How often the file is checked even if the operating system reports nothing. */
  readonly pollIntervalMs: number;
  /** A change is read only after the file's state has stayed the same for this long. */
  readonly settleMs: number;
  /**
   * Called for each change, never twice at the same time. Must not reject. Resolves with false when the change could not
   * be applied: it is then reported again at the next check.
   */
  onChange(): Promise<boolean>;
  /** Called when a check finds the file as it was last read. */
  onUnchanged?(): void;
}

/**
 * Watches a file by name: editors that write another file and rename it, and mounts that swap a link, count as changes.
 * The appearance and disappearance of the file are changes, too.
 */
export function watchFile(options: WatchOptions): { close(): Promise<void> } {
  const { path, pollIntervalMs, settleMs } = options;
  const closing = new AbortController();
  const { signal } = closing;
  let { seen } = options;
  let looking: Promise<void> | undefined;
  let again = false;

  async function look(): Promise<void> {
    let state = await fileStateOf(path);
    if (signal.aborted) return;
    if (state === seen) return options.onUnchanged?.();
    // The file may be half written: wait until the writer pauses.
    for (let before = ''; state !== before && !signal.aborted; state = await fileStateOf(path)) {
      before = state;
      await sleep(settleMs, signal);
    }
    if (signal.aborted) return;
    if (await options.onChange()) seen = state;
  }

  function wake(): void {
    if (signal.aborted) return;
    if (looking) {
      again = true;
      return;
    }
    looking = look().finally(() => {
      looking = undefined;
      if (!again) return;
      again = false;
      wake();
    });
  }

  const watcher = watchDirectory(dirname(path), wake);
  const timer = setInterval(wake, pollIntervalMs);
  return {
    async close() {
      closing.abort();
      clearInterval(timer);
      watcher?.close();
      await looking;
    },
  };
}

/** Differs between two states of a file; `absent` when there is none. */
export async function fileStateOf(path: string): Promise<string> {
  try {
    const { mtimeNs, size, ino } = await stat(path, { bigint: true });
    return `${mtimeNs} ${size} ${ino}`;
  } catch {
    return 'absent';
  }
}

/** The directory, since a watch on the file itself ends when it is renamed away. */
function watchDirectory(directory: string, onEvent: () => void) {
  try {
    const watcher = watch(directory, onEvent);
    // Polling continues without it.
    watcher.on('error', () => watcher.close());
    return watcher;
  } catch {
    return undefined;
  }
}
