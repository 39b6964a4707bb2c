import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Item, Kind } from '../../lib/flag-table/index.ts';
import { normalText } from '../common/item-text.ts';
import { inSlices } from '../common/slices.ts';
import { fileStateOf, watchFile } from '../common/watch-file.ts';
import { RelayError } from '../errors.ts';
import type { Log, UnreadableItem, Upstream, UpstreamSink, UpstreamStatus } from '../ports.ts';
import type { FileEntry, FileRemark } from './file-entry.ts';
import { createRemarkLines } from './file-remark-lines.ts';
import { parseFlagsFile } from './flags-file.ts';
import { createStatus, invalidData } from './status.ts';
import { createUnreadableLines } from './unreadable-lines.ts';

export interface FileReload {
  /** Unix ms. */
  readonly readAt: number;
  /** How many flags and segments changed or were removed; 0 when there is a problem. */
  readonly changed: number;
  /** Flags and segments that were ignored, with the reason. */
  readonly unreadable: readonly UnreadableItem[];
  /** What is most likely a mistake, although SDKs accept it. */
  readonly remarks: readonly FileRemark[];
  /** Why the file could not be read; the last good version is still served. */
  readonly problem?: string;
}

export interface FileSourceOptions {
  readonly path: string;
  readonly sink: UpstreamSink;
  readonly log: Log;
  /** What memory holds, including tombstones; new versions must be higher. */
  held(kind: Kind, key: string): Item | undefined;
  onStatus?(status: UpstreamStatus): void;
  /** Called after each read, including the first. */
  onReload?(reload: FileReload): void;
  /** How often the file is checked in case the operating system does not report changes; 1 s. */
  readonly pollIntervalMs?: number;
  /** How long the file must stay unchanged before it is read; 50 ms. */
  readonly settleMs?: number;
}

/**
 * Reads flags from a file and watches it. Rejects with FLAGS_FILE_INVALID when the first read fails; later, an invalid
 * edit is reported and the last good version is still served.
 */
export async function startFileSource(options: FileSourceOptions): Promise<Upstream> {
  const { sink, log, pollIntervalMs = 1_000, settleMs = 50 } = options;
  const path = resolve(options.path);
  const status = createStatus({ onStatus: options.onStatus, freshMs: Number.POSITIVE_INFINITY });
  const unreadableLines = createUnreadableLines({
    log,
    held: options.held,
    where: ' in the flags file',
    fields: { path },
  });
  const remarkLines = createRemarkLines(log, path);
  let delivered = new Map<string, number>();

  async function load(): Promise<string | undefined> {
    let text: string;
    try {
      text = await readFile(path, 'utf8');
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      return code === 'ENOENT' ? 'file not found' : message;
    }
    const receivedAt = performance.now();
    const file = parseFlagsFile(text, path);
    if ('problem' in file) return file.problem;
    const items = file.entries.map((entry) => toItem(entry, options.held(entry.kind, entry.key)));
    const { unreadable } = file;
    const next = new Map(items.map(({ kind, key, version }) => [`${kind}/${key}`, version]));
    // An invalid item keeps its previous version, here as in memory.
    for (const { kind, key } of unreadable) {
      const version = delivered.get(`${kind}/${key}`);
      if (version !== undefined) next.set(`${kind}/${key}`, version);
    }
    const changed = countDifferences(delivered, next);
    delivered = next;
    unreadableLines.full(unreadable);
    sink.put(items, unreadable, receivedAt);
    status.completed();
    const readAt = Date.now();
    // After the flags were delivered: nobody waits for this.
    const remarks = await inSlices(file.remarks());
    remarkLines(remarks);
    options.onReload?.({ readAt, changed, unreadable, remarks });
    return undefined;
  }

  /** The last reading failed. */
  let isBroken = false;

  async function reload(): Promise<boolean> {
    const problem = await load();
    if (problem === undefined) {
      if (isBroken) log.info('The flags file can be read again, and is served', { path });
      isBroken = false;
      return true;
    }
    isBroken = true;
    const message = `${path}: ${problem}`;
    log.warn('Could not read the flags file; still serving the last good version', {
      path,
      reason: problem,
      runbook: 'operations.md#broken-flags-files',
    });
    status.failed(invalidData(message));
    options.onReload?.({ readAt: Date.now(), changed: 0, unreadable: [], remarks: [], problem: message });
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
 * Chooses an entry's version: the held one if nothing changed, otherwise at least one more than that, so that an edit
 * without a new `version` still reaches readers that only accept newer versions.
 */
function toItem({ kind, key, version = 1, data }: FileEntry, held: Item | undefined): Item {
  const itemOf = (number: number): Item => ({
    kind,
    key,
    version: number,
    deleted: false,
    json: textOf(kind, { ...data, version: number }),
  });
  if (!held) return itemOf(version);
  const asHeld = itemOf(held.version);
  if (!held.deleted && version <= held.version && textOf(kind, JSON.parse(held.json)) === asHeld.json) return asHeld;
  return itemOf(Math.max(version, held.version + 1));
}

/** Of parsed data, because LaunchDarkly or a store may have written the held item's numbers and strings in another way. */
function textOf(kind: Kind, data: unknown): string {
  return normalText(kind, JSON.stringify(data));
}

function countDifferences(before: ReadonlyMap<string, number>, after: ReadonlyMap<string, number>): number {
  let count = 0;
  for (const [name, version] of after) if (before.get(name) !== version) count += 1;
  for (const name of before.keys()) if (!after.has(name)) count += 1;
  return count;
}
