import type { Kind } from '../../lib/flag-table/index.ts';
import { type ConsulClient, kvPath } from './consul-client.ts';
import type { Content, Held, Outcome, Row, Write } from './database.ts';
import { decodeRow } from './ledger.ts';
import type { ReplicaDatabase } from './replica-store.ts';
import { demandCounts, StoreLossError } from './store-loss.ts';

/** Consul's `kv_max_value_size`, and `txn_max_req_len` beside it. */
const valueLimitBytes = 512 * 1024;
/** A transaction takes 64 operations; two are kept for manifest and marker, three for what must still be there. */
const operationsAtOnce = 59;
/** Values are base64 in transactions, and every operation has a frame. */
const textBytesAtOnce = 320 * 1024;
const maxTries = 5;

interface KvPair {
  readonly Key: string;
  /** Base64; null when empty. */
  readonly Value: string | null;
  readonly ModifyIndex: number;
}

type Operation =
  | { readonly Verb: 'cas'; readonly Key: string; readonly Value: string; readonly Index: number }
  | { readonly Verb: 'delete-cas'; readonly Key: string; readonly Index: number }
  | { readonly Verb: 'check-not-exists'; readonly Key: string }
  /** Fails when there is no such key. */
  | { readonly Verb: 'get'; readonly Key: string }
  | { readonly Verb: 'set'; readonly Key: string; readonly Value: string };

interface TxnAnswer {
  readonly Results?: readonly { readonly KV?: KvPair }[] | null;
  readonly Errors?: readonly { readonly OpIndex: number; readonly What: string }[] | null;
}

/**
 * LaunchDarkly's layout in Consul's KV store: `PFX/features/KEY`, `PFX/segments/KEY`, `PFX/$inited`. Every request names
 * its folder with the slash, so that `app1` never touches what is `app10`'s. Writes are transactions of
 * check-and-set: https://developer.hashicorp.com/consul/api-docs/txn
 */
export function createConsulDatabase({ client, prefix }: { client: ConsulClient; prefix: string }): ReplicaDatabase {
  const initedKey = `${prefix}/$inited`;
  const manifestKey = `${prefix}/$manifest`;
  const keyOf = ({ kind, key }: Pick<Write, 'kind' | 'key'>) => `${prefix}/${kind}/${key}`;
  const readRows = (kind: Kind) => readFolder(client, kind, keyOf({ kind, key: '' }));

  async function findRow({ kind, key }: Write): Promise<Row | undefined> {
    const pair = await getPair(client, keyOf({ kind, key }));
    return pair && rowOf(kind, key, pair);
  }

  /** A value that no transaction can take: the marker and the manifest then follow on their own. */
  async function putAlone(write: Write, text: string): Promise<Outcome> {
    const path = `${kvPath(keyOf(write))}?cas=${write.over?.token ?? 0}`;
    const { body } = await client.request('PUT', path, text);
    const pair = await getPair(client, keyOf(write));
    return pair && body.toString().trim() === 'true' && textOf(pair) === text
      ? { written: true, token: tokenOf(pair) }
      : { written: false, row: pair && rowOf(write.kind, write.key, pair) };
  }

  function operationOf({ item, over, ...where }: Write): Operation {
    const Key = keyOf(where);
    const Index = Number(over?.token ?? 0);
    if (item) return { Verb: 'cas', Key, Value: base64(item.json), Index };
    return over === undefined ? { Verb: 'check-not-exists', Key } : { Verb: 'delete-cas', Key, Index };
  }

  /** The marker, and a row of each folder: operations that fail when it is gone. */
  const checksOf = ({ inited, witnesses }: Held): Operation[] =>
    [...(inited ? [initedKey] : []), ...witnesses.map(keyOf)].map((Key) => ({ Verb: 'get', Key }));

  async function unmark(): Promise<void> {
    await client.request('DELETE', kvPath(initedKey));
  }

  /** One row of each folder says little about the others: where the marker is missing, they are counted. */
  async function demandRows({ counts }: Held): Promise<void> {
    const count = async (kind: Kind) => (await listKeys(client, keyOf({ kind, key: '' }))).length;
    demandCounts(`${prefix}/`, { features: await count('features'), segments: await count('segments') }, counts);
  }

  /** One transaction, tried again without those of its operations that are refused. */
  async function applyTogether(writes: readonly Write[], held: Held, manifest: string | undefined): Promise<Outcome[]> {
    const outcomes = new Map<Write, Outcome>();
    const checks = checksOf(held);
    if (manifest !== undefined && !held.inited) await demandRows(held);
    for (let tries = 1; tries <= maxTries; tries++) {
      const left = writes.filter((write) => !outcomes.has(write));
      const finish = manifest !== undefined && left.length === writes.length;
      const marks = finish ? [setOf(manifestKey, manifest), setOf(initedKey, '')] : [];
      if (left.length + marks.length === 0) break;
      const { Results, Errors } = await transact(client, [...left.map(operationOf), ...checks, ...marks]);
      if (!Errors || Errors.length === 0) {
        const indices = new Map((Results ?? []).map(({ KV }) => [KV?.Key, KV?.ModifyIndex]));
        for (const write of left) {
          const index = write.item && indices.get(keyOf(write));
          outcomes.set(write, { written: true, token: index === undefined ? undefined : String(index) });
        }
        break;
      }
      const missing = Errors.flatMap(({ OpIndex }) => checks[OpIndex - left.length] ?? [])[0];
      if (missing) {
        await unmark();
        throw new StoreLossError(`the key ${missing.Key} is gone`);
      }
      const strange = Errors.find(({ OpIndex, What }) => !left[OpIndex] || !/stale|exist/.test(What));
      if (strange) throw new Error(`Consul refuses a transaction: ${strange.What.slice(0, 200)}`);
      for (const write of new Set(Errors.flatMap(({ OpIndex }) => left[OpIndex] ?? []))) {
        outcomes.set(write, { written: false, row: await findRow(write) });
      }
    }
    return writes.map((write) => {
      const outcome = outcomes.get(write);
      if (!outcome) throw new Error(`others changed what is below ${prefix}/ during ${maxTries} transactions in a row`);
      return outcome;
    });
  }

  return {
    name: 'consul',
    server: client.server,
    limits: { writes: operationsAtOnce, bytes: textBytesAtOnce },
    keepsManifest: true,
    marksStale: false,
    async readAll(): Promise<Content> {
      const [inited, manifest] = [await getPair(client, initedKey), await getPair(client, manifestKey)];
      const [segments, features] = await Promise.all([readRows('segments'), readRows('features')]);
      return { rows: { features, segments }, inited: inited !== undefined, manifest: manifest && textOf(manifest) };
    },
    unmark,
    async glance() {
      const [top, manifest] = await Promise.all([listBelow(client, `${prefix}/`), getPair(client, manifestKey)]);
      // Counting means listing every key: a folder that is gone is seen here, a single item at the next comparison.
      const atLeast = (kind: Kind) => (top.has(`${kind}/`) ? Infinity : 0);
      const counts = { features: atLeast('features'), segments: atLeast('segments') };
      return { inited: top.has('$inited'), manifest: manifest && textOf(manifest), counts };
    },
    async apply(writes, held, manifest) {
      const [only] = writes;
      if (writes.length !== 1 || !only?.item || Buffer.byteLength(only.item.json) <= textBytesAtOnce) {
        return applyTogether(writes, held, manifest);
      }
      const outcome = await putAlone(only, only.item.json);
      if (outcome.written && manifest !== undefined) await applyTogether([], held, manifest);
      return [outcome];
    },
    misfit({ json }) {
      const bytes = Buffer.byteLength(json);
      return bytes > valueLimitBytes ? `it has ${bytes} bytes, Consul takes ${valueLimitBytes}` : undefined;
    },
    describe: (error) => {
      if (!(error instanceof Error)) return String(error);
      const inner = error instanceof AggregateError ? error.errors.map((one: Error) => one.message).join('; ') : '';
      return error.message || inner || error.name;
    },
    close: async () => client.close(),
  };
}

async function getPair(client: ConsulClient, key: string): Promise<KvPair | undefined> {
  const { status, body } = await client.request('GET', `${kvPath(key)}?consistent`);
  return status === 200 ? parsePairs(body)[0] : undefined;
}

async function readFolder(client: ConsulClient, kind: Kind, folder: string): Promise<Map<string, Row>> {
  const { status, body } = await client.request('GET', `${kvPath(folder)}?recurse&consistent`);
  const rows = new Map<string, Row>();
  if (status !== 200) return rows;
  for (const pair of parsePairs(body)) {
    // The folder itself may be a key, too.
    const key = pair.Key.slice(folder.length);
    if (key !== '') rows.set(key, rowOf(kind, key, pair));
  }
  return rows;
}

/** What is directly below a folder: keys, and folders with their slash. */
async function listBelow(client: ConsulClient, folder: string): Promise<Set<string>> {
  const keys = await listKeys(client, folder, '&separator=/');
  return new Set(keys.map((key) => key.slice(folder.length)));
}

async function listKeys(client: ConsulClient, folder: string, query = ''): Promise<string[]> {
  const { status, body } = await client.request('GET', `${kvPath(folder)}?keys${query}&consistent`);
  return status === 200 ? (JSON.parse(body.toString()) as string[]) : [];
}

async function transact(client: ConsulClient, operations: readonly Operation[]): Promise<TxnAnswer> {
  const { body } = await client.request('PUT', '/txn', JSON.stringify(operations.map((KV) => ({ KV }))));
  return JSON.parse(body.toString()) as TxnAnswer;
}

function parsePairs(body: Buffer): KvPair[] {
  return JSON.parse(body.toString()) as KvPair[];
}

function rowOf(kind: Kind, key: string, pair: KvPair): Row {
  return { item: decodeRow(kind, key, textOf(pair)), token: tokenOf(pair) };
}

function textOf({ Value }: KvPair): string {
  return Buffer.from(Value ?? '', 'base64').toString();
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
