import { OpenFeature } from '@openfeature/server-sdk';
import { createReader } from 'edge-flag-relay/edge-reader';
import { createOpenFeatureProvider } from 'edge-flag-relay/openfeature';

const reader = createReader({
  tableName: process.env.FLAG_TABLE ?? 'edge-flag-relay-local',
  prefix: process.env.FLAG_PREFIX ?? 'local',
  replicas: { default: ['eu-west-1', 'us-east-1'] },
  endpoint: process.env.AWS_ENDPOINT_URL_DYNAMODB,
});
// Rejects while the table cannot be read: evaluations then give their fallbacks, until it can.
const ready = OpenFeature.setProviderAndWait(createOpenFeatureProvider(reader)).catch(console.error);

export async function handler({ user }: { readonly user: string }) {
  await ready;
  const context = { targetingKey: user };
  const { value, reason } = await OpenFeature.getClient().getStringDetails('canary-checkout', 'stable', context);
  return { version: value, reason };
}
