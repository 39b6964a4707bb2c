import type { CloudFrontRequest, CloudFrontRequestEvent } from 'aws-lambda';
import type { OriginRequestConfig } from './config.ts';
import { DEFAULT_VARIANT_HEADER, headerValue, setHeader } from './headers.ts';

/**
 * On a cache miss, sends the request to the origin of its variant. Reads no flags: viewer-request has decided, and two
 * decisions could differ. A variant that nobody knows goes to the default origin.
 *
 * AWS: "Lambda@Edge event structure", custom origin; the Host header must be the new origin's, or origins that serve
 * several sites answer for the wrong one. CloudFront resolves the distribution's own origin before this runs, so that
 * one has to exist.
 */
export function createOriginRequestHandler(
  config: OriginRequestConfig,
): (event: CloudFrontRequestEvent) => Promise<CloudFrontRequest> {
  const { origins, defaultVariant, variantHeader = DEFAULT_VARIANT_HEADER } = config;

  return async (event) => {
    const request = event.Records[0]!.cf.request;
    const variant = headerValue(request.headers, variantHeader) ?? '';
    const origin = origins[Object.hasOwn(origins, variant) ? variant : defaultVariant]!;
    const { domainName, protocol = 'https', host = domainName } = origin;
    request.origin = {
      custom: {
        domainName,
        protocol,
        port: origin.port ?? (protocol === 'https' ? 443 : 80),
        path: origin.path ?? '',
        sslProtocols: ['TLSv1.2'],
        readTimeout: origin.readTimeoutSeconds ?? 30,
        keepaliveTimeout: origin.keepaliveTimeoutSeconds ?? 5,
        customHeaders: {},
      },
    };
    setHeader(request.headers, 'host', host);
    return request;
  };
}
