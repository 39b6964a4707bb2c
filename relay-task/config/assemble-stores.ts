/** Which stores are in use, and where they are. */
import type { Findings } from './findings.ts';
import { lastOf, type Piece, type Pieces, switchOf } from './gather.ts';
import { nameOf } from './places.ts';
import type { Setting, Values } from './setting.ts';
import { settings } from './settings.ts';
import { CONSUL_PORT, REDIS_PORT } from './settings-stores.ts';

const { redis, consul, dynamoDB } = settings;

const REDIS_ADDRESS: readonly Setting<unknown>[] = [
  redis.url,
  redis.host,
  redis.port,
  redis.sentinels,
  redis.clusterNodes,
];

const inFile = ({ place }: Piece) => !('variable' in place);

/**
 * Like ld-relay, ignores the variables of a store that is not in use: they may belong to something else. Kubernetes
 * sets REDIS_PORT wherever a service is called redis.
 */
export function withoutIdleStores(pieces: Pieces, findings: Findings): Pieces {
  const inUse = new Map<string, boolean | undefined>([
    // As in ld-relay, an address in the file is enough for the variables to count, even without USE_REDIS.
    ['Redis', switchOf(pieces, redis.enabled) || REDIS_ADDRESS.some((setting) => pieces.get(setting)?.some(inFile))],
    ['Consul', switchOf(pieces, consul.enabled)],
    ['DynamoDB', switchOf(pieces, dynamoDB.enabled)],
  ]);
  const switches: readonly Setting<unknown>[] = [redis.enabled, consul.enabled, dynamoDB.enabled];
  const kept = new Map(pieces);
  for (const [setting, given] of pieces) {
    const { section } = setting;
    const use = switches.find((one) => one.section === section);
    if (!use || inUse.get(section) || setting === use || setting === dynamoDB.region) continue;
    keepOnly(kept, setting, inFile);
    for (const { place, text } of given.filter((piece) => !inFile(piece))) {
      if (!text.startsWith('tcp://')) findings.warning(`${nameOf(place)} has no effect: ${use.env} is not set`);
    }
  }
  // As in ld-relay, the switch resets the host to localhost before the variable is read.
  const host = lastOf(kept, consul.address);
  if (inUse.get('Consul') && host && inFile(host)) {
    findings.warning(`${nameOf(host.place)} has no effect: USE_CONSUL=true means localhost unless CONSUL_HOST is set`);
    kept.delete(consul.address);
  }
  settleRedisAddress(kept, findings);
  return kept;
}

/** Decides between the address in the file and the one in the variables. */
function settleRedisAddress(pieces: Map<Setting<unknown>, readonly Piece[]>, findings: Findings): void {
  const off = lastOf(pieces, redis.enabled);
  const [first] = REDIS_ADDRESS.flatMap((setting) => (pieces.get(setting) ?? []).filter(inFile));
  if (off && first && switchOf(pieces, redis.enabled) === false) {
    findings.warning(`${nameOf(off.place)} does not switch Redis off: its address is set by ${nameOf(first.place)}`);
  }
  const port = lastOf(pieces, redis.port);
  // A linked container is not meant if an address is given.
  const better =
    first ?? [redis.url, redis.sentinels, redis.clusterNodes].map((one) => lastOf(pieces, one)).find(Boolean);
  if (port?.text.startsWith('tcp://') && !inFile(port) && better) {
    findings.warning(`${nameOf(port.place)} has no effect: the address of Redis is set by ${nameOf(better.place)}`);
    keepOnly(pieces, redis.port, inFile);
  }
  const url = lastOf(pieces, redis.url);
  if (url && !inFile(url)) {
    for (const setting of [redis.host, redis.port]) keepOnly(pieces, setting, (piece) => !inFile(piece));
  }
}

function keepOnly(
  pieces: Map<Setting<unknown>, readonly Piece[]>,
  setting: Setting<unknown>,
  keeps: (piece: Piece) => boolean,
): void {
  const kept = (pieces.get(setting) ?? []).filter(keeps);
  if (kept.length > 0) pieces.set(setting, kept);
  else pieces.delete(setting);
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
