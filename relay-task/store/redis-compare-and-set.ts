import { createHash } from 'node:crypto';
import { KINDS, type Kind } from '../../lib/flag-table/index.ts';
import { createTurnstile, type Turnstile } from '../common/turnstile.ts';
import { type Held, heldBack, needsOthers, type Outcome, type Row, type Write } from './database.ts';
import { decodeRow } from './ledger.ts';
import { createScript, type RedisClient } from './redis-client.ts';
import { untilUndisturbed } from './redis-transactions.ts';
import { isWrongType } from './redis-wrong-type.ts';
import { demandCounts, StoreLossError } from './store-loss.ts';

/** Where things are: `PFX:features`, `PFX:segments`, `PFX:$inited`, and beside them our own `PFX:$manifest`. */
export interface RedisKeys {
  readonly features: string;
  readonly segments: string;
  readonly inited: string;
  readonly manifest: string;
}

/**
 * Writes all that hold in one transaction; the manifest and then the marker follow if every write was done. A hash that is
 * of another type is removed first. With fewer rows than `held`, or without its marker, the marker is removed instead:
 * `StoreLossError`. Where the marker is to be set, each of the rows is looked for: another relay that fills the same hashes may
 * have written as many others.
 */
export type CompareAndSet = (
  writes: readonly Write[],
  held: Pick<Held, 'inited' | 'counts' | 'keysOf'>,
  manifest: string | undefined,
) => Promise<readonly Outcome[]>;

/**
 * KEYS: features, segments, $inited, $manifest. ARGV: the manifest or '', how many fields the two hashes have at least, '1' if the
 * marker must be there, how many fields of each hash are named, these fields, then for each write: kind, field, the SHA-1 of what must
 * be there or '', 'set' or 'remove', the text, '1' if it needs another one.
 * Users of an earlier version may not have been allowed HEXISTS.
 * Answers with how many fields they have; then with '' and for each write with 1, with 0 if it was held back, or with what is
 * there; or with what is missing, a number of fields or a name.
 */
const script = `
local isHash, counts = {}, {}
for i = 1, 2 do
  local count = redis.pcall('HLEN', KEYS[i])
  isHash[i] = type(count) == 'number'
  counts[i] = isHash[i] and count or 0
end
local function has(hash, field)
  local found = redis.pcall('HEXISTS', hash, field)
  if type(found) == 'number' then return found == 1 end
  return redis.call('HGET', hash, field) ~= false
end
local missing = ''
if counts[1] < tonumber(ARGV[2]) or counts[2] < tonumber(ARGV[3]) then
  missing = 'fields'
elseif ARGV[4] == '1' and redis.call('EXISTS', KEYS[3]) == 0 then
  missing = KEYS[3]
end
local at = 7
for i = 1, 2 do
  for j = at, at + tonumber(ARGV[4 + i]) - 1 do
    if missing == '' and not has(KEYS[i], ARGV[j]) then missing = ARGV[j] end
  end
  at = at + tonumber(ARGV[4 + i])
end
if missing ~= '' then
  redis.call('DEL', KEYS[3])
  return {counts, missing}
end
for i = 1, 2 do
  if not isHash[i] then redis.call('DEL', KEYS[i]) end
end
local outcomes = {}
local whole = true
for i = at, #ARGV, 6 do
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
return {counts, '', outcomes}
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
  return async (writes, { inited, counts, keysOf }, manifest) => {
    const isToBeMarked = manifest !== undefined && !inited;
    const work: Work = { writes, inited, counts, keysOf: isToBeMarked ? keysOf : () => [], manifest };
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

/** So many fields are read between two chances of the server's other clients. */
const SCAN_COUNT = 500;
const MOST_EMPTY_PAGES = 1_000;

interface Work extends Pick<Held, 'inited' | 'counts' | 'keysOf'> {
  readonly writes: readonly Write[];
  readonly manifest: string | undefined;
}

/** What the answer of either way says is missing; throws if something is. */
function demand(fields: Held['counts'], missing: string, { counts }: Pick<Work, 'counts'>): void {
  demandCounts('Redis', fields, counts);
  if (missing !== '') throw new StoreLossError(`Redis has not "${missing}"`);
}

async function byScript(client: RedisClient, keys: RedisKeys, work: Work): Promise<Outcome[]> {
  const { writes, inited, counts, keysOf, manifest = '' } = work;
  const args = writes.flatMap((write) => {
    const { kind, key, over, item } = write;
    const what = item ? ['set', item.json] : ['remove', ''];
    return [kind, key, over?.token ?? '', ...what, needsOthers(write) ? '1' : ''];
  });
  const named = KINDS.map(keysOf);
  const least = [counts.features, counts.segments, inited ? '1' : '', ...named.map(({ length }) => length)].map(String);
  const names = [keys.features, keys.segments, keys.inited, keys.manifest];
  const answer = await client.call((redis) => runScript(redis, names, [manifest, ...least, ...named.flat(), ...args]));
  const [[features = 0, segments = 0], missing, answers = []] = answer as [
    number[],
    Buffer,
    (number | Buffer | null)[]?,
  ];
  demand({ features, segments }, missing.toString(), work);
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
  const { writes, inited, counts, keysOf, manifest } = work;
  await client.call((redis) => redis.watch(keys.features, keys.segments, keys.inited));
  const isHash = { features: true, segments: true };
  const count = async (kind: Kind) => {
    const hash = await unlessWrongType(client, (redis) => redis.hlen(keys[kind]));
    isHash[kind] = hash !== undefined;
    return hash?.answer ?? 0;
  };
  const fields = { features: await count('features'), segments: await count('segments') };
  async function findMissing(): Promise<string> {
    if (inited && (await client.call((redis) => redis.exists(keys.inited))) === 0) return keys.inited;
    for (const kind of KINDS) {
      const named = keysOf(kind);
      const found = new Set(named.length > 0 ? await readFields(client, keys[kind], fields[kind]) : []);
      const missing = named.find((key) => !found.has(key));
      if (missing !== undefined) return missing;
    }
    return '';
  }
  const isShort = KINDS.some((kind) => fields[kind] < counts[kind]);
  const missing = isShort ? 'fields' : await findMissing();
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
    if (missing !== '') return transaction.del(keys.inited).exec();
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
  demand(fields, missing, work);
  return outcomes;
}

/** All that a hash has from the beginning to the end. Not by HKEYS, which would hold up the server's other clients. */
async function readFields(client: RedisClient, hash: string, count: number): Promise<string[]> {
  const fields: string[] = [];
  let cursor = '0';
  let pages = 0;
  do {
    pages += 1;
    if (pages > count + MOST_EMPTY_PAGES) throw new Error(`Redis does not come to the end of ${hash} in HSCAN`);
    const [next, pairs] = await client.call((redis) => redis.hscan(hash, cursor, 'COUNT', SCAN_COUNT));
    for (let index = 0; index < pairs.length; index += 2) fields.push(pairs[index]!);
    cursor = next;
  } while (cursor !== '0');
  return fields;
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
