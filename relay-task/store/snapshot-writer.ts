import {
  type Attributes,
  compareRev,
  createSnapshotReader,
  decodeHead,
  type EncodedBody,
  encodeBody,
  encodeDelta,
  formatRev,
  type Item,
  parseRev,
  type Reading,
  type Rev,
} from '../../lib/flag-table/index.ts';
import { whenDue } from '../common/slices.ts';
import type { ItemView, Log } from '../ports.ts';
import { absentOrOlderRev, exactly } from './conditions.ts';
import { keyOf, type Table, textOf } from './dynamodb-client.ts';
import { inFlight, inParallel } from './in-parallel.ts';
import type { Lease } from './lease.ts';
import { everything } from './same-item.ts';
import {
  type Base,
  byId,
  countsOf,
  type Delta,
  deltaOverNewBody,
  nextRev,
  type Published,
  planPublication,
  publishedBefore,
} from './snapshot-plan.ts';
import type { Clock, Timings } from './timings.ts';

/** A revision was refused although the lease says that we may write: what we believe of the table is wrong. */
class SupersededError extends Error {
  constructor(what: string) {
    super(`the ${what} of the snapshot was refused: the table has something newer, or the lease is gone`);
    this.name = 'SupersededError';
  }
}

interface SnapshotWriterOptions {
  readonly table: Table;
  readonly prefix: string;
  readonly view: ItemView;
  /** Whose data memory holds. */
  source?(): string | undefined;
  /** Undefined: this task never writes. */
  readonly lease: Lease | undefined;
  readonly clock: Clock;
  readonly timings: Timings;
  readonly log: Log;
}

interface Memory {
  readonly items: readonly Item[];
  readonly source: string | undefined;
  readonly checkedAt: number;
}

type EncodedDelta = Delta & { readonly row: Attributes };

/** Writes the snapshot beside LaunchDarkly's layout, and remembers what it decodes to. */
export function createSnapshotWriter(options: SnapshotWriterOptions) {
  const { table, prefix, view, lease, clock, timings, log } = options;
  let published: Published | undefined;
  /** The highest revision that was read, and the last one of this writer. */
  let highest: Rev | undefined;
  let last: Rev | undefined;
  let postponed = false;
  let deltaBytes = 0;
  const bodies = createBodyWriter(options);

  /** Takes over what was read from the snapshot's namespace. */
  async function adopt(rows: readonly Attributes[]): Promise<void> {
    const byKey = new Map(rows.map((row) => [textOf(row, 'key'), row]));
    const revs = rows.map((row) => parseRev(textOf(row, 'rev')));
    highest = revs.reduce((a, b) => (compareRev(a, b) >= 0 ? a : b), undefined);
    const reading = await readSnapshot(prefix, byKey);
    published = undefined;
    bodies.found(byKey.get('body'));
    for (const row of rows.filter(isRuined)) await table.remove(kindOf(row), keyOf(row), exactly(row));
    if (reading.kind === 'absent') return;
    if (reading.kind !== 'snapshot' || reading.behind || reading.snapshot.problem !== undefined) {
      const why = reading.kind === 'refused' ? reading.reason : reading.kind;
      log.warn('The snapshot in the flag table is unusable; rewriting it', {
        prefix,
        reason: why,
        runbook: 'operations.md#store-differs',
      });
      return;
    }
    published = await publishedBefore(reading.snapshot, reading.head.rev, view, clock.now());
  }

  async function takeRev(): Promise<Rev> {
    last = nextRev(await epochAbove(highest, lease), last, highest);
    return last;
  }

  function putBody(items: readonly Item[], rev: Rev, source: string | undefined): Promise<Base> {
    return bodies.write(items, rev, source, published?.base.encoded);
  }

  async function point(rev: Rev, base: Rev, { items, checkedAt }: Memory): Promise<void> {
    if (!(await lease?.publish({ rev, base, counts: countsOf(items), checkedAt }))) throw new SupersededError('head');
  }

  /** Writes the delta, if there is one, and points the head at the revision. */
  async function finish(rev: Rev, base: Base, memory: Memory, delta?: EncodedDelta): Promise<'published'> {
    if (delta) await putRow(options, 'delta', rev, delta.row);
    await point(rev, base.rev, memory);
    const before = base === published?.base ? published.deltaSince : undefined;
    const deltaSince = delta && delta.changes.length > 0 ? (before ?? clock.now()) : undefined;
    published = {
      base,
      content: byId(memory.items),
      rev,
      isOurs: true,
      headRev: rev,
      source: memory.source,
      deltaSince,
    };
    deltaBytes = delta ? dataBytes(delta.row) : 0;
    return 'published';
  }

  /**
   * Publishes memory, which upstream had nothing newer than at `checkedAt` (Unix ms). `postponed`: a body is needed, and it is too early
   * for one. Rejects when the store fails.
   */
  async function publish(checkedAt: number): Promise<'published' | 'unchanged' | 'postponed'> {
    const memory: Memory = { items: [...everything(view)], source: options.source?.(), checkedAt };
    postponed = false;
    const plan = planPublication(published, memory.items, memory.source, clock.now() - timings.deltaAgeMs);
    if (plan.kind === 'nothing') return 'unchanged';
    if (plan.kind === 'point') {
      await point(plan.at.rev, plan.at.base.rev, memory);
      published = { ...plan.at, headRev: plan.at.rev };
      return 'published';
    }
    if (plan.kind === 'delta') {
      const rev = await takeRev();
      const delta = await encode(prefix, rev, memory.source, plan.delta);
      if (delta) return finish(rev, delta.over, memory, delta);
    }
    if (bodies.isTooEarly()) {
      postponed = true;
      return 'postponed';
    }
    const rev = await takeRev();
    const delta = await encode(prefix, rev, memory.source, deltaOverNewBody(published, memory.items));
    if (!delta) return finish(rev, await putBody(memory.items, rev, memory.source), memory);
    return finish(rev, await putBody([...delta.over.items.values()], delta.over.rev, published?.source), memory, delta);
  }

  return {
    adopt,
    publish,
    /** Monotonic ms at which `publish` has something to do although nothing changes; Infinity: never. */
    dueAt(): number {
      if (postponed) return bodies.nextAt();
      return published?.deltaSince === undefined ? Infinity : published.deltaSince + timings.deltaAgeMs;
    },
    /** What was published last, for metrics. */
    figures: () => ({ rev: published?.headRev, bytes: bodies.bytes() + deltaBytes }),
  };
}

/** Writes bodies, each in the bank that is not in use, and knows when the next one may follow. */
function createBodyWriter(options: SnapshotWriterOptions) {
  const { prefix, clock, timings } = options;
  /** The bank of the body in the table, usable or not: its parts may still be read. */
  let bankInUse: 0 | 1 | undefined;
  let lastAt = Number.NEGATIVE_INFINITY;
  /** A body whose end is not known, and when the one before it was written. */
  let attempt: { readonly rev: Rev; readonly before: number } | undefined;
  let bytes = 0;

  return {
    /** The table was read, and this is its body. */
    found(body: Attributes | undefined): void {
      bankInUse = bankOf(body);
      // A body that did not arrive does not delay the next one.
      if (attempt && textOf(body ?? {}, 'rev') !== formatRev(attempt.rev)) lastAt = attempt.before;
      attempt = undefined;
    },
    async write(
      items: readonly Item[],
      rev: Rev,
      source: string | undefined,
      previous: EncodedBody | undefined,
    ): Promise<Base> {
      const bank = bankInUse === 0 ? 1 : 0;
      attempt = { rev, before: lastAt };
      lastAt = clock.now();
      const encoded = await encodeBody({ prefix, items, rev, bank, source, previous, yieldNow: whenDue });
      await inParallel(inFlight, encoded.parts, (part) => putRow(options, 'part', rev, part));
      await putRow(options, 'body', rev, encoded.body);
      attempt = undefined;
      bankInUse = bank;
      bytes = encoded.bytes;
      return { rev, items: byId(items), encoded };
    },
    isTooEarly: () => clock.now() - lastAt < timings.bodyGapMs,
    nextAt: () => lastAt + timings.bodyGapMs,
    bytes: () => bytes,
  };
}

async function putRow(
  { table, lease }: SnapshotWriterOptions,
  kind: 'part' | 'body' | 'delta',
  rev: Rev,
  attributes: Attributes,
): Promise<void> {
  if (await table.put(kind, attributes, absentOrOlderRev(rev))) return;
  await lease?.check();
  throw new SupersededError(kind);
}

/** The epoch of this term, which is raised first if the table has higher ones. */
async function epochAbove(highest: Rev | undefined, lease: Lease | undefined): Promise<number> {
  const epoch = lease?.term()?.epoch;
  if (!lease || epoch === undefined) throw new SupersededError('head');
  if (!highest || highest.epoch <= epoch) return epoch;
  // A table that was restored, or whose head was deleted, may hold revisions of a later time than this clock's.
  if (!(await lease.raise(highest.epoch + 1))) throw new SupersededError('head');
  return highest.epoch + 1;
}

/** Assembles the snapshot as a reader would, from rows that were read already. */
function readSnapshot(prefix: string, rows: ReadonlyMap<string, Attributes>): Promise<Reading> {
  return createSnapshotReader({ prefix, get: async (keys) => keys.map(({ key }) => rows.get(key)) }).cold();
}

/** Undefined: there is none, or it is too long. */
async function encode(
  prefix: string,
  rev: Rev,
  source: string | undefined,
  delta: Delta | undefined,
): Promise<EncodedDelta | undefined> {
  const row =
    delta &&
    (await encodeDelta({ prefix, items: delta.changes, rev, base: delta.over.rev, source, yieldNow: whenDue }));
  return row && { ...delta, row };
}

function bankOf(body: Attributes | undefined): 0 | 1 | undefined {
  const bank = body?.bank;
  return bank && 'N' in bank ? (bank.N === '1' ? 1 : 0) : undefined;
}

/** No revision of ours could ever replace the row, since conditions compare revisions as text. */
function isRuined(row: Attributes): boolean {
  if (kindOf(row) === 'head') return 'problem' in decodeHead(row);
  return 'rev' in row && !parseRev(textOf(row, 'rev'));
}

function kindOf(row: Attributes): 'head' | 'part' {
  return textOf(row, 'key') === 'head' ? 'head' : 'part';
}

function dataBytes({ data }: Attributes): number {
  return data && 'B' in data ? data.B.length : 0;
}
