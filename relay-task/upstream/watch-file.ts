import { watch } from 'node:fs';
import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';

export interface WatchOptions {
  readonly path: string;
  /** How the file looked, as `lookAt` said, before it was last read. */
  readonly seen: string;
  /** How often the file is looked at even if the operating system reports nothing. */
  readonly pollIntervalMs: number;
  /** A change is read only after the file has looked the same for so long. */
  readonly settleMs: number;
  /** Called for each change, never twice at the same time. Must not reject. */
  onChange(): Promise<void>;
  /** Called when the file was looked at and is the one that was last read. */
  onUnchanged(): void;
}

/**
 * Watches a file by name: editors that write another file and rename it, and mounts that swap a link, count as changes.
 * A file that is not there looks different from one that is.
 */
export function watchFile({ path, pollIntervalMs, settleMs, onChange, onUnchanged, ...options }: WatchOptions) {
  let { seen } = options;
  let looking: Promise<void> | undefined;
  let again = false;
  let closed = false;

  async function look() {
    let now = await lookAt(path);
    if (now === seen) return closed ? undefined : onUnchanged();
    // Half-written files: wait until the writer pauses.
    for (let before = ''; now !== before && !closed; now = await lookAt(path)) {
      before = now;
      await new Promise((resolve) => setTimeout(resolve, settleMs));
    }
    if (closed) return;
    seen = now;
    await onChange();
  }

  function wake() {
    if (closed) return;
    if (looking) {
      again = true;
      return;
    }
    looking = look().finally(() => {
      looking = undefined;
      if (again) {
        again = false;
        wake();
      }
    });
  }

  const watcher = watchDirectory(dirname(path), wake);
  const timer = setInterval(wake, pollIntervalMs);
  return {
    async close(): Promise<void> {
      closed = true;
      clearInterval(timer);
      watcher?.close();
      await looking;
    },
  };
}

/** What tells one state of a file from another; `absent` when there is none. */
export async function lookAt(path: string): Promise<string> {
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
    // Polling goes on without it.
    watcher.on('error', () => watcher.close());
    return watcher;
  } catch {
    return undefined;
  }
}
