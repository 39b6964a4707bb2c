import { createHash } from 'node:crypto';
import { KINDS, type Kind } from '../../lib/flag-table/index.ts';
import { createTurnstile, type Turnstile } from '../common/turnstile.ts';
import { type Held, heldBack, needsOthers, type Outcome, type Row, type Write } from './database.ts';
import { decodeRow } from './ledger.ts';
import { createScript, type RedisClient } from './redis-client.ts';
import { untilUndisturbed } from './redis-transactions.ts';
import { isWrongType } from './redis-wrong-type.ts';
import { demandCounts } from './store-loss.ts';

/** Where things are: `PFX:features`, `PFX:segments`, `PFX:$inited`, and beside them our own `PFX:$manifest`. */
export interface RedisKeys {
  readonly features: string;
  readonly segments: string;
  readonly inited: string;
  readonly manifest: string;
}

/**
 * Writes all that hold in one transaction; the manifest and then the marker follow if every write was done. A hash that is
 * of another type is removed first. With fewer rows than `held`, the marker is removed instead: `StoreLossError`.
 */
export type CompareAndSet = (
  writes: readonly Write[],
  held: Pick<Held, 'counts'>,
  manifest: string | undefined,
) => Promise<readonly Outcome[]>;

/**
 * KEYS: features, segments, $inited, $manifest. ARGV: the manifest or '', how many fields the two hashes have at least,
 * then for each write: kind, field, the SHA-1 of what must be there or '', 'set' or 'remove', the text, '1' if it needs another one.
 * Answers with how many fields they have; and, unless these are too few, for each write with 1, with 0 if it was held back, or
 * with what is there.
 */
const script = `
local isHash, counts = {}, {}
for i = 1, 2 do
  local count = redis.pcall('HLEN', KEYS[i])
  isHash[i] = type(count) == 'number'
  counts[i] = isHash[i] and count or 0
end
if counts[1] < tonumber(ARGV[2]) or counts[2] < tonumber(ARGV[3]) then
  redis.call('DEL', KEYS[3])
  return {counts}
end
for i = 1, 2 do
  if not isHash[i] then redis.call('DEL', KEYS[i]) end
end
local outcomes = {}
local whole = true
for i = 4, #ARGV, 6 do
  local hash = KEYS[1]
  if ARGV[i] == 'segments' then hash = KEYS[2] end
  local found = redis.call('HGET', hash, ARGV[i + 1])
  local token = found and redis.sha1hex(found) or ''
  if ARGV[i + 5] == '1' and not whole then
    outcomes[#outcomes + 1] = 0
  elseif token ~= ARGV[i + 2] then
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
return {counts, outcomes}
`;
const runScript = createScript(script);

export function tokenOf(bytes: Buffer): string {
  return createHash('sha1').update(bytes).digest('hex');
}

/** With a script, or with WATCH and MULTI once the server has refused scripts. */
export function createCompareAndSet(
  client: RedisClient,
  keys: RedisKeys,
  onRefused: (why: string) => void,
): CompareAndSet {
  let scriptsRefused = false;
  return async (writes, { counts }, manifest) => {
    const work: Work = { writes, counts, manifest };
    if (!scriptsRefused) {
      try {
        return await byScript(client, keys, work);
      } catch (error) {
        const { message } = error as Error;
        // A user may not run scripts, or the command was renamed or never built in.
        if (!/^NOPERM|^ERR unknown command/i.test(message)) throw error;
        scriptsRefused = true;
        onRefused(message);
      }
    }
    return byTransaction(client, keys, work);
  };
}

interface Work {
  readonly writes: readonly Write[];
  readonly counts: Held['counts'];
  readonly manifest: string | undefined;
}

async function byScript(client: RedisClient, keys: RedisKeys, work: Work): Promise<Outcome[]> {
  const { writes, counts, manifest = '' } = work;
  const args = writes.flatMap((write) => {
    const { kind, key, over, item } = write;
    const what = item ? ['set', item.json] : ['remove', ''];
    return [kind, key, over?.token ?? '', ...what, needsOthers(write) ? '1' : ''];
  });
  const least = [String(counts.features), String(counts.segments)];
  const names = [keys.features, keys.segments, keys.inited, keys.manifest];
  const answer = await client.call((redis) => runScript(redis, names, [manifest, ...least, ...args]));
  const [[features = 0, segments = 0], answers = []] = answer as [number[], (number | Buffer | null)[]?];
  demandCounts('Redis', { features, segments }, counts);
  return writes.map((write, index) => {
    const answer = answers[index] ?? null;
    if (answer === 0) return heldBack;
    return typeof answer === 'number' ? done(write) : { written: false, row: findRow(write, answer) };
  });
}

/** Transactions of one connection must not mix: WATCH is the connection's. */
const turnstiles = new WeakMap<RedisClient['redis'], Turnstile>();

function byTransaction(client: RedisClient, keys: RedisKeys, work: Work): Promise<Outcome[]> {
  const turnstile = turnstiles.get(client.redis) ?? createTurnstile({ maxInside: 1 });
  turnstiles.set(client.redis, turnstile);
  return turnstile.run(() =>
    untilUndisturbed(
      () => tryTransaction(client, keys, work),
      (tries) => `others changed ${keys.features} or ${keys.segments} during ${tries} transactions in a row`,
    ),
  );
}

/** Undefined: somebody else wrote meanwhile, and nothing was done. */
async function tryTransaction(client: RedisClient, keys: RedisKeys, work: Work): Promise<Outcome[] | undefined> {
  const { writes, counts, manifest } = work;
  await client.call((redis) => redis.watch(keys.features, keys.segments));
  const isHash = { features: true, segments: true };
  const count = async (kind: Kind) => {
    const hash = await unlessWrongType(client, (redis) => redis.hlen(keys[kind]));
    isHash[kind] = hash !== undefined;
    return hash?.answer ?? 0;
  };
  const fields = { features: await count('features'), segments: await count('segments') };
  const isShort = KINDS.some((kind) => fields[kind] < counts[kind]);
  const found = await Promise.all(
    writes.map(({ kind, key }) => (isHash[kind] ? client.call((redis) => redis.hgetBuffer(keys[kind], key)) : null)),
  );
  let isWhole = true;
  const outcomes = writes.map((write, index): Outcome => {
    if (!isWhole && needsOthers(write)) return heldBack;
    const row = findRow(write, found[index] ?? null);
    if (row?.token === write.over?.token) return done(write);
    isWhole = false;
    return { written: false, row };
  });
  const answer = await client.call((redis) => {
    const transaction = redis.multi();
    if (isShort) return transaction.del(keys.inited).exec();
    for (const kind of KINDS) if (!isHash[kind]) transaction.del(keys[kind]);
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
  if (!answer) return undefined;
  demandCounts('Redis', fields, counts);
  return outcomes;
}

/** Undefined: the key is of another type than the command is for. */
export async function unlessWrongType<T>(
  client: RedisClient,
  send: (redis: RedisClient['redis']) => Promise<T>,
): Promise<{ readonly answer: T } | undefined> {
  try {
    return { answer: await client.call(send) };
  } catch (error) {
    if (isWrongType(error)) return undefined;
    throw error;
  }
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
