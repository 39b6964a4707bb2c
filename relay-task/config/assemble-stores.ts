/** Which stores there are, and where. */

import { boolean } from '../common/setting-values.ts';
import type { Config, RedisConfig } from './config.ts';
import { lastOf, type Piece, type Pieces } from './gather.ts';
import { nameOf } from './places.ts';
import type { Values } from './read-settings.ts';
import { settings } from './settings.ts';
import { CONSUL_PORT, REDIS_PORT } from './settings-stores.ts';

const REDIS_ADDRESS = ['redisUrl', 'redisHost', 'redisPort', 'redisSentinels'];

const inFile = ({ place }: Piece) => !('variable' in place);

/**
 * As ld-relay has it, variables of a store that is not in use are not read: they may be somebody else's. Kubernetes
 * invents a REDIS_PORT wherever a service is called redis.
 */
export function withoutIdleStores(pieces: Pieces, warnings: string[]): Pieces {
  const isOn = (key: string) => {
    const result = boolean(lastOf(pieces, key)?.text || 'false');
    return 'value' in result && result.value;
  };
  // An address in the file makes ld-relay read the variables even where USE_REDIS is not set.
  const redisInFile = REDIS_ADDRESS.some((key) => pieces.get(key)?.some(inFile));
  const inUse: Record<string, boolean> = {
    Redis: isOn('useRedis') || redisInFile,
    Consul: isOn('useConsul'),
    DynamoDB: isOn('useDynamoDB'),
  };
  const switches: Record<string, string> = { Redis: 'USE_REDIS', Consul: 'USE_CONSUL', DynamoDB: 'USE_DYNAMODB' };
  const kept = new Map(pieces);
  for (const [key, given] of pieces) {
    const { section, env } = settings[key as keyof typeof settings];
    const use = switches[section];
    if (use === undefined || inUse[section] || env === use || env === 'AWS_REGION') continue;
    keepOrDrop(kept, key, inFile);
    for (const { place, text } of given.filter((piece) => !inFile(piece))) {
      if (!text.startsWith('tcp://')) warnings.push(`${nameOf(place)} has no effect: ${use} is not set`);
    }
  }
  // As ld-relay has it, too: the switch sets the host back to localhost before the variable is read.
  const host = lastOf(kept, 'consulHost');
  if (isOn('useConsul') && host && inFile(host)) {
    warnings.push(`${nameOf(host.place)} has no effect: USE_CONSUL=true means localhost unless CONSUL_HOST is set`);
    kept.delete('consulHost');
  }
  settleRedisAddress(kept, warnings);
  return kept;
}

/** Where the variables speak of another address than the file. */
function settleRedisAddress(pieces: Map<string, readonly Piece[]>, warnings: string[]): void {
  const off = lastOf(pieces, 'useRedis');
  const stated = REDIS_ADDRESS.flatMap((key) => (pieces.get(key) ?? []).filter(inFile));
  const [first] = stated;
  if (off && first && /^(false|0|no|off)$/i.test(off.text)) {
    warnings.push(`${nameOf(off.place)} does not switch off what the file says: ${nameOf(first.place)}`);
  }
  const port = lastOf(pieces, 'redisPort');
  // Nobody has asked for a linked container where an address is given.
  const better = first ?? lastOf(pieces, 'redisUrl') ?? lastOf(pieces, 'redisSentinels');
  if (port?.text.startsWith('tcp://') && !inFile(port) && better) {
    warnings.push(`${nameOf(port.place)} has no effect: ${nameOf(better.place)} says where Redis is`);
    keepOrDrop(pieces, 'redisPort', inFile);
  }
  const url = lastOf(pieces, 'redisUrl');
  if (url && !inFile(url))
    for (const key of ['redisHost', 'redisPort']) keepOrDrop(pieces, key, (piece) => !inFile(piece));
}

function keepOrDrop(pieces: Map<string, readonly Piece[]>, key: string, keeps: (piece: Piece) => boolean): void {
  const kept = (pieces.get(key) ?? []).filter(keeps);
  if (kept.length > 0) pieces.set(key, kept);
  else pieces.delete(key);
}

export function assembleStores(
  values: Values<typeof settings>,
  pieces: Pieces,
): Pick<Config, 'storeWriter' | 'awsRegion' | 'dynamoDB' | 'redis' | 'consul'> {
  const { dynamoDBTable: tableName, dynamoDBUrl: url, awsRegion: region } = values;
  const useRedis = values.useRedis || REDIS_ADDRESS.some((key) => pieces.get(key)?.at(-1)?.text);
  const useConsul = values.useConsul || lastOf(pieces, 'consulHost')?.text;
  return {
    storeWriter: values.storeWriter,
    awsRegion: region,
    dynamoDB: values.useDynamoDB ? { tableName, url, region } : undefined,
    redis: useRedis ? redisPart(values) : undefined,
    consul: useConsul
      ? {
          address: values.consulHost ?? `http://localhost:${CONSUL_PORT}`,
          token: values.consulToken,
          tokenFile: values.consulTokenFile,
        }
      : undefined,
  };
}

function redisPart(values: Values<typeof settings>): RedisConfig {
  const { redisUrl: url, redisPort: port, redisSentinels: nodes, redisSentinelMaster: master } = values;
  return {
    host: url?.host ?? port?.host ?? values.redisHost ?? 'localhost',
    port: url?.port ?? port?.port ?? REDIS_PORT,
    db: url?.db ?? 0,
    tls: values.redisTls || (url?.tls ?? false),
    username: values.redisUsername ?? url?.username,
    password: values.redisPassword ?? url?.password,
    certFile: values.redisClientCertFile,
    keyFile: values.redisClientKeyFile,
    caFile: values.redisCaFile,
    connectTimeoutMs: values.redisConnectTimeoutMs,
    readTimeoutMs: values.redisReadTimeoutMs,
    sentinel:
      nodes && master
        ? { nodes, master, username: values.redisSentinelUsername, password: values.redisSentinelPassword }
        : undefined,
    cluster: values.redisCluster,
  };
}
