/**
 * What CloudFront hands to edge functions and accepts from them, as far as `npm start` needs it.
 * Source: Amazon CloudFront Developer Guide, "Lambda@Edge event structure", "Restrictions on all edge functions",
 * "Restrictions on Lambda@Edge", "Generate HTTP responses in request triggers".
 */
import type { IncomingHttpHeaders } from 'node:http';
import type { CloudFrontHeaders, CloudFrontRequest, CloudFrontResponse, CloudFrontResultResponse } from 'aws-lambda';
import { DISALLOWED } from '../../lambda/edge-router/headers.ts';

export type EventType = 'viewer-request' | 'origin-request' | 'viewer-response';

/** "Restrictions on Lambda@Edge", read-only headers by event. */
const READ_ONLY: Readonly<Record<EventType, readonly string[]>> = {
  'viewer-request': ['content-length', 'host', 'transfer-encoding', 'via'],
  'origin-request': [
    'accept-encoding',
    'content-length',
    'if-modified-since',
    'if-none-match',
    'if-range',
    'if-unmodified-since',
    'transfer-encoding',
    'via',
  ],
  'viewer-response': ['content-encoding', 'content-length', 'transfer-encoding', 'warning', 'via'],
};

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
  return undefined;
}

function describeRequestProblem(eventType: EventType, request: Partial<CloudFrontRequest>): string | undefined {
  if (typeof request.uri !== 'string' || !request.uri.startsWith('/'))
    return `uri ${JSON.stringify(request.uri)} must start with a slash`;
  if (typeof request.querystring !== 'string') return 'querystring must be a string';
  if (eventType === 'viewer-request') return undefined;
  const custom = request.origin?.custom;
  if (!custom) return 'origin.custom is required: the local edge does not support S3';
  if (typeof custom.domainName !== 'string' || custom.domainName === '')
    return 'origin.custom.domainName must be a host name';
  if (!Number.isInteger(custom.port)) return `origin.custom.port ${JSON.stringify(custom.port)} must be a number`;
  if (!/^https?$/.test(custom.protocol))
    return `origin.custom.protocol ${JSON.stringify(custom.protocol)} must be http or https`;
  if (typeof custom.path !== 'string' || /\/$/.test(custom.path))
    return 'origin.custom.path must be a string without a slash at its end';
  if (!Array.isArray(custom.sslProtocols)) return 'origin.custom.sslProtocols must be a list';
  for (const name of ['readTimeout', 'keepaliveTimeout'] as const) {
    const value: unknown = custom[name];
    if (!Number.isInteger(value) || (value as number) < 1 || (value as number) > 120) {
      return `origin.custom.${name} ${JSON.stringify(value)} must be 1 to 120 s`;
    }
  }
  return undefined;
}
