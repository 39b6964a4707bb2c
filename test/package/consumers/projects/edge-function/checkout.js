import { createReader } from 'edge-flag-relay/edge-reader';

const reader = createReader({
  tableName: 'flags',
  prefix: 'production',
  replicas: { default: ['us-east-1'] },
  // The test's machine may be slow.
  coldDeadlineMs: 30_000,
  // esbuild's --define writes it into the code: Lambda@Edge has no environment variables.
  endpoint: FLAGS_ENDPOINT,
});

export async function handler(event) {
  const { request } = event.Records[0].cf;
  const context = { kind: 'user', key: request.headers['x-user'][0].value };
  const detail = await reader.variationDetail('canary-checkout', context, 'stable');
  request.headers['x-checkout'] = [{ value: `${detail.value}; ${detail.reason.kind}` }];
  return request;
}
