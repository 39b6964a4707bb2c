const { createReader } = require('edge-flag-reader');

const reader = createReader({
  tableName: process.env.FLAG_TABLE ?? 'edge-flag-relay-local',
  prefix: process.env.FLAG_PREFIX ?? 'local',
  replicas: { default: ['eu-west-1', 'us-east-1'] },
  // Not set in AWS. For the table of `npm start`: http://127.0.0.1:8000.
  endpoint: process.env.AWS_ENDPOINT_URL_DYNAMODB,
});

exports.handler = async ({ user }) => {
  const { value, reason } = await reader.variationDetail('canary-checkout', { kind: 'user', key: user }, 'stable');
  return { version: value, reason: reason.kind };
};
