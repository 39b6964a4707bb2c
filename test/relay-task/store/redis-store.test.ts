import type { Store } from '../../../relay-task/ports.ts';
import { createRedisStore } from '../../../relay-task/store/redis-store.ts';
import { describeFlagStore } from '../../contract/flag-store.ts';
import { silentLog } from '../../support/logs.ts';
import { hasRedis, redisAt, startRedis } from '../../support/redis.ts';
import { quickReplica } from './open-replicas.ts';

if (hasRedis)
  describeFlagStore('the Redis store', async () => {
    const server = await startRedis();
    const opened: Store[] = [];
    return {
      atOnce: 200,
      async open(memory, writer) {
        const store = createRedisStore({
          ...{ connection: redisAt(server.port), prefix: 'env', writer, view: memory },
          ...{ log: silentLog, timings: quickReplica, source: () => memory.source },
        });
        opened.push(store);
        memory.listen(store);
        return store;
      },
      async lose(what) {
        if (what === 'everything') await server.client.flushall();
        else await server.client.del('env:features');
      },
      async look() {
        const [marked, flags] = (await server.client.multi().exists('env:$inited').hlen('env:features').exec())!;
        return { marked: marked?.[1] === 1, flags: Number(flags?.[1]) };
      },
      async texts() {
        const texts: Record<string, string> = {};
        for (const kind of ['features', 'segments']) {
          const hash = await server.client.hgetall(`env:${kind}`);
          for (const [key, text] of Object.entries(hash)) texts[`${kind}/${key}`] = text;
        }
        return texts;
      },
      async close() {
        await Promise.all(opened.map((store) => store.close()));
        await server.close();
      },
    };
  });
else test.skip('the Redis store (needs redis-server)', () => {});
