/**
 * What CloudFront hands to edge functions and accepts from them, as far as `npm start` needs it.
 * Source: Amazon CloudFront Developer Guide, "Lambda@Edge event structure", "Restrictions on all edge functions",
 * "Restrictions on Lambda@Edge", "Generate HTTP responses in request triggers".
 */
import type { IncomingHttpHeaders } from 'node:http';
import type { CloudFrontHeaders, CloudFrontRequest, CloudFrontResponse, CloudFrontResultResponse } from 'aws-lambda';
import { originProblems } from '../../lambda/edge-router/check-config.ts';
import { DISALLOWED, READ_ONLY } from '../../lambda/edge-router/header-rules.ts';

export type EventType = 'viewer-request' | 'origin-request' | 'viewer-response';

/** Quotas: a response that viewer-request makes. */
const GENERATED_BYTES = { 'viewer-request': 40 * 1024, 'origin-request': 1024 * 1024 } as const;

export function toEvent(
  eventType: EventType,
  requestId: string,
  request: CloudFrontRequest,
  response?: CloudFrontResponse,
): unknown {
  const config = {
    distributionDomainName: 'd111111abcdef8.cloudfront.net',
    distributionId: 'LOCAL',
    eventType,
    requestId,
  };
  return { Records: [{ cf: { config, request, ...(response && { response }) } }] };
}

/** Node's headers in CloudFront's shape, without those hidden from functions. */
export function toCloudFrontHeaders(headers: IncomingHttpHeaders): CloudFrontHeaders {
  const shaped: CloudFrontHeaders = {};
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined || DISALLOWED.test(name)) continue;
    shaped[name] = [value].flat().map((one) => ({ key: name, value: one }));
  }
  return shaped;
}

/** CloudFront's headers in the shape of Node's `request` and `writeHead`. */
export function toNodeHeaders(headers: CloudFrontHeaders): Record<string, string | string[]> {
  const shaped = Object.entries(headers).map(([name, pairs]) => {
    const values = pairs.map(({ value }) => value);
    return [name, values.length === 1 ? values[0]! : values] as const;
  });
  return Object.fromEntries(shaped);
}

/** Whether a function returned a response for a request event. */
export function isGenerated(result: object): result is CloudFrontResultResponse {
  return 'status' in result;
}

/** Why CloudFront would answer 502 for a function's result; undefined if it is valid. `before`: the headers it was given. */
export function describeResultProblem(
  eventType: EventType,
  result: unknown,
  before: CloudFrontHeaders,
  status?: string,
): string | undefined {
  if (typeof result !== 'object' || result === null || Array.isArray(result)) {
    return `the result must be a request or a response, not ${JSON.stringify(result) ?? 'undefined'}`;
  }
  const generated = eventType !== 'viewer-response' && isGenerated(result);
  const { headers = generated ? {} : undefined } = result as { headers?: unknown };
  const problem = describeHeadersProblem(headers, eventType, generated ? {} : before, generated);
  if (problem) return problem;
  if (eventType === 'viewer-response' || generated) {
    const response = result as CloudFrontResultResponse;
    if (!/^[2-5]\d\d$/.test(String(response.status)))
      return `status ${JSON.stringify(response.status)} must be from 200 to 599`;
    if (!generated && String(response.status) !== status)
      return `viewer-response may not change the status (${status} to ${response.status})`;
    if (!generated) return undefined;
    if (String(response.status) === '204' && response.body) return 'a response 204 must have no body';
    const bytes = Buffer.byteLength(JSON.stringify(headers)) + Buffer.byteLength(response.body ?? '');
    const most = GENERATED_BYTES[eventType];
    return bytes > most ? `a generated response has ${bytes} bytes; ${eventType} allows ${most}` : undefined;
  }
  return describeRequestProblem(eventType, result as Partial<CloudFrontRequest>);
}

function describeHeadersProblem(
  headers: unknown,
  eventType: EventType,
  before: CloudFrontHeaders,
  generated: boolean,
): string | undefined {
  if (typeof headers !== 'object' || headers === null || Array.isArray(headers)) return 'headers must be an object';
  for (const [name, values] of Object.entries(headers)) {
    if (name !== name.toLowerCase() || !/^[!#$%&'*+.^_`|~\w-]+$/.test(name)) {
      return `headers[${JSON.stringify(name)}]: the key must be a header name in lower case`;
    }
    if (!Array.isArray(values)) return `headers[${JSON.stringify(name)}] must be a list of { key, value }`;
    for (const pair of values) {
      const { key = name, value } = Object(pair) as { key?: unknown; value?: unknown };
      if (typeof value !== 'string' || /[\r\n\0]/.test(value)) {
        return `headers[${JSON.stringify(name)}]: each value must be a string on one line`;
      }
      if (String(key).toLowerCase() !== name)
        return `headers[${JSON.stringify(name)}]: the pair's key ${JSON.stringify(key)} is another header`;
    }
    if (DISALLOWED.test(name)) return `header ${name} is forbidden to edge functions`;
  }
  for (const name of READ_ONLY[eventType]) {
    const [was, is] = [before, headers as CloudFrontHeaders].map((all) =>
      JSON.stringify(all[name]?.map(({ value }) => value)),
    );
    if (was !== is && !(generated && is === undefined)) return `header ${name} is read-only in ${eventType}`;
  }
  // "Restrictions on Lambda@Edge", CloudFront headers.
  if (eventType === 'viewer-request' && !before['cloudfront-viewer-country'] && 'cloudfront-viewer-country' in headers)
    return 'header cloudfront-viewer-country must not be added in viewer-request';
  return undefined;
}

function describeRequestProblem(eventType: EventType, request: Partial<CloudFrontRequest>): string | undefined {
  const { uri, querystring } = request;
  if (typeof uri !== 'string' || !uri.startsWith('/')) return `uri ${JSON.stringify(uri)} must start with a slash`;
  if (typeof querystring !== 'string') return 'querystring must be a string';
  // "Restrictions on all edge functions", query strings and URI.
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  if (/[\x00-\x20\x7f#]/.test(querystring))
    return `querystring ${JSON.stringify(querystring)} must not contain spaces, control characters or #`;
  if (uri.length + querystring.length >= 8_192) return 'uri and querystring must have fewer than 8192 characters';
  return eventType === 'viewer-request' ? undefined : describeOriginProblem(request);
}

function describeOriginProblem({ origin, headers = {} }: Partial<CloudFrontRequest>): string | undefined {
  const custom = origin?.custom;
  if (!custom) return 'origin.custom is required: the local edge does not support S3';
  if (!Array.isArray(custom.sslProtocols)) return 'origin.custom.sslProtocols must be a list';
  const { domainName, protocol, port, path, readTimeout, keepaliveTimeout, customHeaders = {} } = custom;
  const own = Object.entries(customHeaders).map(([name, values]) => [name, values[0]?.value]);
  const times = { readTimeoutSeconds: readTimeout, keepaliveTimeoutSeconds: keepaliveTimeout };
  const settings = {
    domainName,
    protocol,
    port,
    ...times,
    headers: Object.fromEntries(own),
    ...(path !== '' && { path }),
  };
  const [wrong] = originProblems({ custom: settings }, 'origin');
  if (wrong) return wrong.message.replace('TimeoutSeconds', 'Timeout');
  const twice = Object.keys(customHeaders).find((name) => Object.hasOwn(headers, name));
  return twice && `header ${twice} is in origin.custom.customHeaders and in headers, too`;
}
