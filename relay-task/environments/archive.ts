import { createHash } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Item } from '../../lib/flag-table/index.ts';
import { RelayError } from '../errors.ts';
import type { EnvironmentDescription, EnvironmentSink, EnvironmentSource, Log, UnreadableItem } from '../ports.ts';
import { type ArchiveLimits, readArchiveFile } from './archive-file.ts';
import {
  describeRecord,
  type EnvironmentRecord,
  type EnvironmentTemplates,
  parseEnvironmentRecord,
} from './environment-record.ts';
import { type HeldKeys, NO_KEYS, rotateKeys, withoutExpired } from './key-rotation.ts';
import { isObject, member } from './loose-json.ts';
import { createSourceStatus } from './source-status.ts';

export type DataSet =
  | { readonly items: readonly Item[]; readonly unreadable: readonly UnreadableItem[] }
  | { readonly problem: string };

export interface ArchiveOptions extends EnvironmentTemplates, ArchiveLimits {
  /** `.tar` or `.tar.gz`. */
  readonly path: string;
  /** How often the file is looked at. A change is read at the second look that finds it the same. */
  readonly intervalMs: number;
  readonly sink: EnvironmentSink;
  readonly log: Log;
  /** Reads `{"flags":{…},"segments":{…}}`, keeping the bytes of each item. Never throws. */
  readDataSet(json: string): DataSet;
}

interface HeldEnvironment {
  readonly record: EnvironmentRecord;
  readonly keys: HeldKeys;
  readonly data: NonNullable<EnvironmentDescription['data']>;
}

/**
 * Environments with their flags from an archive that LaunchDarkly made for offline use, followed when it is replaced.
 * Rejects with ARCHIVE_INVALID when the first reading fails; later an invalid archive is reported once and changes
 * nothing. An environment that cannot be understood keeps what is known of it, the others go on.
 */
export async function startArchive(options: ArchiveOptions): Promise<EnvironmentSource> {
  const { sink, log, intervalMs } = options;
  const path = resolve(options.path);
  const status = createSourceStatus('archive');
  let held = new Map<string, HeldEnvironment>();
  let lastProblem = '';
  let timer: NodeJS.Timeout | undefined;
  let looking: Promise<void> | undefined;
  let closed = false;

  async function load() {
    const files = await readArchiveFile(path, options);
    const ids = [...files.keys()].flatMap((name) => (name.endsWith('-data.json') ? [] : [name.slice(0, -5)]));
    const next = new Map<string, HeldEnvironment>();
    for (const id of ids) {
      const before = held.get(id);
      const environment = readEnvironment(id, files, before);
      const present = typeof environment === 'string' ? before : environment;
      if (typeof environment === 'string') {
        const fields = { path, id, reason: environment };
        log.error('an environment of the archive could not be understood, what is known of it stays', fields);
      }
      if (present) next.set(id, present);
    }
    if (closed) return;
    held = next;
    const now = Date.now();
    const environments = [...held.values()].map(({ record, keys, data }) => ({
      ...describeRecord(record, withoutExpired(keys, now), [], options),
      data,
    }));
    log.info('the archive was read', { path, environments: environments.length });
    sink.replace(environments);
    status.answered();
  }

  /** A text says what is wrong. */
  function readEnvironment(
    id: string,
    files: ReadonlyMap<string, Buffer>,
    before: HeldEnvironment | undefined,
  ): HeldEnvironment | string {
    const outer = parseJson(files.get(`${id}.json`)!.toString());
    if (!isObject(outer)) return `${id}.json is not a JSON object`;
    const record = parseEnvironmentRecord(member(outer, 'env'), id);
    if ('problem' in record) return record.problem;
    const bytes = files.get(`${id}-data.json`);
    if (!bytes) return `there is no ${id}-data.json`;
    const dataId = String(member(outer, 'dataId') || createHash('sha256').update(bytes).digest('hex'));
    const data = before?.data.id === dataId ? before.data : readData(id, dataId, bytes.toString());
    if (typeof data === 'string') return `${id}-data.json: ${data}`;
    return { record, data, keys: rotateKeys(before?.keys ?? NO_KEYS, record.statement, Date.now()) };
  }

  function readData(id: string, dataId: string, json: string): HeldEnvironment['data'] | string {
    const dataSet = options.readDataSet(json);
    if ('problem' in dataSet) return dataSet.problem;
    for (const { kind, key, reason } of dataSet.unreadable) {
      log.warn('an item of the archive could not be understood and was skipped', { path, id, kind, key, reason });
    }
    return { id: dataId, items: dataSet.items };
  }

  /** `read`: how the file looked when it was last read; `previous`: how at the last look. Answers with both anew. */
  async function look(read: string, previous: string): Promise<[string, string]> {
    const seen = await lookAt(path);
    // Half-written files: wait until the writer pauses.
    if (seen === read || seen !== previous) return [read, seen];
    try {
      await load();
      lastProblem = '';
      return [seen, seen];
    } catch (error) {
      const reason = describe(error);
      if (reason !== lastProblem) {
        log.warn('the archive cannot be used, what was read before stays', { path, reason });
        status.failed(`${path}: ${reason}`);
      }
      lastProblem = reason;
      // What the machine refused may be granted without a change of the file.
      const { code, syscall } = error as NodeJS.ErrnoException;
      return syscall !== undefined && code !== 'ENOENT' ? [read, seen] : [seen, seen];
    }
  }

  function lookAgain(read: string, previous: string) {
    timer = setTimeout(() => {
      looking = look(read, previous).then((marks) => {
        if (!closed) lookAgain(...marks);
      });
    }, intervalMs);
  }

  const seen = await lookAt(path);
  try {
    await load();
  } catch (error) {
    throw new RelayError('ARCHIVE_INVALID', `${path}: ${describe(error)}`, { cause: error });
  }
  lookAgain(seen, seen);

  return {
    status: status.read,
    async close() {
      closed = true;
      clearTimeout(timer);
      await looking;
    },
  };
}

/** What tells one state of a file from another; `absent` when there is none. */
async function lookAt(path: string): Promise<string> {
  try {
    const { mtimeNs, size, ino } = await stat(path, { bigint: true });
    return `${mtimeNs} ${size} ${ino}`;
  } catch {
    return 'absent';
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function describe(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return code === 'ENOENT' ? 'there is no such file' : message;
}
