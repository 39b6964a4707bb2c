/** Replicas of memory: DynamoDB, Redis, Consul, any number of them at once. */
import {
  boolean,
  durationFrom,
  hostAndPort,
  hostsAndPorts,
  httpUrl,
  oneOf,
  type Reader,
  text,
} from '../common/setting-values.ts';
import { inSection } from './setting.ts';

const store = inSection('Store');
const dynamoDB = inSection('DynamoDB');
const redis = inSection('Redis');
const consul = inSection('Consul');

export const REDIS_PORT = 6379;
export const CONSUL_PORT = 8500;

/** `REDIS_PORT` is an address where Docker or Kubernetes link a container called redis. */
interface LinkedPort {
  readonly host?: string;
  readonly port: number;
}

const linkedPort: Reader<LinkedPort> = (value) => {
  const wanted = { wanted: 'a port from 1 to 65535, or tcp://host:port' };
  const linked = value.startsWith('tcp://');
  const result = hostAndPort(REDIS_PORT)(linked ? value.slice('tcp://'.length) : `_:${value}`);
  if (!('value' in result)) return wanted;
  return { value: linked ? result.value : { port: result.value.port } };
};

interface RedisAddress {
  readonly host: string;
  readonly port: number;
  readonly tls: boolean;
  readonly username?: string;
  readonly password?: string;
  readonly db: number;
}

const redisUrl: Reader<RedisAddress> = (value) => {
  const wanted = {
    wanted: 'a URL such as redis://host:6379, redis://user:password@host:6379/0 or rediss://host:6380',
  };
  try {
    const { protocol, hostname, port, username, password, pathname } = new URL(value);
    const [, db] = /^\/?(\d{0,4})$/.exec(pathname) ?? [];
    if (!/^rediss?:$/.test(protocol) || !value.includes('://') || db === undefined) return wanted;
    return {
      value: {
        host: hostname.replace(/^\[(.*)\]$/, '$1') || 'localhost',
        port: port === '' ? REDIS_PORT : Number(port),
        tls: protocol === 'rediss:',
        ...(username !== '' && { username: decodeURIComponent(username) }),
        ...(password !== '' && { password: decodeURIComponent(password) }),
        db: Number(db || 0),
      },
    };
  } catch {
    return wanted;
  }
};

/** Where a Consul agent is: `host`, `host:port`, or an address with its scheme; as an address. */
const consulAddress: Reader<string> = (value) => {
  if (value.includes('://')) return httpUrl(value);
  const result = hostAndPort(CONSUL_PORT)(value);
  if (!('value' in result)) return result;
  const { host, port } = result.value;
  return { value: `http://${host.includes(':') ? `[${host}]` : host}:${port}` };
};

export const storeSettings = {
  storeWriter: store.setting(
    'writer',
    'STORE_WRITER',
    oneOf('auto', 'never'),
    'auto',
    '`auto`: compete for the write lease; `never`: boot from the store but never write to it, as relays outside the home region must',
  ),
  dynamoDB: {
    enabled: dynamoDB.setting('enabled', 'USE_DYNAMODB', boolean, 'false', 'keep a DynamoDB table up to date'),
    tableName: dynamoDB.optional('tableName', 'DYNAMODB_TABLE', text, 'the table for environments without their own'),
    url: dynamoDB.optional('url', 'DYNAMODB_URL', httpUrl, "the DynamoDB endpoint, if not the region's default"),
    region: dynamoDB.optional(
      'region',
      'AWS_REGION',
      text,
      "the DynamoDB table's region, if AWS's own configuration does not set it",
    ),
  },
  redis: {
    enabled: redis.setting(
      undefined,
      'USE_REDIS',
      boolean,
      'false',
      'keep Redis up to date; in the file, set `url`, `host`, `port`, `sentinels` or `clusterNodes` instead. Without it, the variables below are ignored',
    ),
    url: redis.optional(
      'url',
      'REDIS_URL',
      redisUrl,
      'the URL of Redis, instead of host and port; `rediss://` for TLS, `/<number>` for a database',
      { secret: true },
    ),
    host: redis.optional('host', 'REDIS_HOST', text, 'the host of Redis; `localhost` by default'),
    port: redis.optional(
      'port',
      'REDIS_PORT',
      linkedPort,
      'the port of Redis; 6379 by default. Also accepts `tcp://host:port`, as set for linked containers',
    ),
    tls: redis.setting(
      'tls',
      'REDIS_TLS',
      boolean,
      'false',
      'connect to Redis with TLS, even if the URL is not `rediss://`',
    ),
    username: redis.optional('username', 'REDIS_USERNAME', text, 'the Redis user'),
    password: redis.optional('password', 'REDIS_PASSWORD', text, "that user's password", { secret: true }),
    certFile: redis.optional('clientCertFile', 'REDIS_CLIENT_CERT_FILE', text, 'a PEM file with a client certificate'),
    keyFile: redis.optional(
      'clientKeyFile',
      'REDIS_CLIENT_KEY_FILE',
      text,
      "a PEM file with the client certificate's private key",
    ),
    caFile: redis.optional(
      'caFile',
      'REDIS_CA_FILE',
      text,
      'a PEM file with the certificate authorities to verify Redis against',
    ),
    connectTimeoutMs: redis.setting(
      'connectTimeout',
      'REDIS_CONNECT_TIMEOUT',
      durationFrom(1, '1ms'),
      '5s',
      'how long connecting may take',
    ),
    readTimeoutMs: redis.setting(
      'readTimeout',
      'REDIS_READ_TIMEOUT',
      durationFrom(1, '1ms'),
      '5s',
      'how long a command may take',
    ),
    sentinels: redis.optional(
      'sentinels',
      'REDIS_SENTINELS',
      hostsAndPorts(26_379),
      'comma-separated Sentinels that provide the address of the master, instead of an address',
    ),
    sentinelMaster: redis.optional('sentinelMaster', 'REDIS_SENTINEL_MASTER', text, 'the name of the master'),
    sentinelUsername: redis.optional(
      'sentinelUsername',
      'REDIS_SENTINEL_USERNAME',
      text,
      "the Sentinels' own user, if they have one",
    ),
    sentinelPassword: redis.optional(
      'sentinelPassword',
      'REDIS_SENTINEL_PASSWORD',
      text,
      "the Sentinels' own password, if they have one",
      { secret: true },
    ),
    cluster: redis.setting(
      'cluster',
      'REDIS_CLUSTER',
      boolean,
      'false',
      'the address is a node of a Redis Cluster; a prefix without a part in braces is then put in braces in Redis: `{production}`',
    ),
    clusterNodes: redis.optional(
      'clusterNodes',
      'REDIS_CLUSTER_NODES',
      hostsAndPorts(REDIS_PORT),
      'comma-separated nodes of a Redis Cluster, beside the address or instead of it: at start one that answers is enough',
    ),
  },
  consul: {
    enabled: consul.setting(
      undefined,
      'USE_CONSUL',
      boolean,
      'false',
      'keep Consul up to date; in the file, set `host` instead. Without it, the variables below are ignored',
    ),
    address: consul.optional(
      'host',
      'CONSUL_HOST',
      consulAddress,
      'the Consul agent: host, host:port or a URL; `localhost:8500` by default',
    ),
    token: consul.optional('token', 'CONSUL_TOKEN', text, 'the ACL token', { secret: true }),
    tokenFile: consul.optional('tokenFile', 'CONSUL_TOKEN_FILE', text, 'a file with the ACL token'),
  },
} as const;
