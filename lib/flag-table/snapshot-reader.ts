/**
 * Assembles a snapshot from a replica's items, which may be of different ages. The result is one complete published revision
 * or a refusal: the hash binds a body to its parts, `base` binds a delta to its body, and the head only decides whether to
 * read further.
 */
import type { Attributes, Key } from './attributes.ts';
import { decodeBlocks } from './blocks.ts';
import { type Body, decodeBody, decodeDelta, joinBody } from './decode-snapshot.ts';
import { decodeHead, type Head } from './head.ts';
import { inNamespace } from './namespaces.ts';
import { compareRev } from './rev.ts';
import { AssembledSnapshot, type Delta, type Snapshot } from './snapshot.ts';
import { partKey } from './snapshot-format.ts';

export type Reading =
  /** `behind`: head.rev is newer than the assembled snapshot (replica lag or an unfinished publication): read again soon. */
  | { kind: 'snapshot'; snapshot: Snapshot; head: Head; behind: boolean }
  /** The head's revision is not newer than the held one. */
  | { kind: 'unchanged'; head: Head }
  /** The table has no snapshot of this environment: no head, or nothing published yet. */
  | { kind: 'absent' }
  /**
   * The snapshot is unusable: keep the held one, or use LaunchDarkly's layout if there is none. `behind`: replica lag may be
   * the only cause, so that reading again soon is cheaper than reading that layout.
   */
  | { kind: 'refused'; reason: string; head?: Head; behind: boolean };

export interface SnapshotReader {
  /** Reads the whole snapshot. Rejects only if `get` rejects. */
  cold(): Promise<Reading>;
  /** Reads the head, and the rest only if it is newer than `held`. Never returns an older revision. Rejects only if `get` rejects. */
  refresh(held: Snapshot): Promise<Reading>;
}

export interface SnapshotReaderOptions {
  prefix: string;
  /** One `GetItem` for one key, one `BatchGetItem` for several (never more than 100); undefined: the item does not exist. */
  get(keys: readonly Key[]): Promise<readonly (Attributes | undefined)[]>;
}

/** The number of full parts that fit in one `BatchGetItem` response (16 MB). */
const partsInOneRequest = 32;

export function createSnapshotReader({ prefix, get }: SnapshotReaderOptions): SnapshotReader {
  const namespace = inNamespace(prefix, '$snapshot');
  const read = (...keys: string[]) => get(keys.map((key) => ({ namespace, key })));

  async function readParts({ bank, parts }: Body): Promise<readonly (Attributes | undefined)[]> {
    const keys = Array.from({ length: parts }, (_, i) => partKey(bank, i));
    const requests = [];
    for (let i = 0; i < parts; i += partsInOneRequest) requests.push(read(...keys.slice(i, i + partsInOneRequest)));
    return (await Promise.all(requests)).flat();
  }

  async function assemble(
    head: Head,
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
    const blocks = decodeBlocks(joined.data, held?.blocks, held && [held.changed]);
    if (typeof blocks === 'string') return refuse(`body: ${blocks}`);
    const alone = new AssembledSnapshot(body.rev, body.rev, body.source, body.bank, blocks);
    return answer(head, (fits && alone.apply(delta)) || alone);
  }

  return {
    async cold() {
      const [headItem, bodyItem, deltaItem] = await read('head', 'body', 'delta');
      const head = headItem && decodeHead(headItem);
      if (!head) return { kind: 'absent' };
      if ('problem' in head) return { kind: 'refused', reason: head.problem, behind: false };
      if (!head.rev) return { kind: 'absent' };
      const delta = deltaItem && decodeDelta(deltaItem, []);
      if (typeof delta === 'string') return { kind: 'refused', reason: delta, head, behind: false };
      return assemble(head, bodyItem, delta);
    },

    async refresh(snapshot) {
      const held = snapshot as AssembledSnapshot;
      const [headItem] = await read('head');
      const head = headItem && decodeHead(headItem);
      if (!head) return { kind: 'absent' };
      if ('problem' in head) return { kind: 'refused', reason: head.problem, behind: false };
      if (compareRev(head.rev, held.rev) <= 0) return { kind: 'unchanged', head };

      const [deltaItem] = await read('delta');
      const delta = deltaItem && decodeDelta(deltaItem, [held.changed]);
      if (typeof delta === 'string') return { kind: 'refused', reason: delta, head, behind: false };
      const newer = delta && compareRev(delta.rev, held.rev) > 0;
      const next = (newer && held.apply(delta)) || held;
      // If the head's base is already held, only the delta lags: reading the body is useless and costs a hundred times as much.
      const lags = compareRev(head.base, next.base) === 0 || compareRev(head.base, next.rev) === 0;
      if (compareRev(next.rev, head.rev) >= 0 || (lags && (next !== held || !newer))) return answer(head, next);
      const [bodyItem] = await read('body');
      return assemble(head, bodyItem, delta, next);
    },
  };
}

function answer(head: Head, snapshot: Snapshot): Reading {
  return { kind: 'snapshot', snapshot, head, behind: compareRev(head.rev, snapshot.rev) > 0 };
}
