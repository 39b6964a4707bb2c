import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { normalizeFlag, normalizeSegment } from '../../lib/evaluation/index.ts';
import type { Item, Kind } from '../../lib/flag-table/index.ts';
import { fileStateOf, watchFile } from '../common/watch-file.ts';
import { RelayError } from '../errors.ts';
import type { Log, UnreadableItem, Upstream, UpstreamSink, UpstreamStatus } from '../ports.ts';
import { type FileEntry, parseFlagsFile } from './flags-file.ts';
import { createStatus } from './status.ts';

export interface FileReload {
  /** Unix ms. */
  readonly readAt: number;
  /** How many flags and segments became different, the vanished included; 0 when there is a problem. */
  readonly changed: number;
  /** Flags and segments that were skipped, with the reason. */
  readonly unreadable: readonly UnreadableItem[];
  /** Why the file as a whole could not be used; what was read before stays. */
  readonly problem?: string;
}

export interface FileSourceOptions {
  readonly path: string;
  readonly sink: UpstreamSink;
  readonly log: Log;
  /** What memory holds, tombstones included: versions rise above it. */
  held(kind: Kind, key: string): Item | undefined;
  onStatus?(status: UpstreamStatus): void;
  /** After each reading, the first one included. */
  onReload?(reload: FileReload): void;
  /** How often the file is looked at where the operating system does not report changes; 1 s. */
  readonly pollIntervalMs?: number;
  /** How long the file must rest before a change is read; 50 ms. */
  readonly settleMs?: number;
}

/**
 * Reads flags from a file and follows its changes. Rejects with FLAGS_FILE_INVALID when the first reading fails; later
 * a broken edit is reported and changes nothing.
 */
export async function startFileSource(options: FileSourceOptions): Promise<Upstream> {
  const { sink, log, pollIntervalMs = 1_000, settleMs = 50 } = options;
  const path = resolve(options.path);
  const status = createStatus({ onStatus: options.onStatus, freshMs: Number.POSITIVE_INFINITY });
  let delivered = new Map<string, number>();

  async function load(): Promise<string | undefined> {
    let text: string;
    try {
      text = await readFile(path, 'utf8');
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      return code === 'ENOENT' ? 'there is no such file' : message;
    }
    const receivedAt = performance.now();
    const file = parseFlagsFile(text, path);
    if ('problem' in file) return file.problem;
    const items = file.entries.map((entry) => toItem(entry, options.held(entry.kind, entry.key)));
    const { unreadable } = file;
    const next = new Map(items.map(({ kind, key, version }) => [`${kind}/${key}`, version]));
    // A skipped item keeps its previous version, here as well as in memory.
    for (const { kind, key } of unreadable) {
      const version = delivered.get(`${kind}/${key}`);
      if (version !== undefined) next.set(`${kind}/${key}`, version);
    }
    const changed = countDifferences(delivered, next);
    delivered = next;
    for (const { kind, key, reason } of unreadable) {
      log.warn('an item of the flags file could not be understood and was skipped', { path, kind, key, reason });
    }
    sink.put(items, unreadable, receivedAt);
    status.completed();
    options.onReload?.({ readAt: Date.now(), changed, unreadable });
    return undefined;
  }

  async function reload(): Promise<boolean> {
    const problem = await load();
    if (problem === undefined) return true;
    const message = `${path}: ${problem}`;
    log.warn('the flags file could not be used, what was read before stays', { path, reason: problem });
    status.failed({ kind: 'INVALID_DATA', message });
    options.onReload?.({ readAt: Date.now(), changed: 0, unreadable: [], problem: message });
    return true;
  }

  const seen = await fileStateOf(path);
  const problem = await load();
  if (problem !== undefined) throw new RelayError('FLAGS_FILE_INVALID', `${path}: ${problem}`);
  const watcher = watchFile({ path, seen, pollIntervalMs, settleMs, onChange: reload, onUnchanged: status.alive });

  return {
    status: status.read,
    async close() {
      await watcher.close();
      status.closed();
    },
  };
}

/**
 * Gives an entry its version: what is held when nothing changed, else the larger of its own and one more than is held,
 * so that an edit that leaves `version` alone still reaches readers that only take newer versions.
 */
function toItem({ kind, key, version = 1, data }: FileEntry, held: Item | undefined): Item {
  const itemOf = (number: number): Item => ({
    kind,
    key,
    version: number,
    deleted: false,
    json: complete(kind, { ...data, version: number }),
  });
  if (!held) return itemOf(version);
  const asHeld = itemOf(held.version);
  if (!held.deleted && version <= held.version && textOf(held) === asHeld.json) return asHeld;
  return itemOf(Math.max(version, held.version + 1));
}

function complete(kind: Kind, data: Record<string, unknown>): string {
  return JSON.stringify(kind === 'features' ? normalizeFlag(data) : normalizeSegment(data));
}

/** In the form that files get, since what is held may have come from LaunchDarkly or from a table. */
function textOf({ kind, json }: Item): string {
  return complete(kind, JSON.parse(json) as Record<string, unknown>);
}

function countDifferences(before: ReadonlyMap<string, number>, after: ReadonlyMap<string, number>): number {
  let count = 0;
  for (const [name, version] of after) if (before.get(name) !== version) count += 1;
  for (const name of before.keys()) if (!after.has(name)) count += 1;
  return count;
}
