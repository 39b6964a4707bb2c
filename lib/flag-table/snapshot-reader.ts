/**
 * Assembles a snapshot from a replica's items, which may be of different ages. The result is one complete published revision
 * or a refusal: the hash binds a body to its parts, `base` binds a delta to its body, and the head only decides whether to
 * read further.
 */
import type { Attributes, Key } from './attributes.ts';
import { decodeBlocks } from './blocks.ts';
import { type Body, decodeBody, decodeDelta, joinBody } from './decode-snapshot.ts';
import { decodeHeadPointer, type HeadPointer } from './head.ts';
import { inNamespace } from './namespaces.ts';
import { compareRev, formatRev, type Rev } from './rev.ts';
import { AssembledSnapshot, type Delta, type Snapshot } from './snapshot.ts';
import { partKey } from './snapshot-format.ts';

export type Reading =
  /** `behind`: head.rev is newer than the assembled snapshot (replica lag or an unfinished publication): read again soon. */
  | { kind: 'snapshot'; snapshot: Snapshot; head: HeadPointer; behind: boolean }
  /** The head's revision is not newer than the held one. */
  | { kind: 'unchanged'; head: HeadPointer }
  /** The table has no snapshot of this environment: no head, or nothing published yet. */
  | { kind: 'absent' }
  /**
   * The snapshot is unusable: keep the held one, or use LaunchDarkly's layout if there is none. `behind`: replica lag may be
   * the only cause, so that reading again soon is cheaper than reading that layout.
   */
  | { kind: 'refused'; reason: string; head?: HeadPointer; behind: boolean };

interface SnapshotReader {
  /** Reads the whole snapshot. Rejects only if `get` rejects. */
  cold(): Promise<Reading>;
  /**
   * Reads what is newer than `held`: head and delta with one `query`, as long as that costs as little as the head alone; else the head,
   * and the rest if it is newer. Never returns an older revision. Rejects only if `get` or `query` rejects.
   */
  refresh(held: Snapshot): Promise<Reading>;
}

export interface SnapshotReaderOptions {
  prefix: string;
  /** One `GetItem` for one key, one `BatchGetItem` for several (never more than 100); undefined: the item does not exist. */
  get(keys: readonly Key[]): Promise<readonly (Attributes | undefined)[]>;
  /** All items of an eventually consistent `Query`. Without it, a refresh that finds a change takes a second read. */
  query?(query: SnapshotQuery): Promise<Attributes[]>;
}

/** Parameters of DynamoDB's `Query`. */
export interface SnapshotQuery {
  readonly KeyConditionExpression: string;
  readonly FilterExpression?: string;
  readonly ExpressionAttributeNames: Readonly<Record<string, string>>;
  readonly ExpressionAttributeValues: Attributes;
}

/** The number of full parts that fit in one `BatchGetItem` response (16 MB). */
const partsInOneRequest = 32;

/**
 * A delta's data and twice the namespace, in bytes: with what head and delta have besides (610 at most), less than 4 KiB, up to which a
 * query costs half a read unit.
 */
const ONE_READ_BYTES = 3_400;

/** Reads the snapshot of the environment that has this prefix. A snapshot that cannot be used is an answer, `refused`, with its reason. */
export function createSnapshotReader({ prefix, get, query }: SnapshotReaderOptions): SnapshotReader {
  const namespace = inNamespace(prefix, '$snapshot');
  const read = (...keys: string[]) => get(keys.map((key) => ({ namespace, key })));

  async function readParts({ bank, parts }: Body): Promise<readonly (Attributes | undefined)[]> {
    const keys = Array.from({ length: parts }, (_, i) => partKey(bank, i));
    const requests = [];
    for (let i = 0; i < parts; i += partsInOneRequest) requests.push(read(...keys.slice(i, i + partsInOneRequest)));
    return (await Promise.all(requests)).flat();
  }

  async function assemble(
    head: HeadPointer,
    bodyItem: Attributes | undefined,
    delta: Delta | undefined,
    held?: AssembledSnapshot,
  ): Promise<Reading> {
    const refuse = (reason: string, behind = false): Reading => ({ kind: 'refused', reason, head, behind });
    if (!bodyItem) return refuse('body: missing', true);
    const body = decodeBody(bodyItem);
    if (typeof body === 'string') return refuse(body);
    const fits = delta && compareRev(delta.base, body.rev) === 0;
    if (held && compareRev(fits ? delta.rev : body.rev, held.rev) <= 0) return answer(head, held);
    const joined = joinBody(body, await readParts(body));
    if ('reason' in joined) return refuse(joined.reason, joined.lags);
    const blocks = decodeBlocks(joined.data, held?.blocks, held?.changed);
    if (typeof blocks === 'string') return refuse(`body: ${blocks}`);
    const alone = new AssembledSnapshot(body.rev, body.rev, body.source, body.bank, blocks);
    alone.deltaBytes = delta?.deltaBytes ?? held?.deltaBytes ?? 0;
    return answer(head, (fits && alone.apply(delta)) || alone);
  }

  async function look(snapshot?: Snapshot): Promise<Reading> {
    const held = snapshot as AssembledSnapshot | undefined;
    const isOneRead = query && held && held.deltaBytes + 2 * namespace.length <= ONE_READ_BYTES;
    // A query answers in the order of the sort keys.
    let [headItem, deltaItem, bodyItem] = isOneRead
      ? (await query(newsOf(namespace, held.rev))).reverse()
      : await read('head', ...(held ? [] : ['delta', 'body']));
    const head = headItem && decodeHeadPointer(headItem);
    if (!head || !('problem' in head || head.rev)) return { kind: 'absent' };
    if ('problem' in head) return { kind: 'refused', reason: head.problem, behind: false };
    const isNewer = compareRev(head.rev, held?.rev) > 0;
    const follows = (one: AssembledSnapshot) =>
      compareRev(head.base, one.base) === 0 || compareRev(head.base, one.rev) === 0;

    if (held && isNewer && !isOneRead) [deltaItem, bodyItem] = await read('delta', ...(follows(held) ? [] : ['body']));
    const delta = deltaItem && decodeDelta(deltaItem, held?.changed);
    if (typeof delta === 'string') return { kind: 'refused', reason: delta, head, behind: false };
    if (!held) return assemble(head, bodyItem, delta);
    if (delta) held.deltaBytes = delta.deltaBytes;
    const newer = delta && compareRev(delta.rev, held.rev) > 0;
    const next = (newer && held.apply(delta)) || held;
    if (!isNewer && next === held) return { kind: 'unchanged', head };
    // If the head's base is already held, only the delta lags: reading the body is useless and costs a hundred times as much.
    const lags = follows(next) && (next !== held || !newer);
    if (compareRev(next.rev, head.rev) >= 0 || lags) return answer(head, next);
    bodyItem ??= (await read('body'))[0];
    return assemble(head, bodyItem, delta, next);
  }

  return { cold: () => look(), refresh: look };
}

/** The head, and the delta if it is newer: no other key is between theirs. */
function newsOf(namespace: string, rev: Rev): SnapshotQuery {
  return {
    KeyConditionExpression: '#n = :n AND #k BETWEEN :d AND :h',
    FilterExpression: 'attribute_exists(beat) OR rev > :r',
    ExpressionAttributeNames: { '#n': 'namespace', '#k': 'key' },
    ExpressionAttributeValues: {
      ':n': { S: namespace },
      ':d': { S: 'delta' },
      ':h': { S: 'head' },
      ':r': { S: formatRev(rev) },
    },
  };
}

function answer(head: HeadPointer, snapshot: Snapshot): Reading {
  return { kind: 'snapshot', snapshot, head, behind: compareRev(head.rev, snapshot.rev) > 0 };
}
