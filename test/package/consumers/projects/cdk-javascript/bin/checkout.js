import { createReader } from 'edge-flag-relay/edge-reader';

const reader = createReader(__EDGE_CONFIG__.reader);

export async function handler(event) {
  const { request } = event.Records[0].cf;
  const context = { kind: 'user', key: request.headers['x-user'][0].value };
  const detail = await reader.variationDetail('canary-checkout', context, 'stable');
  request.uri = `/${detail.value}${request.uri}`;
  return request;
}
