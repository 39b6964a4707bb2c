/** Which stores are in use, and where they are. */
import { lastOf, type Pieces } from './gather.ts';
import type { Setting, Values } from './setting.ts';
import { settings } from './settings.ts';
import { CONSUL_PORT, REDIS_PORT } from './settings-stores.ts';

const { redis, consul } = settings;

export const REDIS_ADDRESS: readonly Setting<unknown>[] = [
  redis.url,
  redis.host,
  redis.port,
  redis.sentinels,
  redis.clusterNodes,
];

/** Every kind of store: its key in the configuration, its name, and whether an environment can have a table of its own. */
const STORES = [
  { key: 'dynamoDB', name: 'DynamoDB', hasTables: true },
  { key: 'redis', name: 'Redis', hasTables: false },
  { key: 'consul', name: 'Consul', hasTables: false },
] as const;

/** Those in use. */
export function storesIn(config: Readonly<Record<(typeof STORES)[number]['key'], unknown>>) {
  return STORES.filter(({ key }) => config[key] !== undefined);
}

/** Whether a table of its own sets an environment apart from others in every store. */
export function areTablesSeparate(config: Parameters<typeof storesIn>[0]): boolean {
  return storesIn(config).every(({ hasTables }) => hasTables);
}

type StoreValues = Pick<Values<typeof settings>, 'dynamoDB' | 'redis' | 'consul'>;

export function assembleStores(values: StoreValues, pieces: Pieces) {
  const { enabled, ...table } = values.dynamoDB;
  const useRedis = values.redis.enabled || REDIS_ADDRESS.some((setting) => lastOf(pieces, setting)?.text);
  const useConsul = values.consul.enabled || lastOf(pieces, consul.address)?.text;
  return {
    awsRegion: table.region,
    dynamoDB: enabled ? table : undefined,
    redis: useRedis ? redisOf(values.redis) : undefined,
    consul: useConsul ? consulOf(values.consul) : undefined,
  };
}

function consulOf({ address, token, tokenFile }: StoreValues['consul']) {
  return { address: address ?? `http://localhost:${CONSUL_PORT}`, token, tokenFile };
}

/** With `sentinel` or `cluster` (its nodes, as far as they are set), host and port are not used. */
export type RedisConfig = ReturnType<typeof redisOf>;

function redisOf(values: StoreValues['redis']) {
  const { enabled: _, url, port, sentinels: nodes, sentinelMaster: master, ...more } = values;
  const { sentinelUsername, sentinelPassword, cluster, clusterNodes, ...redis } = more;
  const host = url?.host ?? port?.host ?? redis.host;
  const address = { host: host ?? 'localhost', port: url?.port ?? port?.port ?? REDIS_PORT };
  const isAddressSet = host !== undefined || port !== undefined;
  const seeds = [...(isAddressSet || !clusterNodes ? [address] : []), ...(clusterNodes ?? [])];
  return {
    ...redis,
    ...address,
    cluster: cluster || clusterNodes ? seeds : undefined,
    db: url?.db ?? 0,
    tls: redis.tls || (url?.tls ?? false),
    username: redis.username ?? url?.username,
    password: redis.password ?? url?.password,
    sentinel: nodes && master ? { nodes, master, username: sentinelUsername, password: sentinelPassword } : undefined,
  };
}
