/** Events as CloudFront sends them. Source: Amazon CloudFront Developer Guide, "Lambda@Edge event structure". */
import type { CloudFrontHeaders, CloudFrontRequestEvent, CloudFrontResponseEvent } from 'aws-lambda';

export const pairs = (headers: Record<string, string>): CloudFrontHeaders =>
  Object.fromEntries(Object.entries(headers).map(([key, value]) => [key.toLowerCase(), [{ key, value }]]));

const config = {
  distributionDomainName: 'd111111abcdef8.cloudfront.net',
  distributionId: 'EDFDVBD6EXAMPLE',
  requestId: '4TyzHTaYWb1GX1qTfsHhEqV6HUDd_BzoBZnwfnvQc_1oF26ClkoUSEQ==',
};

export function requestEvent(
  eventType: 'viewer-request' | 'origin-request',
  headers: Record<string, string> = {},
): CloudFrontRequestEvent {
  const common = { Host: 'd111111abcdef8.cloudfront.net', 'User-Agent': 'curl/7.66.0', accept: '*/*' };
  const request = {
    clientIp: '203.0.113.178',
    headers: pairs({ ...common, ...headers }),
    method: 'GET',
    querystring: 'size=large',
    uri: '/picture.jpg',
  };
  const origin = {
    custom: {
      customHeaders: {},
      domainName: 'example.org',
      keepaliveTimeout: 5,
      path: '',
      port: 443,
      protocol: 'https' as const,
      readTimeout: 30,
      sslProtocols: ['TLSv1', 'TLSv1.1', 'TLSv1.2'],
    },
  };
  const cf = {
    config: { ...config, eventType },
    request: eventType === 'origin-request' ? { ...request, origin } : request,
  };
  return { Records: [{ cf }] };
}

export function responseEvent(
  requestHeaders: Record<string, string>,
  responseHeaders: Record<string, string> = {},
): CloudFrontResponseEvent {
  const { request } = requestEvent('viewer-request', requestHeaders).Records[0]!.cf;
  const headers = pairs({ Date: 'Mon, 13 Jan 2020 20:14:56 GMT', Server: 'ECS (sjc/4E8B)', ...responseHeaders });
  const response = { status: '200', statusDescription: 'OK', headers };
  return { Records: [{ cf: { config: { ...config, eventType: 'viewer-response' }, request, response } }] };
}
