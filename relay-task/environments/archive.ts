import { createHash } from 'node:crypto';
import { resolve } from 'node:path';
import type { Item } from '../../lib/flag-table/index.ts';
import { isObject } from '../common/json.ts';
import { inSlices } from '../common/slices.ts';
import { fileStateOf, watchFile } from '../common/watch-file.ts';
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
import { member } from './loose-json.ts';
import { createSourceStatus } from './source-status.ts';

type DataSet =
  | { readonly items: readonly Item[]; readonly unreadable: readonly UnreadableItem[] }
  | { readonly problem: string };

interface ArchiveOptions extends EnvironmentTemplates, ArchiveLimits {
  /** `.tar` or `.tar.gz`. */
  readonly path: string;
  /** How often the file is checked. A change is read once the file has stayed the same for this long. */
  readonly intervalMs: number;
  readonly sink: EnvironmentSink;
  readonly log: Log;
  /** Parses `{"flags":{…},"segments":{…}}`, keeping the bytes of each item; yields after each. Never throws. */
  readDataSet(json: string): Generator<void, DataSet>;
}

interface HeldEnvironment {
  readonly record: EnvironmentRecord;
  readonly keys: HeldKeys;
  readonly data: NonNullable<EnvironmentDescription['data']>;
}

/**
 * Environments with their flags from an archive that LaunchDarkly made for offline use; a new archive replaces them.
 * Rejects with ARCHIVE_INVALID when the first read fails; later an invalid archive is logged once and changes nothing.
 * An invalid environment keeps its previous state.
 */
export async function startArchive(options: ArchiveOptions): Promise<EnvironmentSource> {
  const { sink, log, intervalMs } = options;
  const path = resolve(options.path);
  const status = createSourceStatus('archive');
  let held = new Map<string, HeldEnvironment>();
  let lastProblem = '';
  let closed = false;

  async function load() {
    const files = await readArchiveFile(path, options);
    const ids = [...files.keys()].flatMap((name) => (name.endsWith('-data.json') ? [] : [name.slice(0, -5)]));
    const next = new Map<string, HeldEnvironment>();
    for (const id of ids) {
      const before = held.get(id);
      const environment = await readEnvironment(id, files, before);
      const present = typeof environment === 'string' ? before : environment;
      if (typeof environment === 'string') {
        const runbook = 'operations.md#unreadable-items';
        const fields = { path, id, reason: environment, runbook } as const;
        log.error('An environment in the archive is invalid; keeping its previous state', fields);
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
    log.info('Read the archive', { path, environments: environments.length });
    sink.replace(environments);
    status.answered();
  }

  /** A string is the reason why it is invalid. */
  async function readEnvironment(
    id: string,
    files: ReadonlyMap<string, Buffer>,
    before: HeldEnvironment | undefined,
  ): Promise<HeldEnvironment | string> {
    const outer = parseJson(files.get(`${id}.json`)?.toString() ?? '');
    if (!isObject(outer)) return `${id}.json is not a JSON object`;
    const record = parseEnvironmentRecord(member(outer, 'env'), id);
    if ('problem' in record) return record.problem;
    const bytes = files.get(`${id}-data.json`);
    if (!bytes) return `there is no ${id}-data.json`;
    const dataId = String(member(outer, 'dataId') || createHash('sha256').update(bytes).digest('hex'));
    const data = before?.data.id === dataId ? before.data : await readData(id, dataId, bytes.toString());
    if (typeof data === 'string') return `${id}-data.json: ${data}`;
    return { record, data, keys: rotateKeys(before?.keys ?? NO_KEYS, record.statement, Date.now()) };
  }

  async function readData(id: string, dataId: string, json: string): Promise<HeldEnvironment['data'] | string> {
    const dataSet = await inSlices(options.readDataSet(json));
    if ('problem' in dataSet) return dataSet.problem;
    for (const { kind, key, reason } of dataSet.unreadable) {
      log.warn('An item of the archive is invalid and was left out', {
        path,
        id,
        kind,
        key,
        reason,
        runbook: 'operations.md#unreadable-items',
      });
    }
    return { id: dataId, items: dataSet.items };
  }

  async function reload(): Promise<boolean> {
    try {
      await load();
      lastProblem = '';
      return true;
    } catch (error) {
      const reason = describe(error);
      if (reason !== lastProblem) {
        log.warn('Cannot use the archive; keeping the environments read before', {
          path,
          reason,
          runbook: 'operations.md#key-source-down',
        });
        status.failed(`${path}: ${reason}`);
      }
      lastProblem = reason;
      // An error of the operating system, such as a missing permission, can go away without a change of the file.
      const { code, syscall } = error as NodeJS.ErrnoException;
      return syscall === undefined || code === 'ENOENT';
    }
  }

  const seen = await fileStateOf(path);
  try {
    await load();
  } catch (error) {
    throw new RelayError('ARCHIVE_INVALID', `${path}: ${describe(error)}`, { cause: error });
  }
  const watcher = watchFile({ path, seen, pollIntervalMs: intervalMs, settleMs: intervalMs, onChange: reload });

  return {
    status: status.read,
    async close() {
      closed = true;
      await watcher.close();
    },
  };
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
  return code === 'ENOENT' ? 'file not found' : message;
}
