import type { CloudFrontHeaders, CloudFrontRequest, CloudFrontRequestEvent } from 'aws-lambda';
import type { CustomOrigin, OriginRequestConfig } from './config.ts';
import { DEFAULT_VARIANT_HEADER, headersOf, headerValue, merged, setHeader } from './headers.ts';
import { passingOn } from './passing-on.ts';

/**
 * On a cache miss, sends the request to the origin that was chosen, with the headers of the actions. It reads no flags: viewer-request has
 * already decided, and a second decision could differ. An unknown variant goes to the default origin. Never rejects.
 *
 * AWS: "Lambda@Edge event structure", custom origin. The Host header must name the new origin, or origins that serve
 * several sites answer for the wrong one. CloudFront resolves the distribution's own origin before this runs, so that
 * origin must exist. A bucket remains the behavior's own origin, since functions cannot use origin access control for another:
 * only the path changes.
 */
export function createOriginRequestHandler(
  config: OriginRequestConfig,
): (event: CloudFrontRequestEvent) => Promise<CloudFrontRequest> {
  const { origins, defaultVariant, variantHeader = DEFAULT_VARIANT_HEADER } = config;
  const { fallbacks = [], requestHeaders = {} } = config;
  // Viewers must not be able to set them. A custom header must also not be a header of the request.
  const ours = [
    ...Object.values(origins).flatMap((one) => ('headers' in one ? Object.keys(one.headers ?? {}) : [])),
    ...Object.values(requestHeaders).flatMap((headers) => Object.keys(headers)),
  ];

  return passingOn(
    ({ request }) => {
      const headers = headersOf(request);
      const [name = '', ...ids] = headerValue(headers, variantHeader)?.split(',') ?? [];
      const chosen = origins[Object.hasOwn(origins, name) ? name : defaultVariant]!;
      for (const name of ours) delete headers[name];
      const added = ids.map((id) => (Object.hasOwn(requestHeaders, id) ? requestHeaders[id] : undefined));
      for (const [name, value] of merged(added)) setHeader(headers, name, value);

      const own = request.origin?.custom ?? request.origin?.s3;
      // "Use origin failover with Lambda@Edge functions": the second call for a request, after its first origin failed.
      const failed = own !== undefined && fallbacks.includes(own.domainName);
      const next = failed && 'fallback' in chosen ? chosen.fallback : undefined;
      // The origin group's own second origin, as CloudFront chose it.
      if (failed && next === undefined) return request;
      const origin = next === undefined ? chosen : origins[next]!;
      if ('bucket' in origin) {
        request.uri = `${origin.path ?? ''}${request.uri}`;
        return request;
      }
      request.origin = { custom: toCustomOrigin(origin) };
      if (!origin.viewerHost) setHeader(headers, 'host', origin.host ?? origin.domainName);
      return request;
    },
    ({ request }) => request,
  );
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
