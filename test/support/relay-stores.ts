import type { Variables } from '../../relay-task/config/config.ts';
import { startConsul } from './consul-server.ts';
import { startTable } from './dynalite.ts';
import type { closeAfterEach } from './opened.ts';
import { hasRedis, startRedis } from './redis.ts';

/** By name: starts an empty database and returns the settings of a relay that uses it. Redis only where it is installed. */
export function relayStores({
  opened,
}: Pick<ReturnType<typeof closeAfterEach>, 'opened'>): Record<string, () => Promise<Variables>> {
  return {
    async DynamoDB() {
      const { tableName, endpoint } = opened(await startTable());
      return { USE_DYNAMODB: 'true', DYNAMODB_TABLE: tableName, DYNAMODB_URL: endpoint };
    },
    async Consul() {
      return { USE_CONSUL: 'true', CONSUL_HOST: new URL(opened(await startConsul()).address).host };
    },
    ...(hasRedis && {
      async Redis() {
        return { USE_REDIS: 'true', REDIS_HOST: '127.0.0.1', REDIS_PORT: String(opened(await startRedis()).port) };
      },
    }),
  };
}
