// One flag, from the table that `edge-flag-relay start` fills on this machine.
import { createReader } from 'edge-flag-relay/edge-reader';

// A table on this machine takes any credentials. In a Lambda function they are set.
process.env.AWS_REGION ??= 'us-east-1';
process.env.AWS_ACCESS_KEY_ID ??= 'local';
process.env.AWS_SECRET_ACCESS_KEY ??= 'local';

const reader = createReader({
  tableName: process.env.FLAG_TABLE ?? 'edge-flag-relay-local',
  prefix: process.env.FLAG_PREFIX ?? 'local',
  replicas: { default: ['us-east-1'] },
  endpoint: process.env.AWS_ENDPOINT_URL_DYNAMODB ?? 'http://127.0.0.1:8000',
});
const { value, reason } = await reader.variationDetail('canary-checkout', { kind: 'user', key: 'tester' }, 'stable');
console.log(`canary-checkout: ${value} (${reason.kind})`);
