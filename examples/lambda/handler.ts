import { createReader } from 'edge-flag-relay/edge-reader';

// At module load: the first read runs while Lambda initialises.
const reader = createReader({
  tableName: process.env.FLAG_TABLE ?? 'edge-flag-relay-local',
  prefix: process.env.FLAG_PREFIX ?? 'local',
  // Execution region → regions with a replica, nearest first.
  replicas: { 'us-west-2': ['us-east-1', 'eu-west-1'], default: ['eu-west-1', 'us-east-1'] },
  // Not set in AWS. For the table of `npm start`: http://127.0.0.1:8000.
  endpoint: process.env.AWS_ENDPOINT_URL_DYNAMODB,
});

export async function handler({ user }: { readonly user: string }) {
  const { value, reason } = await reader.variationDetail('canary-checkout', { kind: 'user', key: user }, 'stable');
  return { version: value, reason: reason.kind };
}
