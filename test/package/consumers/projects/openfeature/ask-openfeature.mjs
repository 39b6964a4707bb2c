import { OpenFeature } from '@openfeature/server-sdk';
import { createReader } from 'edge-flag-relay/edge-reader';
import { createOpenFeatureProvider } from 'edge-flag-relay/openfeature';

const reader = createReader({
  tableName: 'flags',
  prefix: 'production',
  replicas: { default: ['us-east-1'] },
  // The test's machine may be slow.
  coldDeadlineMs: 30_000,
  endpoint: process.env.FLAGS_ENDPOINT,
});
await OpenFeature.setProviderAndWait(createOpenFeatureProvider(reader));
const client = OpenFeature.getClient();

export async function handler({ users }) {
  const answers = [];
  for (const targetingKey of users) {
    const { value, reason } = await client.getStringDetails('canary-checkout', 'fallback', { targetingKey });
    answers.push({ value, reason });
  }
  return answers;
}
