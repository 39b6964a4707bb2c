import type { CloudFrontRequest, CloudFrontRequestEvent } from 'aws-lambda';
import type { OriginRequestConfig } from './config.ts';
import { DEFAULT_VARIANT_HEADER, headersOf, headerValue, setHeader } from './headers.ts';

/**
 * On a cache miss, sends the request to the origin of its variant. It reads no flags: viewer-request has already decided,
 * and a second decision could differ. An unknown variant goes to the default origin.
 *
 * AWS: "Lambda@Edge event structure", custom origin. The Host header must name the new origin, or origins that serve
 * several sites answer for the wrong one. CloudFront resolves the distribution's own origin before this runs, so that
 * origin must exist.
 */
export function createOriginRequestHandler(
  config: OriginRequestConfig,
): (event: CloudFrontRequestEvent) => Promise<CloudFrontRequest> {
  const { origins, defaultVariant, variantHeader = DEFAULT_VARIANT_HEADER } = config;

  return async (event) => {
    const request = event.Records[0]!.cf.request;
    const headers = headersOf(request);
    const variant = headerValue(headers, variantHeader) ?? '';
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
    setHeader(headers, 'host', host);
    return request;
  };
}
