/** A relay with a flag table, Consul and events, which reports most of its metrics. */
import { join } from 'node:path';
import { startConsul } from './consul-server.ts';
import { startTable } from './dynalite.ts';
import { eventually } from './eventually.ts';
import type { closeAfterEach } from './opened.ts';
import { startTestRelay } from './start-relay.ts';

/** What it answers to Prometheus once it has served a client and writes its table. */
export async function metricsOfRelay({ opened }: Pick<ReturnType<typeof closeAfterEach>, 'opened'>): Promise<string> {
  const { tableName, endpoint } = opened(await startTable());
  const consul = opened(await startConsul());
  const flags = join(import.meta.dirname, '../../examples/flags.json');
  const relay = opened(
    await startTestRelay({
      ...{ LD_ENV_shop: 'sdk-shop', LD_FLAGS_FILE_shop: flags, LD_PREFIX_shop: 'shop' },
      ...{ USE_DYNAMODB: 'true', DYNAMODB_TABLE: tableName, DYNAMODB_URL: endpoint },
      ...{ USE_EVENTS: 'true', EVENTS_HOST: 'http://127.0.0.1:9' },
      ...{ USE_CONSUL: 'true', CONSUL_HOST: new URL(consul.address).host },
    }),
  );
  const answer = await fetch(`${relay.uri}/sdk/latest-all`, { headers: { authorization: 'sdk-shop' } });
  expect(answer.status).toBe(200);
  return eventually(async () => {
    const { body } = await relay.metrics.text();
    expect(body).toMatch(/^launchdarkly_relay_store_lease_held\{[^}]*\} 1$/m);
    return body;
  });
}
