import type { Attributes, Key, SnapshotQuery } from '../../lib/flag-table/index.ts';
import type { Settings } from './config.ts';
import type { Surroundings } from './surroundings.ts';
import { type Answer, createTransport, type Problem, type Transport } from './transport.ts';
import { pause } from './within.ts';

/** One read of the table, and its deadline. */
export interface Flight {
  /** Unix ms: when the first request that was answered was made. The data is as old as that. */
  askedAt: number;
  /** Unix ms. Moved back after a freeze, during which nothing could run. */
  deadlineAt: number;
}

/** The flag table, read from the nearest replica that answers. Reads are eventually consistent. */
export interface Table {
  /** In the order of the keys; undefined if an item does not exist. Rejects if any of them could not be read. */
  get(keys: readonly Key[], flight: Flight): Promise<readonly (Attributes | undefined)[]>;
  /** The items that DynamoDB's `Query` gives, from all pages. */
  query(query: SnapshotQuery, flight: Flight): Promise<Attributes[]>;
  /** The region that answered last. */
  replica(): string | undefined;
  /** How long to wait for an answer of that region; 0 if none has answered. */
  enoughMs(): number;
}

const REST_FIRST_MS = 500;
const REST_MOST_MS = 10_000;
/** How often a read is tried at all usable replicas, as AWS's SDK does, and the first pause in between. */
const MOST_ROUNDS = 4;
const FIRST_PAUSE_MS = 25;
/** DynamoDB: BatchGetItem takes 100 keys. */
const BATCH_KEYS = 100;

type Call = (operation: string, body: Record<string, unknown>) => Promise<Answer>;

export function createTable(settings: Settings, { env, now, random }: Surroundings): Table {
  const { tableName, replicas, endpoint, coldDeadlineMs } = settings;
  const regions = replicas[env.AWS_REGION ?? 'default'] ?? replicas.default;
  const candidates = regions.map((region) => {
    const at = typeof endpoint === 'object' ? endpoint[region] : endpoint;
    return { transport: createTransport({ region, endpoint: at, env, now }), restUntil: 0, failures: 0, problem: '' };
  });
  let answered: Transport | undefined;

  /** Tries the replicas, nearest first, except those that failed recently, and repeats that while there is time. */
  async function anywhere<T>(flight: Flight, work: (call: Call) => Promise<T>): Promise<T> {
    let able = candidates.filter(({ restUntil }) => restUntil <= now());
    for (let round = 0; round < MOST_ROUNDS; round += 1) {
      const hopeful: typeof able = [];
      for (const [index, candidate] of able.entries()) {
        const { transport } = candidate;
        const left = flight.deadlineAt - now();
        if (left <= 0) break;
        const isLast = index === able.length - 1;
        const until = now() + (isLast ? left : Math.min(left, coldDeadlineMs / 2, transport.enoughMs()));
        let firstAt = Infinity;
        try {
          const result = await work(async (operation, body) => {
            const { answer, askedAt } = await transport.call(operation, body, Math.max(1, until - now()));
            firstAt = Math.min(firstAt, askedAt);
            return answer;
          });
          // A useless answer does not make the data older.
          flight.askedAt = Math.min(flight.askedAt, firstAt);
          candidate.failures = candidate.restUntil = 0;
          answered = transport;
          return result;
        } catch (problem) {
          const { message, isLasting, isOurs } = problem as Problem;
          candidate.problem = message;
          if (!isLasting) hopeful.push(candidate);
          if (isOurs) continue;
          const restMs = Math.min(REST_FIRST_MS * 2 ** candidate.failures++, REST_MOST_MS);
          candidate.restUntil = now() + restMs * (0.8 + 0.4 * random());
        }
      }
      able = hopeful;
      const pauseMs = FIRST_PAUSE_MS * 2 ** round * (0.5 + random());
      if (able.length === 0 || now() + pauseMs >= flight.deadlineAt) break;
      await pause(pauseMs);
    }
    throw new Error(
      `no replica answered: ${candidates.map((c) => `${c.transport.region}: ${c.problem || 'not asked'}`).join('; ')}`,
    );
  }

  async function batch(keys: readonly Key[], call: Call): Promise<Attributes[]> {
    const items: Attributes[] = [];
    let request: unknown = { [tableName]: { Keys: keys.map(marshal) } };
    for (let round = 0; ; round += 1) {
      const answer = await call('BatchGetItem', { RequestItems: request });
      items.push(...list(Object(answer.Responses)[tableName]));
      request = answer.UnprocessedKeys;
      if (Object.keys(Object(request)).length === 0) return items;
      if (round === 4) throw new Error('throttled');
      await pause(20 * 2 ** round * (0.5 + random()));
    }
  }

  return {
    get: (keys, flight) =>
      anywhere(flight, async (call) => {
        const [only] = keys;
        if (only && keys.length === 1) {
          return [(await call('GetItem', { TableName: tableName, Key: marshal(only) })).Item as Attributes | undefined];
        }
        // DynamoDB refuses a batch that names a key twice.
        const distinct = [...new Map(keys.map((key) => [name(key.namespace, key.key), key])).values()];
        const batches = [];
        for (let i = 0; i < distinct.length; i += BATCH_KEYS)
          batches.push(batch(distinct.slice(i, i + BATCH_KEYS), call));
        const found = (await Promise.all(batches)).flat();
        const byName = new Map(found.map((item) => [name(text(item.namespace), text(item.key)), item]));
        return keys.map((key) => byName.get(name(key.namespace, key.key)));
      }),
    query: (query, flight) =>
      anywhere(flight, async (call) => {
        const items: Attributes[] = [];
        let from: unknown;
        do {
          const answer = await call('Query', { TableName: tableName, ...query, ExclusiveStartKey: from });
          items.push(...list(answer.Items));
          from = answer.LastEvaluatedKey;
        } while (from);
        return items;
      }),
    replica: () => answered?.region,
    enoughMs: () => answered?.enoughMs() ?? 0,
  };
}

const marshal = ({ namespace, key }: Key) => ({ namespace: { S: namespace }, key: { S: key } });
const name = (namespace: string, key: string) => `${namespace}\n${key}`;
const text = (value: unknown) => Object(value).S as string;

/** Throws on a response without a list of items: it is incomplete, not empty. */
function list(value: unknown): Attributes[] {
  if (!Array.isArray(value)) throw new Error('the response has no items');
  return value;
}
