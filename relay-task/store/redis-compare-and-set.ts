import { createHash } from 'node:crypto';
import type { Kind } from '../../lib/flag-table/index.ts';
import { sleep } from '../common/pause.ts';
import type { Outcome, Row, Write } from './database.ts';
import { decodeRow } from './ledger.ts';
import { createScript, type RedisClient } from './redis-client.ts';

/** Where things are: `PFX:features`, `PFX:segments`, `PFX:$inited`, and beside them our own `PFX:$manifest`. */
export interface RedisKeys {
  readonly features: string;
  readonly segments: string;
  readonly inited: string;
  readonly manifest: string;
}

/** Writes all that hold in one transaction; the manifest and then the marker follow if every write was done. */
export type CompareAndSet = (writes: readonly Write[], manifest: string | undefined) => Promise<readonly Outcome[]>;

/**
 * KEYS: features, segments, $inited, $manifest. ARGV: the manifest or '', then for each write: kind, field, the SHA-1
 * of what must be there or '', 'set' or 'remove', the text. Answers for each write 1, or what is there.
 */
const script = `
local outcomes = {}
local whole = true
for i = 2, #ARGV, 5 do
  local hash = KEYS[1]
  if ARGV[i] == 'segments' then hash = KEYS[2] end
  local found = redis.call('HGET', hash, ARGV[i + 1])
  local token = found and redis.sha1hex(found) or ''
  if token ~= ARGV[i + 2] then
    outcomes[#outcomes + 1] = found
    whole = false
  else
    if ARGV[i + 3] == 'set' then
      redis.call('HSET', hash, ARGV[i + 1], ARGV[i + 4])
    elseif found then
      redis.call('HDEL', hash, ARGV[i + 1])
    end
    outcomes[#outcomes + 1] = 1
  end
end
if whole and ARGV[1] ~= '' then
  redis.call('SET', KEYS[4], ARGV[1])
  redis.call('SET', KEYS[3], '')
end
return outcomes
`;
const runScript = createScript(script);

/** How often a transaction is tried that others keep disturbing. */
const maxTries = 20;

export function tokenOf(bytes: Buffer): string {
  return createHash('sha1').update(bytes).digest('hex');
}

/** By script; by WATCH and MULTI once the server has refused scripts. */
export function createCompareAndSet(
  client: RedisClient,
  keys: RedisKeys,
  onRefused: (why: string) => void,
): CompareAndSet {
  let scriptsRefused = false;
  return async (writes, manifest) => {
    if (!scriptsRefused) {
      try {
        return await byScript(client, keys, writes, manifest);
      } catch (error) {
        const { message } = error as Error;
        // A user may not run scripts, or the command was renamed or never built in.
        if (!/^NOPERM|^ERR unknown command/i.test(message)) throw error;
        scriptsRefused = true;
        onRefused(message);
      }
    }
    return byTransaction(client, keys, writes, manifest);
  };
}

async function byScript(
  client: RedisClient,
  { features, segments, inited, manifest: manifestKey }: RedisKeys,
  writes: readonly Write[],
  manifest = '',
): Promise<Outcome[]> {
  const keys = [features, segments, inited, manifestKey];
  const args = writes.flatMap(({ kind, key, over, item }) => {
    const token = over?.token ?? '';
    return item ? [kind, key, token, 'set', item.json] : [kind, key, token, 'remove', ''];
  });
  const answers = (await client.call((redis) => runScript(redis, keys, [manifest, ...args]))) as (
    | number
    | Buffer
    | null
  )[];
  return writes.map((write, index) => {
    const answer = answers[index] ?? null;
    return typeof answer === 'number' ? done(write) : { written: false, row: findRow(write, answer) };
  });
}

/** Transactions of one connection must not mix: WATCH is the connection's. */
const turns = new WeakMap<object, Promise<unknown>>();

function byTransaction(
  client: RedisClient,
  keys: RedisKeys,
  writes: readonly Write[],
  manifest: string | undefined,
): Promise<Outcome[]> {
  const turn = (turns.get(client.redis) ?? Promise.resolve()).then(async () => {
    for (let tries = 1; tries <= maxTries; tries++) {
      const outcomes = await tryTransaction(client, keys, writes, manifest);
      if (outcomes) return outcomes;
      await sleep(Math.random() * 5 * tries);
    }
    throw new Error(`others changed ${keys.features} or ${keys.segments} during ${maxTries} transactions in a row`);
  });
  turns.set(
    client.redis,
    turn.catch(() => {}),
  );
  return turn;
}

/** Undefined: somebody else wrote meanwhile, and nothing was done. */
async function tryTransaction(
  client: RedisClient,
  keys: RedisKeys,
  writes: readonly Write[],
  manifest: string | undefined,
): Promise<Outcome[] | undefined> {
  await client.call((redis) => redis.watch(keys.features, keys.segments));
  const found = await Promise.all(
    writes.map(({ kind, key }) => client.call((redis) => redis.hgetBuffer(keys[kind], key))),
  );
  const outcomes = writes.map((write, index): Outcome => {
    const row = findRow(write, found[index] ?? null);
    return row?.token === write.over?.token ? done(write) : { written: false, row };
  });
  const answer = await client.call((redis) => {
    const transaction = redis.multi();
    for (const [index, { kind, key, item }] of writes.entries()) {
      if (!outcomes[index]?.written) continue;
      if (item) transaction.hset(keys[kind], key, item.json);
      else transaction.hdel(keys[kind], key);
    }
    if (manifest !== undefined && outcomes.every(({ written }) => written)) {
      transaction.set(keys.manifest, manifest).set(keys.inited, '');
    }
    return transaction.exec();
  });
  const failed = answer?.find(([error]) => error);
  if (failed?.[0]) throw failed[0];
  return answer ? outcomes : undefined;
}

function done({ item }: Write): Outcome {
  return { written: true, token: item && tokenOf(Buffer.from(item.json)) };
}

function findRow({ kind, key }: Write, bytes: Buffer | null): Row | undefined {
  return bytes ? rowOf(kind, key, bytes) : undefined;
}

export function rowOf(kind: Kind, key: string, bytes: Buffer): Row {
  return { item: decodeRow(kind, key, bytes.toString()), token: tokenOf(bytes) };
}
