import { KINDS, type Kind } from '../../lib/flag-table/index.ts';
import { type ConsulClient, kvPath } from './consul-client.ts';
import { getPair, type KvPair, listKeys, type Operation, textOf, transact } from './consul-kv.ts';
import { type Database, type Held, heldBack, needsOthers, type Outcome, type Row, type Write } from './database.ts';
import { decodeRow } from './ledger.ts';
import { demandKeys, StoreLossError } from './store-loss.ts';

/**
 * A transaction takes 64 operations; two are kept for manifest and marker, three for what must still be there. Values are
 * base64 in transactions, and every operation has a frame.
 */
export const transactionLimits = { writes: 59, bytes: 320 * 1024 };
const maxTries = 5;

/** Where things are: `PFX/features/KEY`, `PFX/segments/KEY`, `PFX/$inited`, and beside them our own `PFX/$manifest`. */
export function consulKeys(prefix: string) {
  return {
    inited: `${prefix}/$inited`,
    manifest: `${prefix}/$manifest`,
    item: ({ kind, key }: Pick<Write, 'kind' | 'key'>) => `${prefix}/${kind}/${key}`,
    folder: (kind: Kind) => `${prefix}/${kind}/`,
  };
}

/** Does the writes in one transaction of check-and-set, which is tried again without those of them that are refused. */
export function createCompareAndSet(client: ConsulClient, prefix: string): Database['apply'] {
  const keys = consulKeys(prefix);

  async function findRow(write: Write): Promise<Row | undefined> {
    const pair = await getPair(client, keys.item(write));
    return pair && rowOf(write.kind, write.key, pair);
  }

  /** A value that no transaction can take: the marker and the manifest then follow on their own. */
  async function putAlone(write: Write, text: string): Promise<Outcome> {
    const path = `${kvPath(keys.item(write))}?cas=${write.over?.token ?? 0}`;
    const { body } = await client.request('PUT', path, text);
    const pair = await getPair(client, keys.item(write));
    return pair && body.toString().trim() === 'true' && textOf(pair) === text
      ? { written: true, token: tokenOf(pair) }
      : { written: false, row: pair && rowOf(write.kind, write.key, pair) };
  }

  function operationOf({ item, over, ...where }: Write): Operation {
    const Key = keys.item(where);
    const Index = Number(over?.token ?? 0);
    if (item) return { Verb: 'cas', Key, Value: base64(item.json), Index };
    return over === undefined ? { Verb: 'check-not-exists', Key } : { Verb: 'delete-cas', Key, Index };
  }

  /** The marker, and a row of each folder: operations that fail when it is gone. */
  const checksOf = ({ inited, witnesses }: Held): Operation[] =>
    [...(inited ? [keys.inited] : []), ...witnesses.map(keys.item)].map((Key) => ({ Verb: 'get', Key }));

  /**
   * One row of each folder says little about the others, and their number little where another relay writes, too: where the marker is
   * missing, all are looked for.
   */
  async function demandRows(held: Held): Promise<void> {
    for (const kind of KINDS) {
      const folder = keys.folder(kind);
      const found = (await listKeys(client, folder)).map((path) => path.slice(folder.length));
      demandKeys(`${prefix}/`, kind, new Set(found), held);
    }
  }

  async function applyTogether(writes: readonly Write[], held: Held, manifest: string | undefined): Promise<Outcome[]> {
    const outcomes = new Map<Write, Outcome>();
    const checks = checksOf(held);
    if (manifest !== undefined && !held.inited) await demandRows(held);
    for (let tries = 1; tries <= maxTries; tries++) {
      const left = writes.filter((write) => !outcomes.has(write));
      const finish = manifest !== undefined && left.length === writes.length;
      const marks = finish ? [setOf(keys.manifest, manifest), setOf(keys.inited, '')] : [];
      if (left.length + marks.length === 0) break;
      const { Results, Errors } = await transact(client, [...left.map(operationOf), ...checks, ...marks]);
      if (!Errors || Errors.length === 0) {
        const indices = new Map((Results ?? []).map(({ KV }) => [KV?.Key, KV?.ModifyIndex]));
        for (const write of left) {
          const index = write.item && indices.get(keys.item(write));
          outcomes.set(write, { written: true, token: index === undefined ? undefined : String(index) });
        }
        break;
      }
      const missing = Errors.flatMap(({ OpIndex }) => checks[OpIndex - left.length] ?? [])[0];
      if (missing) {
        await removeMarker(client, prefix);
        throw new StoreLossError(`the key ${missing.Key} is gone`);
      }
      const strange = Errors.find(({ OpIndex, What }) => !left[OpIndex] || !/stale|exist/.test(What));
      if (strange) throw new Error(`Consul refuses a transaction: ${strange.What.slice(0, 200)}`);
      const refused = new Set(Errors.flatMap(({ OpIndex }) => left[OpIndex] ?? []));
      const first = left.findIndex((write) => refused.has(write));
      for (const write of left.slice(first)) {
        if (refused.has(write)) outcomes.set(write, { written: false, row: await findRow(write) });
        else if (needsOthers(write)) outcomes.set(write, heldBack);
      }
    }
    return writes.map((write) => {
      const outcome = outcomes.get(write);
      if (!outcome) throw new Error(`others changed keys below ${prefix}/ during ${maxTries} transactions in a row`);
      return outcome;
    });
  }

  return async (writes, held, manifest) => {
    const [only] = writes;
    if (writes.length !== 1 || !only?.item || Buffer.byteLength(only.item.json) <= transactionLimits.bytes) {
      return applyTogether(writes, held, manifest);
    }
    const outcome = await putAlone(only, only.item.json);
    if (outcome.written && manifest !== undefined) await applyTogether([], held, manifest);
    return [outcome];
  };
}

export async function removeMarker(client: ConsulClient, prefix: string): Promise<void> {
  await client.request('DELETE', kvPath(consulKeys(prefix).inited));
}

export function rowOf(kind: Kind, key: string, pair: KvPair): Row {
  return { item: decodeRow(kind, key, textOf(pair)), token: tokenOf(pair) };
}

function tokenOf({ ModifyIndex }: KvPair): string {
  return String(ModifyIndex);
}

function setOf(Key: string, text: string): Operation {
  return { Verb: 'set', Key, Value: base64(text) };
}

function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}
