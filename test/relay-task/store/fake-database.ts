/** An in-memory database for stores, which counts calls, and fails and waits on command. */
import { createHash } from 'node:crypto';
import { type Item, KINDS, type Kind } from '../../../lib/flag-table/index.ts';
import {
  type Content,
  heldBack,
  needsOthers,
  type Outcome,
  type Row,
  type Write,
} from '../../../relay-task/store/database.ts';
import { decodeRow } from '../../../relay-task/store/ledger.ts';
import type { ReplicaDatabase } from '../../../relay-task/store/replica-store.ts';
import { demandCounts, demandKeys, StoreLossError } from '../../../relay-task/store/store-loss.ts';

export interface FakeDatabase extends ReplicaDatabase {
  readonly rows: Record<Kind, Map<string, string>>;
  inited: boolean;
  manifest: string | undefined;
  /** `readAll`, `glance`, or the keys of a batch: `apply a b`, with `+` if manifest and marker followed. */
  readonly calls: string[];
  /** Awaited before each call; may throw. */
  before: (call: string) => Promise<void> | void;
  /** Awaited after a call took effect; may throw, as if its answer was lost. */
  after: (call: string) => Promise<void> | void;
  wipe(): void;
  put(item: Item): void;
  texts(): Record<string, Record<string, string>>;
}

const tokenOf = (text: string) => createHash('sha1').update(text).digest('hex');
const rowOf = (kind: Kind, key: string, text: string): Row => ({
  item: decodeRow(kind, key, text),
  token: tokenOf(text),
});

export function createFakeDatabase(limits = { writes: 100, bytes: 1_000_000 }): FakeDatabase {
  const rows = { features: new Map<string, string>(), segments: new Map<string, string>() };
  async function answer<T>(call: string, act: () => T): Promise<T> {
    fake.calls.push(call);
    await fake.before(call);
    const result = act();
    await fake.after(call);
    return result;
  }
  const copy = (kind: Kind) => new Map([...rows[kind]].map(([key, text]) => [key, rowOf(kind, key, text)]));
  const fake: FakeDatabase = {
    name: 'redis',
    server: 'fake',
    limits,
    keepsManifest: true,
    marksStale: false,
    rows,
    inited: false,
    manifest: undefined,
    calls: [],
    before() {},
    after() {},
    readAll: () =>
      answer('readAll', (): Content => {
        const { inited, manifest } = fake;
        return { inited, manifest, rows: { features: copy('features'), segments: copy('segments') } };
      }),
    glance: () =>
      answer('glance', () => {
        const { inited, manifest } = fake;
        return { inited, manifest, counts: { features: rows.features.size, segments: rows.segments.size } };
      }),
    unmark: () =>
      answer('unmark', () => {
        fake.inited = false;
      }),
    apply: (writes, held, manifest) =>
      answer(`apply ${writes.map(({ key }) => key).join(' ')}${manifest === undefined ? '' : '+'}`, () => {
        const counts = { features: rows.features.size, segments: rows.segments.size };
        if (counts.features < held.counts.features || counts.segments < held.counts.segments) fake.inited = false;
        demandCounts('fake', counts, held.counts);
        if (held.inited && !fake.inited) throw new StoreLossError('fake has no marker');
        if (manifest !== undefined && !held.inited) {
          for (const kind of KINDS) demandKeys('fake', kind, new Set(rows[kind].keys()), held);
        }
        let isWhole = true;
        const outcomes = writes.map((write: Write): Outcome => {
          const { kind, key, over, item } = write;
          if (!isWhole && needsOthers(write)) return heldBack;
          const text = rows[kind].get(key);
          const found = text === undefined ? undefined : rowOf(kind, key, text);
          if (found?.token !== over?.token) {
            isWhole = false;
            return { written: false, row: found };
          }
          if (item) rows[kind].set(key, item.json);
          else rows[kind].delete(key);
          return { written: true, token: item && tokenOf(item.json) };
        });
        if (manifest !== undefined && outcomes.every(({ written }) => written)) {
          fake.inited = true;
          fake.manifest = manifest;
        }
        return outcomes;
      }),
    misfit: ({ json }) => (json.length > 10_000 ? `it has ${json.length} bytes` : undefined),
    describe: String,
    async close() {},
    wipe() {
      rows.features.clear();
      rows.segments.clear();
      fake.inited = false;
      fake.manifest = undefined;
    },
    put: ({ kind, key, json }) => void rows[kind].set(key, json),
    texts: () => ({ features: Object.fromEntries(rows.features), segments: Object.fromEntries(rows.segments) }),
  };
  return fake;
}
