import type { CloudFrontRequest, CloudFrontRequestEvent } from 'aws-lambda';
import { createReader, type ReaderConfig } from 'edge-flag-relay/edge-reader';

// Lambda@Edge has no environment variables: the bundler puts the configuration here.
declare const __EDGE_CONFIG__: { readonly reader: ReaderConfig };

const reader = createReader(__EDGE_CONFIG__.reader);

/** For viewer requests: the canary is another path of the same origin. */
export async function handler(event: CloudFrontRequestEvent): Promise<CloudFrontRequest> {
  const { request } = event.Records[0]!.cf;
  const [, user = request.clientIp] = /(?:^|; )user=([^;]+)/.exec(request.headers.cookie?.[0]?.value ?? '') ?? [];
  const version = await reader.stringVariation('canary-checkout', { kind: 'user', key: user }, 'stable');
  if (version === 'canary') request.uri = `/canary${request.uri}`;
  return request;
}
