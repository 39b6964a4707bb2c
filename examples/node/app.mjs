import { init } from '@launchdarkly/node-server-sdk';

const relay = process.env.RELAY_URL ?? 'http://127.0.0.1:8030';
const client = init(process.env.LD_SDK_KEY ?? 'sdk-local', { streamUri: relay, baseUri: relay, eventsUri: relay });
await client.waitForInitialization({ timeout: 10 });

const { value, reason } = await client.variationDetail('canary-checkout', { kind: 'user', key: 'tester' }, 'stable');
console.log(`canary-checkout: ${value} (${reason.kind})`);

await client.flush();
client.close();
