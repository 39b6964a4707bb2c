import {
  type Attributes,
  atBase,
  compareRev,
  createSnapshotReader,
  decodeHead,
  type EncodedBody,
  encodeBody,
  encodeDelta,
  formatRev,
  type Head,
  type Item,
  parseRev,
  type Rev,
  type Snapshot,
} from '../../lib/flag-table/index.ts';
import type { ItemView, Log } from '../ports.ts';
import { absentOrOlderRev, exactly } from './conditions.ts';
import { keyOf, type Table, textOf } from './dynamodb-client.ts';
import { inFlight, inParallel } from './in-parallel.ts';
import type { Lease } from './lease.ts';
import { everything, idOf, sameItem } from './same-item.ts';
import { byId, differencesFrom, type ItemsById } from './snapshot-differences.ts';
import type { Clock, Timings } from './timings.ts';

/** A revision was refused although the lease says that we may write: what we believe of the table is wrong. */
export class SupersededError extends Error {
  constructor(what: string) {
    super(`the ${what} of the snapshot was refused: the table has something newer, or the lease is gone`);
    this.name = 'SupersededError';
  }
}

/** Writes the snapshot beside LaunchDarkly's layout, and remembers what it decodes to. */
export interface SnapshotWriter {
  /** Takes over what was read from the snapshot's namespace. */
  adopt(rows: readonly Attributes[]): Promise<void>;
  /** Publishes memory, which upstream had nothing newer than at `checkedAt` (Unix ms). `postponed`: a body is needed, and it is too early for one. Rejects when the store fails. */
  publish(checkedAt: number): Promise<'published' | 'unchanged' | 'postponed'>;
  /** Monotonic ms at which `publish` has something to do although nothing changes; Infinity: never. */
  dueAt(): number;
  /** What was published last, for metrics. */
  figures(): { rev: Rev | undefined; bytes: number };
}

interface Base {
  readonly rev: Rev;
  readonly items: ItemsById;
  readonly encoded?: EncodedBody;
}

/** A delta over the body of revision `base`, which leads to `items`. */
interface DeltaOrder {
  readonly rev: Rev;
  readonly base: Rev;
  readonly items: readonly Item[];
  readonly checkedAt: number;
}

export function createSnapshotWriter(options: {
  table: Table;
  prefix: string;
  view: ItemView;
  /** Undefined: this task never writes. */
  lease: Lease | undefined;
  clock: Clock;
  timings: Timings;
  log: Log;
}): SnapshotWriter {
  const { table, prefix, view, lease, clock, timings, log } = options;
  let base: Base | undefined;
  /** The bank of the body in the table, usable or not: its parts may still be read. */
  let bankInUse: 0 | 1 | undefined;
  /** What readers assemble now, and its revision. */
  let content: ItemsById = new Map();
  let contentRev: Rev | undefined;
  /** That revision was published by this very writer, and never used for a body. */
  let contentIsOurs = false;
  let headRev: Rev | undefined;
  /** The highest revision anywhere in the snapshot. */
  let highest: Rev | undefined;
  let seq = 0;
  let seqEpoch = 0;
  let lastBodyAt = Number.NEGATIVE_INFINITY;
  /** A body whose end is not known, and when the one before it was written. */
  let attempt: { readonly rev: Rev; readonly before: number } | undefined;
  let deltaSince: number | undefined;
  let postponed = false;
  let bodyBytes = 0;
  let deltaBytes = 0;

  function remember(snapshot: Snapshot): Map<string, Item> {
    const items = new Map<string, Item>();
    for (const item of snapshot.items()) {
      // Memory's own object where they are the same, so that nothing is held or compared twice.
      const ours = view.get(item.kind, item.key);
      items.set(idOf(item), ours && sameItem(item, ours) ? ours : item);
    }
    return items;
  }

  function forget(): void {
    base = undefined;
    content = new Map();
    contentRev = undefined;
    contentIsOurs = false;
    headRev = undefined;
    deltaSince = undefined;
  }

  async function adopt(rows: readonly Attributes[]): Promise<void> {
    const byKey = new Map(rows.map((row) => [textOf(row, 'key'), row]));
    const revs = rows.map((row) => parseRev(textOf(row, 'rev')));
    highest = revs.reduce((a, b) => (compareRev(a, b) >= 0 ? a : b), undefined);
    const reader = createSnapshotReader({ prefix, get: async (keys) => keys.map(({ key }) => byKey.get(key)) });
    const reading = await reader.cold();
    forget();
    const body = byKey.get('body');
    bankInUse = bankOf(body);
    // A body that did not arrive keeps nobody waiting.
    if (attempt && textOf(body ?? {}, 'rev') !== formatRev(attempt.rev)) lastBodyAt = attempt.before;
    attempt = undefined;
    await removeRuins(rows);
    if (reading.kind !== 'snapshot' || reading.behind || reading.snapshot.problem !== undefined) {
      const why = reading.kind === 'refused' ? reading.reason : reading.kind;
      if (reading.kind !== 'absent')
        log.warn('The snapshot in the flag table is unusable; rewriting it', { prefix, why });
      return;
    }
    const { snapshot, head } = reading;
    const older = atBase(snapshot);
    base = { rev: snapshot.base, items: remember(older) };
    content = older === snapshot ? base.items : remember(snapshot);
    contentRev = snapshot.rev;
    headRev = head.rev;
    if (compareRev(snapshot.rev, snapshot.base) !== 0) deltaSince = clock.now();
  }

  /** What no revision of ours could ever replace, since conditions compare revisions as text. */
  async function removeRuins(rows: readonly Attributes[]): Promise<void> {
    for (const row of rows) {
      const isHead = textOf(row, 'key') === 'head';
      const ruined = isHead ? 'problem' in decodeHead(row) : 'rev' in row && !parseRev(textOf(row, 'rev'));
      if (ruined) await table.remove(isHead ? 'head' : 'part', keyOf(row), exactly(row));
    }
  }

  async function nextRev(): Promise<Rev> {
    let epoch = lease?.term()?.epoch;
    if (!lease || epoch === undefined) throw new SupersededError('head');
    if (highest && highest.epoch > epoch) {
      // A table that was restored, or whose head was deleted, may hold revisions of a later time than this clock's.
      epoch = highest.epoch + 1;
      if (!(await lease.raise(epoch))) throw new SupersededError('head');
    }
    if (seqEpoch !== epoch) [seqEpoch, seq] = [epoch, 0];
    if (highest?.epoch === epoch) seq = Math.max(seq, highest.seq);
    seq += 1;
    return { epoch, seq };
  }

  async function put(kind: 'part' | 'body' | 'delta', rev: Rev, attributes: Attributes): Promise<void> {
    if (await table.put(kind, attributes, absentOrOlderRev(rev))) return;
    await lease?.check();
    throw new SupersededError(kind);
  }

  async function point(rev: Rev, base: Rev, items: readonly Item[], checkedAt: number): Promise<void> {
    const deleted = items.filter((item) => item.deleted).length;
    const flags = items.filter((item) => item.kind === 'features' && !item.deleted).length;
    const counts = { flags, segments: items.length - flags - deleted, deleted } satisfies Head['counts'];
    if (!(await lease?.publish({ rev, base, counts, checkedAt }))) throw new SupersededError('head');
    headRev = rev;
  }

  async function putBody(items: readonly Item[], rev: Rev): Promise<void> {
    const bank = bankInUse === 0 ? 1 : 0;
    attempt = { rev, before: lastBodyAt };
    lastBodyAt = clock.now();
    const encoded = encodeBody({ prefix, items, rev, bank, previous: base?.encoded });
    await inParallel(inFlight, encoded.parts, (part) => put('part', rev, part));
    await put('body', rev, encoded.body);
    attempt = undefined;
    bankInUse = bank;
    base = { rev, items: byId(items), encoded };
    bodyBytes = encoded.bytes;
  }

  async function putDelta(delta: Attributes, { rev, base: over, items, checkedAt }: DeltaOrder): Promise<'published'> {
    await put('delta', rev, delta);
    await point(rev, over, items, checkedAt);
    [content, contentRev, contentIsOurs] = [byId(items), rev, true];
    deltaBytes = dataBytes(delta);
    return 'published';
  }

  async function publishBody(items: readonly Item[], checkedAt: number): Promise<'published'> {
    const rev = await nextRev();
    const since = contentIsOurs && base && compareRev(contentRev, base.rev) > 0 ? contentRev : undefined;
    const changes = since && differencesFrom(content, items);
    const delta = changes && encodeDelta({ prefix, items: changes, rev, base: since });
    if (delta) {
      // Under the revision that readers hold it is nothing new to them: they take the delta over it, and leave it unread.
      await putBody([...content.values()], since);
      await putDelta(delta, { rev, base: since, items, checkedAt });
      deltaSince = changes.length > 0 ? clock.now() : undefined;
      return 'published';
    }
    await putBody(items, rev);
    await point(rev, rev, items, checkedAt);
    [content, contentRev, contentIsOurs, deltaSince, deltaBytes] = [byId(items), rev, true, undefined, 0];
    return 'published';
  }

  async function publish(checkedAt: number): Promise<'published' | 'unchanged' | 'postponed'> {
    const items = [...everything(view)];
    postponed = false;
    const unchanged = content.size === items.length && items.every((item) => sameItem(content.get(idOf(item)), item));
    const old = deltaSince !== undefined && clock.now() - deltaSince >= timings.deltaAgeMs;
    if (base && unchanged && !old) {
      if (contentRev && compareRev(contentRev, headRev) === 0) return 'unchanged';
      // A writer died between the data and the head: the data is right, so it only has to be pointed at.
      await point(contentRev ?? base.rev, base.rev, items, checkedAt);
      return 'published';
    }
    const differing = base && differencesFrom(base.items, items);
    if (base && differing && !(old && differing.length > 0)) {
      const rev = await nextRev();
      const delta = encodeDelta({ prefix, items: differing, rev, base: base.rev });
      if (delta) {
        await putDelta(delta, { rev, base: base.rev, items, checkedAt });
        deltaSince = differing.length > 0 ? (deltaSince ?? clock.now()) : undefined;
        return 'published';
      }
    }
    if (clock.now() - lastBodyAt < timings.bodyGapMs) {
      postponed = true;
      return 'postponed';
    }
    return publishBody(items, checkedAt);
  }

  return {
    adopt,
    publish,
    dueAt() {
      if (postponed) return lastBodyAt + timings.bodyGapMs;
      return deltaSince === undefined ? Infinity : deltaSince + timings.deltaAgeMs;
    },
    figures: () => ({ rev: headRev, bytes: bodyBytes + deltaBytes }),
  };
}

function bankOf(body: Attributes | undefined): 0 | 1 | undefined {
  const bank = body?.bank;
  return bank && 'N' in bank ? (bank.N === '1' ? 1 : 0) : undefined;
}

function dataBytes({ data }: Attributes): number {
  return data && 'B' in data ? data.B.length : 0;
}
