import { randomUUID } from 'node:crypto';
import { Cluster } from 'ioredis';
import type { Measures } from '../common/measures.ts';
import type { BigSegmentPatch, Log } from '../ports.ts';
import {
  type BigSegmentMetadata,
  type BigSegmentOwnerOptions,
  type BigSegmentStore,
  changesByHash,
  countingPatches,
  membershipOf,
  type PatchOutcome,
} from './big-segments.ts';
import { createOwnership, type Emptier, ownerProblem } from './big-segments-owner.ts';
import { createScript, describeRedisError, type RedisClient, type RedisConnection } from './redis-client.ts';
import { openRedis } from './redis-store.ts';
import { untilUndisturbed } from './redis-transactions.ts';
import { createWrongTypeLog, isWrongType } from './redis-wrong-type.ts';

interface RedisBigSegmentsOptions extends BigSegmentOwnerOptions {
  /** Where Redis is, or the caller's client (`createRedisClient`), which the caller also closes. */
  readonly connection: RedisConnection | RedisClient;
  /** '' for `launchdarkly`. */
  readonly prefix: string;
  readonly log: Log;
  readonly measures?: Measures | undefined;
}

/**
 * KEYS: what is expected, then what is changed. ARGV: how many keys are expected, their values ('' for none), then a command
 * and its argument for each of the others. A key of another type counts as missing, and is removed first. Answers with 0 if
 * something is not as expected, else with these keys and their types in turn.
 */
const script = `
local removed, wrong = {}, {}
local function isWrong(answer) return type(answer) == 'table' and answer.err and string.find(answer.err, 'WRONGTYPE', 1, true) end
local function remove(key)
  removed[#removed + 1] = key
  removed[#removed + 1] = redis.pcall('TYPE', key).ok or 'unknown'
  redis.call('DEL', key)
end
local expected = tonumber(ARGV[1])
for i = 1, expected do
  local found = redis.pcall('GET', KEYS[i])
  if isWrong(found) then
    wrong[#wrong + 1] = KEYS[i]
    found = ''
  end
  if type(found) == 'table' then return found end
  if (found or '') ~= ARGV[i + 1] then return 0 end
end
for _, key in ipairs(wrong) do remove(key) end
for i = expected + 1, #KEYS do
  local at = 2 * i - expected
  if ARGV[at] == 'DEL' then
    redis.call('DEL', KEYS[i])
  else
    if ARGV[at] == 'SET' and isWrong(redis.pcall('GET', KEYS[i])) then remove(KEYS[i]) end
    local done = redis.pcall(ARGV[at], KEYS[i], ARGV[at + 1])
    if isWrong(done) then
      remove(KEYS[i])
      done = redis.pcall(ARGV[at], KEYS[i], ARGV[at + 1])
    end
    if type(done) == 'table' and done.err then return done end
  end
end
return removed
`;
const runScript = createScript(script);

/** A key, and its value; '' for none. */
type Expected = readonly [key: string, value: string];

type Command =
  | readonly [name: 'SADD' | 'SREM' | 'SET', key: string, argument: string]
  | readonly [name: 'DEL', key: string];

interface Step {
  readonly expected: readonly Expected[];
  /** Not so many that the server's other clients have to wait. */
  readonly commands: readonly Command[];
}

type Keys = ReturnType<typeof keysOf>;

/** So many keys of the server are looked at between two signs of life. */
const SCAN_COUNT = 1_000;
/**
 * One scan can miss keys: a cursor is valid on one server only, and after a failover the scan continues on another; in a Cluster a slot
 * can move to a node that was scanned already. A new scan covers every node, so two scans in a row both miss keys only if such an
 * event happens during each of them.
 */
const EMPTY_SCANS = 2;
const MAX_SCANS = 10;

/**
 * Big Segments in LaunchDarkly's layout: `PFX:big_segment_include:HASH`, `PFX:big_segment_exclude:HASH`,
 * `PFX:big_segments_synchronized_on`, `PFX:big_segments_cursor`. Every step checks the cursor in the same breath. Unlike
 * ld-relay's, a store without a cursor takes only a first patch: after a loss of data everything has to come again.
 *
 * Beside these, `PFX:big_segments_environment` says whose members these are, and `PFX:big_segments_emptying` that those of an
 * earlier environment are being deleted. Throws for a prefix that a Cluster cannot hold.
 */
export function createRedisBigSegments(options: RedisBigSegmentsOptions): BigSegmentStore {
  const { log, environment = () => undefined } = options;
  const { client, prefix, close } = openRedis(options.connection, options.prefix);
  const keys = keysOf(prefix);
  const wrongTypes = createWrongTypeLog(log, prefix);
  const typeOf = (key: string) => () => call((redis) => redis.type(key));
  const { call, take, end } = createSteps(client, keys, async (key, type) => {
    await wrongTypes.found(keys.shown(key), async () => type);
    wrongTypes.right(keys.shown(key));
  });
  const emptier = createEmptier({ client, log, prefix, keys, call, take });
  /** What the store says in any step that changes what readers rely on. */
  const owned = (): Expected[] => {
    const own = environment();
    return [[keys.emptying, ''], ...(own === undefined ? [] : [[keys.environment, own] as const])];
  };
  const metadata = async () => metadataOf(await call((redis) => redis.mget(...metadataKeys(keys))));

  async function apply(patch: BigSegmentPatch): Promise<PatchOutcome> {
    const { previousVersion, version } = patch;
    let taken = 0;
    for await (const step of stepsOf(patch, keys)) {
      if (await take({ ...step, expected: [...step.expected, ...owned()] })) {
        taken += 1;
        continue;
      }
      // Another relay was first, or this one was and the answer was lost.
      const found = await metadata();
      if (version === previousVersion || found.cursor !== version) return 'out-of-order';
      if (ownerProblem(found, environment())) return 'out-of-order';
      return taken === 0 ? 'already-applied' : 'applied';
    }
    return 'applied';
  }

  const store: BigSegmentStore = {
    metadata,
    own: createOwnership({
      environment,
      adopts: options.adopts,
      quietMs: options.quietMs,
      async look() {
        const found = await call((redis) => redis.mget(...metadataKeys(keys)));
        const isOwnEmptying = emptier.isOwn(found[metadataKeys(keys).indexOf(keys.emptying)]);
        return { metadata: metadataOf(found), mark: JSON.stringify(found), isOwnEmptying };
      },
      async name(id) {
        await take({ expected: [[keys.environment, '']], commands: [['SET', keys.environment, id]] });
      },
      empty: emptier.empty,
    }),
    apply,
    async setSynchronizedOn(unixMs) {
      const step: Step = { expected: owned(), commands: [['SET', keys.synchronized, String(unixMs)]] };
      if (await take(step)) return;
      throw new Error(ownerProblem(await metadata(), environment()) ?? 'the store was emptied meanwhile');
    },
    async read(hashes) {
      const { included, excluded, metadata, wrong } = await call((redis) => readSets(redis, keys, hashes));
      for (const [, key] of wrong) await wrongTypes.found(keys.shown(key), typeOf(key));
      return {
        memberships: hashes.map((_, index) => membershipOf(included[index] ?? [], excluded[index] ?? [])),
        metadata: {
          ...metadataOf(metadata),
          ...(wrong.length > 0 && { incomplete: [...new Set(wrong.map(([hash]) => hash))] }),
        },
      };
    },
    async close() {
      end();
      await close();
    },
  };
  return countingPatches(store, options.measures, { env: options.env ?? '', database: 'redis', prefix });
}

type Call = <T>(send: (redis: RedisClient['redis']) => Promise<T>) => Promise<T>;
type Take = (step: Step) => Promise<boolean>;

/**
 * Changes that are made only if the metadata are as expected. What fails rejects with one sentence. `onReplaced`: the key had
 * another type, and was removed before the change.
 */
function createSteps(client: RedisClient, keys: Keys, onReplaced: (key: string, type: string) => Promise<void>) {
  /** Transactions need a connection of their own: WATCH belongs to the connection, and EXEC of another ends it. */
  let own: RedisClient['redis'] | undefined;
  let scriptsRefused = false;
  let ended = false;

  const call: Call = async (send) => {
    if (ended) throw new Error('the store of Big Segments was closed');
    try {
      return await client.call(send);
    } catch (error) {
      // Errors of the client hold the command, and that the hashes of contexts.
      throw new Error(`${client.server}: ${describeRedisError(error)}`);
    }
  };

  /** False: something is not as expected, and nothing was done. */
  const take: Take = async (step) => {
    const replaced = await tryStep(step);
    for (const [key, type] of replaced ?? []) await onReplaced(key, type);
    return replaced !== undefined;
  };

  async function tryStep(step: Step): Promise<readonly Replaced[] | undefined> {
    if (!scriptsRefused) {
      try {
        return await call((redis) => byScript(redis, step));
      } catch (error) {
        if (!/NOPERM|unknown command/i.test((error as Error).message)) throw error;
        scriptsRefused = true;
      }
    }
    own ??= client.redis.duplicate().on('error', () => {});
    const redis = own;
    const attempt = async () => {
      const result = await call(() => tryTransaction(redis, keys, step));
      if (result === 'elsewhere') return result;
      const { answer, wrong } = result;
      const failed = answer?.find(([error]) => error);
      if (failed?.[0]) throw new Error(`${client.server}: ${failed[0].message}`);
      return answer ? wrong : undefined;
    };
    const done = await untilUndisturbed(
      attempt,
      (tries) => `${client.server}: others changed ${keys.lock} during ${tries} transactions in a row`,
    );
    return done === 'elsewhere' ? undefined : done;
  }

  return {
    call,
    take,
    /** Starts nothing more. */
    end(): void {
      ended = true;
      own?.disconnect();
    },
  };
}

/**
 * Deletes the members of another environment: first the cursor and the time of synchronisation, together with a sign that this
 * is in progress, then the members, then the sign. Every step renews the sign, and is refused where another relay has. The sign
 * leaves once `EMPTY_SCANS` scans in a row found no member.
 */
function createEmptier({
  client,
  log,
  prefix,
  keys,
  call,
  take,
}: {
  readonly client: RedisClient;
  readonly log: Log;
  readonly prefix: string;
  readonly keys: Keys;
  readonly call: Call;
  readonly take: Take;
}): Emptier {
  let token = randomUUID();

  async function empty(mark: string, environment: string): Promise<boolean> {
    // A new one for each attempt: a late request of an earlier attempt must change nothing.
    token = randomUUID();
    let signs = 0;
    let sign = `${token} 0`;
    /** Also true if it was made before, and the answer was lost. */
    const made = async (step: Step, is: string | null) =>
      (await take(step)) || (await call((redis) => redis.get(keys.emptying))) === is;

    const before = JSON.parse(mark) as (string | null)[];
    const begun = await made(
      {
        expected: metadataKeys(keys).map((key, index) => [key, before[index] ?? '']),
        commands: [
          ['SET', keys.lock, ''],
          ['SET', keys.environment, environment],
          ['SET', keys.emptying, sign],
          ['DEL', keys.synchronized],
          ['DEL', keys.cursor],
        ],
      },
      sign,
    );
    if (!begun) return false;
    const { emptying, environment: earlier } = metadataOf(before);
    log.warn('Deleting the Big Segments of another environment from the store', {
      prefix,
      reason: emptying
        ? 'it was begun and did not end'
        : `they belong to the environment ${earlier}, and the SDK key to ${environment}`,
      runbook: 'operations.md#big-segments-stale',
    });
    for (let scans = 1, empty = 0; empty < EMPTY_SCANS; scans += 1) {
      if (scans > MAX_SCANS) {
        throw new Error(
          `${client.server}: ${MAX_SCANS} scans found members of another environment; deleting them again later`,
        );
      }
      empty += 1;
      for await (const found of scan(client, keys, call)) {
        if (found.length > 0) empty = 0;
        const next = `${token} ${++signs}`;
        const deletions = found.map((key) => ['DEL', key] as const);
        const step: Step = {
          expected: [[keys.emptying, sign]],
          commands: [...deletions, ['SET', keys.emptying, next]],
        };
        if (!(await made(step, next))) return false;
        sign = next;
      }
    }
    const last: Step = { expected: [[keys.emptying, sign]], commands: [['DEL', keys.emptying]] };
    if (!(await made(last, null))) return false;
    log.info('Deleted the Big Segments of another environment; loading those of this one', { prefix });
    return true;
  }

  return { empty, isOwn: (sign) => sign?.startsWith(token) === true };
}

/** The sets of members, some at a time: whatever was there before the beginning, as long as no server changes its part. */
async function* scan({ redis }: RedisClient, keys: Keys, call: Call): AsyncGenerator<readonly string[]> {
  const [included, excluded] = [keys.included(''), keys.excluded('')];
  const pattern = `${keys.members.replace(/[\\*?[\]]/g, '\\$&')}*`;
  // The sets are all on one node, but clients cannot ask which one it is.
  for (const node of redis instanceof Cluster ? redis.nodes('master') : [redis]) {
    let cursor = '0';
    do {
      const [next, found] = await call(() => node.scan(cursor, 'MATCH', pattern, 'COUNT', SCAN_COUNT));
      yield found.filter((key) => key.startsWith(included) || key.startsWith(excluded));
      cursor = next;
    } while (cursor !== '0');
  }
}

/**
 * Two sets for each hash, then the values of `metadataKeys`. These are read last: if the server was emptied before any of the
 * sets was read, they show it. A key of another type counts as an empty set, and is in `wrong` with its hash.
 */
async function readSets(redis: RedisClient['redis'], keys: Keys, hashes: readonly string[]) {
  const names = hashes.flatMap((hash) => [[hash, keys.included(hash)] as const, [hash, keys.excluded(hash)] as const]);
  const pipeline = redis.pipeline();
  for (const [, key] of names) pipeline.smembers(key);
  const answers = (await pipeline.mget(...metadataKeys(keys)).exec()) ?? [];
  const wrong: (readonly [hash: string, key: string])[] = [];
  const found = answers.map(([error, answer], index) => {
    const name = names[index];
    if (name && isWrongType(error)) {
      wrong.push(name);
      return [];
    }
    if (error) throw error;
    return answer as (string | null)[];
  });
  const metadata = found[names.length] ?? [];
  const sets = found.slice(0, names.length) as string[][];
  return {
    included: sets.filter((_, index) => index % 2 === 0),
    excluded: sets.filter((_, index) => index % 2 === 1),
    metadata,
    wrong,
  };
}

const metadataKeys = (keys: Keys) => [keys.cursor, keys.synchronized, keys.environment, keys.emptying];

/** From the values of `metadataKeys`. */
function metadataOf(values: readonly (string | null)[]): BigSegmentMetadata {
  const [cursor, synchronizedOn, environment, emptying] = values;
  return {
    cursor: cursor ?? '',
    synchronizedOn: synchronizedOn ? Number(synchronizedOn) : undefined,
    ...(environment && { environment }),
    ...(emptying && { emptying: true }),
  };
}

function keysOf(prefix: string) {
  return {
    cursor: `${prefix}:big_segments_cursor`,
    lock: `${prefix}:big_segments_lock`,
    synchronized: `${prefix}:big_segments_synchronized_on`,
    environment: `${prefix}:big_segments_environment`,
    emptying: `${prefix}:big_segments_emptying`,
    members: `${prefix}:big_segment_`,
    included: (hash: string) => `${prefix}:big_segment_include:${hash}`,
    excluded: (hash: string) => `${prefix}:big_segment_exclude:${hash}`,
    /** As the log names it: without the hash of a context. */
    shown: (key: string) =>
      [`${prefix}:big_segment_include:`, `${prefix}:big_segment_exclude:`].find((sets) => key.startsWith(sets)) ?? key,
  };
}

/** At least one step; the last one moves the cursor. The lock is what ld-relay watches. */
async function* stepsOf(patch: BigSegmentPatch, keys: Keys): AsyncGenerator<Step> {
  const { previousVersion: from, version, segmentRef: ref } = patch;
  const expected: readonly Expected[] = [[keys.cursor, from]];
  const lock: Command = ['SET', keys.lock, ''];
  let changes: readonly Command[] = [];
  for await (const group of changesByHash(patch)) {
    if (changes.length > 0) yield { expected, commands: [lock, ...changes] };
    changes = group.flatMap((change) =>
      (['included', 'excluded'] as const).flatMap((list): Command[] => {
        const command = change[list] && commands[change[list]];
        return command ? [[command, keys[list](change.hash), ref]] : [];
      }),
    );
  }
  const move: readonly Command[] = version === from ? [] : [['SET', keys.cursor, version]];
  yield { expected, commands: [lock, ...changes, ...move] };
}

const commands = { add: 'SADD', remove: 'SREM' } as const;

/** A key that had another type, and that type. */
type Replaced = readonly [key: string, type: string];

/** Undefined: something is not as expected. */
async function byScript(
  redis: RedisClient['redis'],
  { expected, commands }: Step,
): Promise<readonly Replaced[] | undefined> {
  const keys = [...expected.map(([key]) => key), ...commands.map(([, key]) => key)];
  const values = expected.map(([, value]) => value);
  const changes = commands.flatMap(([name, , argument = '']) => [name, argument]);
  const answer = await runScript(redis, keys, [String(expected.length), ...values, ...changes]);
  if (!Array.isArray(answer)) return undefined;
  const texts = answer.map(String);
  return texts.flatMap((key, index): Replaced[] => (index % 2 === 0 ? [[key, texts[index + 1] ?? 'unknown']] : []));
}

/** Without an answer somebody else wrote meanwhile. */
async function tryTransaction(redis: RedisClient['redis'], keys: Keys, { expected, commands }: Step) {
  const asked = expected.map(([key]) => key);
  const sets = commands.flatMap(([name, key]) => (name === 'SADD' || name === 'SREM' ? [key] : []));
  const texts = [...asked, ...commands.flatMap(([name, key]) => (name === 'SET' ? [key] : []))];
  await redis.watch(keys.lock, ...asked, ...sets);
  const found = await redis.mget(...asked);
  if (expected.some(([, value], index) => (found[index] ?? '') !== value)) {
    await redis.unwatch();
    return 'elsewhere';
  }
  // A transaction continues after a failed command: it would move the cursor past a change that was not made.
  const wrong = [...(await keysOfOtherType(redis, texts, 'string')), ...(await keysOfOtherType(redis, sets, 'set'))];
  const transaction = redis.multi();
  for (const [key] of wrong) transaction.del(key);
  for (const [name, key, argument = ''] of commands) {
    if (name === 'SADD') transaction.sadd(key, argument);
    else if (name === 'SREM') transaction.srem(key, argument);
    else if (name === 'SET') transaction.set(key, argument);
    else transaction.del(key);
  }
  return { answer: await transaction.exec(), wrong };
}

async function keysOfOtherType(
  redis: RedisClient['redis'],
  names: readonly string[],
  type: 'string' | 'set',
): Promise<Replaced[]> {
  const pipeline = redis.pipeline();
  const different = [...new Set(names)];
  for (const name of different) pipeline.type(name);
  const answers = (await pipeline.exec()) ?? [];
  return different.flatMap((name, index): Replaced[] => {
    const [error, found] = answers[index] ?? [];
    if (error) throw error;
    return found === 'none' || found === type ? [] : [[name, String(found)]];
  });
}
