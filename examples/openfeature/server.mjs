import { OFREPProvider } from '@openfeature/ofrep-provider';
import { OpenFeature } from '@openfeature/server-sdk';

// One request to the relay for each evaluation.
const provider = new OFREPProvider({
  baseUrl: process.env.RELAY_URL ?? 'http://127.0.0.1:8030',
  headers: [['Authorization', `Bearer ${process.env.LD_SDK_KEY ?? 'sdk-local'}`]],
});
await OpenFeature.setProviderAndWait(provider);

const client = OpenFeature.getClient();
const { value, reason } = await client.getStringDetails('canary-checkout', 'stable', { targetingKey: 'tester' });
console.log(`canary-checkout: ${value} (${reason})`);

await OpenFeature.close();
