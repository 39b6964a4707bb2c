/** LaunchDarkly's Node server SDK with flags in memory: daemon mode over a store that answers at once, without events. */
import { reviveFullPayload } from '@launchdarkly/js-server-sdk-common';
import { init, type LDClient } from '@launchdarkly/node-server-sdk';
import { silentLog } from '../support/logs.ts';

type Items = Readonly<Record<string, unknown>>;

/** The client takes the objects over and changes them. */
export async function startOfficialClient(data: {
  readonly flags: Items;
  readonly segments: Items;
}): Promise<LDClient> {
  reviveFullPayload(data as never);
  const tables: Record<string, Map<string, unknown>> = {
    features: new Map(Object.entries(data.flags)),
    segments: new Map(Object.entries(data.segments)),
  };
  const client = init('sdk-key', {
    useLdd: true,
    sendEvents: false,
    diagnosticOptOut: true,
    logger: silentLog,
    featureStore: {
      get: (kind: { namespace: string }, key: string, callback: (item: unknown) => void) =>
        callback(tables[kind.namespace]?.get(key) ?? null),
      initialized: (callback: (is: boolean) => void) => callback(true),
      close() {},
    } as never,
  });
  await client.waitForInitialization({ timeout: 60 });
  return client;
}
