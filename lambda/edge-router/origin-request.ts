import type { CloudFrontHeaders, CloudFrontRequest, CloudFrontRequestEvent } from 'aws-lambda';
import type { CustomOrigin, OriginRequestConfig } from './config.ts';
import { DEFAULT_VARIANT_HEADER, headersOf, headerValue, setHeader } from './headers.ts';

/**
 * On a cache miss, sends the request to the origin of its variant. It reads no flags: viewer-request has already decided,
 * and a second decision could differ. An unknown variant goes to the default origin.
 *
 * AWS: "Lambda@Edge event structure", custom origin. The Host header must name the new origin, or origins that serve
 * several sites answer for the wrong one. CloudFront resolves the distribution's own origin before this runs, so that
 * origin must exist. A bucket remains the behavior's own origin, since functions cannot use origin access control for another:
 * only the path changes.
 */
export function createOriginRequestHandler(
  config: OriginRequestConfig,
): (event: CloudFrontRequestEvent) => Promise<CloudFrontRequest> {
  const { origins, defaultVariant, variantHeader = DEFAULT_VARIANT_HEADER, fallbacks = [] } = config;
  const customHeaders = Object.values(origins).flatMap((one) =>
    'headers' in one ? Object.keys(one.headers ?? {}) : [],
  );

  return async (event) => {
    const request = event.Records[0]!.cf.request;
    const own = request.origin?.custom ?? request.origin?.s3;
    // "Use origin failover with Lambda@Edge functions": the second call for a request, after its first origin failed.
    if (own && fallbacks.includes(own.domainName)) return request;

    const headers = headersOf(request);
    const variant = headerValue(headers, variantHeader) ?? '';
    const origin = origins[Object.hasOwn(origins, variant) ? variant : defaultVariant]!;
    if ('bucket' in origin) {
      request.uri = `${origin.path ?? ''}${request.uri}`;
      return request;
    }
    request.origin = { custom: toCustomOrigin(origin) };
    // A custom header must not also be a header of the request, and a viewer must not be able to set it.
    for (const name of customHeaders) delete headers[name];
    if (!origin.viewerHost) setHeader(headers, 'host', origin.host ?? origin.domainName);
    return request;
  };
}

function toCustomOrigin(origin: CustomOrigin): NonNullable<NonNullable<CloudFrontRequest['origin']>['custom']> {
  const { domainName, protocol = 'https', headers = {} } = origin;
  const customHeaders: CloudFrontHeaders = {};
  for (const [name, value] of Object.entries(headers)) setHeader(customHeaders, name, value);
  return {
    domainName,
    protocol,
    port: origin.port ?? (protocol === 'https' ? 443 : 80),
    path: origin.path ?? '',
    sslProtocols: ['TLSv1.2'],
    readTimeout: origin.readTimeoutSeconds ?? 30,
    keepaliveTimeout: origin.keepaliveTimeoutSeconds ?? 5,
    customHeaders,
  };
}
