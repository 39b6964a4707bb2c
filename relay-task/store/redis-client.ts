import { createHash } from 'node:crypto';
import { Cluster, Redis, type RedisOptions } from 'ioredis';
import { backoffMs } from '../common/backoff.ts';
import { errorText } from '../common/error-text.ts';
import './redis-replies.ts';

/** Where a Redis is and how it is spoken to. */
export type RedisConnection = RedisAccess & (RedisAddress | RedisSentinels | RedisNodes);

interface RedisAccess {
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  /** Number of the database. Clusters have only 0. */
  readonly db?: number | undefined;
  readonly tls?: boolean | undefined;
  /** PEM; with any of them TLS is on. */
  readonly ca?: string | undefined;
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
  readonly connectTimeoutMs: number;
  /** After how long without an answer a command has failed. */
  readonly commandTimeoutMs: number;
}

interface RedisAddress {
  readonly host: string;
  readonly port: number;
}

interface RedisSentinels {
  readonly sentinels: readonly RedisAddress[];
  /** The name under which the sentinels know the master. */
  readonly master: string;
  readonly sentinelUsername?: string | undefined;
  readonly sentinelPassword?: string | undefined;
}

interface RedisNodes {
  /** Some nodes of a Redis Cluster; the others are learned from them. */
  readonly cluster: readonly RedisAddress[];
}

/** A connection that repairs itself. One serves any number of stores; its creator closes it. */
export interface RedisClient {
  readonly redis: Redis | Cluster;
  readonly isCluster: boolean;
  /** For people; without user and password. */
  readonly server: string;
  /** Settles in time whatever the server does. Rejects with what is really wrong, as far as it is known. */
  call<T>(send: (redis: Redis | Cluster) => Promise<T>): Promise<T>;
  /** Calls the listener after every reconnection; returns a function that stops that. */
  onReady(listener: () => void): () => void;
  close(): Promise<void>;
}

const longestPauseMs = 2_000;
/** The server accepts no writes at present, or none from this client. A new connection may reach one that does. */
const wrongServer = /\b(READONLY|MASTERDOWN)\b/;

/** Connects at the first command. Nothing is thrown when the server is unreachable: it is retried without end, with jitter. */
export function createRedisClient(connection: RedisConnection): RedisClient {
  const { connectTimeoutMs, commandTimeoutMs } = connection;
  const settled = settle(connection);
  /** Connections since a command was last answered: one that is made only to be refused a moment later is no success. */
  let attempts = 0;
  const retryStrategy = () => {
    attempts += 1;
    return backoffMs(attempts, { firstMs: 50, maxMs: longestPauseMs });
  };
  const common: CommonOptions = {
    ...settled.access,
    lazyConnect: true,
    connectTimeout: connectTimeoutMs,
    // A connection that hangs is given up as well, else every later command would wait behind it.
    socketTimeout: commandTimeoutMs,
    // What was under way when a connection broke has failed: the store reads before it writes again.
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    // LOADING is an answer like others, and users without the right to INFO exist.
    enableReadyCheck: false,
    // Its answer, coming after the connection is gone again, makes ioredis 5.11 consider the client ready from then on.
    disableClientInfo: true,
    retryStrategy,
    reconnectOnError: (error) => wrongServer.test(error.message),
  };
  const redis = clientFor(connection, common);
  const isCluster = redis instanceof Cluster;
  let lastProblem: Error | undefined;

  const note = (error: Error) => {
    lastProblem = error;
  };
  // One listener for each store, and one client may serve hundreds.
  redis.setMaxListeners(0);
  redis.on('error', note);
  // What a node of a cluster says is more than the cluster's "none of your nodes is available".
  if (isCluster) redis.on('node error', note);
  if (redis instanceof Cluster) redis.on('+node', forgetTimeout);
  else forgetTimeout(redis);
  redis.on('ready', () => {
    lastProblem = undefined;
  });

  return {
    redis,
    isCluster,
    server: settled.server,
    call(send) {
      return new Promise((resolve, reject) => {
        const late = () => {
          const reason = new Error(`no answer within ${commandTimeoutMs} ms`);
          reject(lastProblem ?? reason);
          // Else more and more commands would wait for a server that sends a byte now and then.
          for (const node of redis instanceof Cluster ? redis.nodes() : [redis]) {
            if (node.commandQueue.length > 0) node.stream.destroy(reason);
          }
        };
        const timer = setTimeout(late, commandTimeoutMs + connectTimeoutMs);
        send(redis)
          .then(
            (answer) => {
              attempts = 0;
              resolve(answer);
            },
            (error: Error) =>
              reject(isAboutTheConnection(error) ? (lastProblem ?? new Error('the connection was closed')) : error),
          )
          .finally(() => clearTimeout(timer));
      });
    },
    onReady(listener) {
      redis.on('ready', listener);
      return () => redis.off('ready', listener);
    },
    async close() {
      redis.disconnect();
    },
  };
}

/** When a connection ends before a command is answered, ioredis 5.11 leaves its timer running, which then destroys the next connection. */
function forgetTimeout(node: Redis): void {
  const held = node as unknown as { socketTimeoutTimer?: NodeJS.Timeout | undefined };
  node.on('close', () => {
    clearTimeout(held.socketTimeoutTimer);
    held.socketTimeoutTimer = undefined;
  });
}

type CommonOptions = RedisOptions & { readonly retryStrategy: () => number };

/** One server, a Cluster, or the master that Sentinels name. */
function clientFor(connection: RedisConnection, common: CommonOptions): Redis | Cluster {
  const { retryStrategy } = common;
  if ('cluster' in connection) {
    const { retryStrategy: _, db: __, ...redisOptions } = common;
    return new Cluster([...connection.cluster], {
      redisOptions,
      lazyConnect: true,
      clusterRetryStrategy: retryStrategy,
      slotsRefreshTimeout: common.connectTimeout,
      // A failover takes seconds: then the store tries again, rather than the client inside one command.
      maxRedirections: 8,
      retryDelayOnFailover: 100,
      retryDelayOnClusterDown: 100,
      // Names in certificates are the nodes' own.
      ...(common.tls && { dnsLookup: (address, done) => done(null, address) }),
    });
  }
  if (!('sentinels' in connection)) return new Redis({ ...common, host: connection.host, port: connection.port });
  return new Redis({
    ...common,
    sentinels: [...connection.sentinels],
    name: connection.master,
    sentinelUsername: connection.sentinelUsername,
    sentinelPassword: connection.sentinelPassword,
    ...(common.tls && { sentinelTLS: common.tls, enableTLSForSentinelMode: true }),
    sentinelRetryStrategy: retryStrategy,
  });
}

/** Runs a script by its digest, and sends its text to a server that does not have it. Answers with buffers. */
export function createScript(text: string) {
  const digest = createHash('sha1').update(text).digest('hex');
  return async (redis: Redis | Cluster, keys: readonly string[], args: readonly string[]): Promise<unknown> => {
    try {
      return await redis.callBuffer('EVALSHA', digest, keys.length, ...keys, ...args);
    } catch (error) {
      if (!(error as Error).message.startsWith('NOSCRIPT')) throw error;
      return redis.callBuffer('EVAL', text, keys.length, ...keys, ...args);
    }
  };
}

/** Errors about the client's own queue. */
function isAboutTheConnection({ name, message }: Error): boolean {
  return (
    name === 'MaxRetriesPerRequestError' || name === 'ClusterAllFailedError' || message === 'Connection is closed.'
  );
}

/** One sentence about an error; ioredis keeps commands with their arguments in its errors, so only the message is shown. */
export function describeRedisError(error: unknown): string {
  const { lastNodeError } = Object(error) as { lastNodeError?: Error };
  return lastNodeError ? `${errorText(error)}: ${errorText(lastNodeError)}` : errorText(error);
}

/** Access to a server, and its address for people. */
function settle(connection: RedisConnection) {
  const { ca, cert, key, username, password, db = 0 } = connection;
  const secure = connection.tls ?? [ca, cert, key].some((pem) => pem !== undefined);
  return {
    access: {
      ...(username && { username }),
      ...(password && { password }),
      ...(db !== 0 && { db }),
      ...(secure && { tls: { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) } }),
    } satisfies RedisOptions,
    server: serverOf(connection, secure ? 'rediss' : 'redis'),
  };
}

function serverOf(connection: RedisConnection, scheme: 'redis' | 'rediss'): string {
  const path = connection.db ? `/${connection.db}` : '';
  const list = (addresses: readonly RedisAddress[]) => addresses.map((one) => `${one.host}:${one.port}`).join(',');
  if ('cluster' in connection) return `${scheme}+cluster://${list(connection.cluster)}`;
  if ('sentinels' in connection)
    return `${scheme}+sentinel://${list(connection.sentinels)}/${connection.master}${path}`;
  const { host, port } = connection;
  return `${scheme}://${host.includes(':') ? `[${host}]` : host}:${port}${path}`;
}
