import type { CloudFrontHeaders, CloudFrontRequest, CloudFrontResultResponse } from 'aws-lambda';
import type { ReadyAction, ReadyRule } from './engine.ts';
import { headersOf, headerValue, setHeader } from './headers.ts';
import { compileWhen } from './match.ts';
import { type Action, type Answer, type Headers, idOf, type Redirect, type Rule } from './rules.ts';

/** CloudFront: "Quotas", the longest URL, with its query. */
export const MAX_URL = 8_192;

/** Prepares the rules of a configuration, which was checked at build. */
export function readyRules(rules: readonly Rule[]): ReadyRule[] {
  return rules.map(({ when, flagKey, variations, otherwise }) => ({
    flagKey,
    matches: compileWhen(when),
    variations: new Map(Object.entries(variations).map(([name, action]) => [name, readyAction(action)])),
    otherwise,
  }));
}

function readyAction(action: Action): ReadyAction {
  const { origin, rewrite, redirect, answer, requestHeaders, responseHeaders } = action;
  return {
    ...(origin !== undefined && { origin }),
    ...(rewrite !== undefined && { rewrite: (request, rest) => pathOf(rewrite, rest, request) }),
    ...(redirect && { respond: (request, rest) => redirected(redirect, rest, request) }),
    ...(answer && { respond: () => answered(answer) }),
    ...(requestHeaders && { requestHeaders: idOf(requestHeaders) }),
    ...(responseHeaders && { responseHeaders: { id: idOf(responseHeaders), headers: responseHeaders } }),
  };
}

function pathOf(target: string, rest: string, { querystring }: CloudFrontRequest): string | undefined {
  const path = filled(target, rest);
  return path.length + querystring.length < MAX_URL ? path : undefined;
}

function redirected(
  { to, status = 302, query = 'keep' }: Redirect,
  rest: string,
  request: CloudFrontRequest,
): CloudFrontResultResponse | undefined {
  const { uri, querystring } = request;
  const kept = query === 'keep' && querystring ? `${to.includes('?') ? '&' : '?'}${querystring}` : '';
  const location = escaped(filled(to, rest) + kept);
  const here = escaped(querystring ? `${uri}?${querystring}` : uri);
  const host = headerValue(headersOf(request), 'host');
  // A redirect to the same page would never end.
  if (location.length >= MAX_URL || location === here || location === `https://${host}${here}`) return undefined;
  return { status: String(status), headers: headersFrom({ location, ...NOT_KEPT }) };
}

function answered({ status, body }: Answer): CloudFrontResultResponse {
  const type = body === undefined ? undefined : { 'content-type': 'text/plain; charset=utf-8' };
  return {
    status: String(status),
    headers: headersFrom({ ...type, ...NOT_KEPT }),
    ...(body !== undefined && { body }),
  };
}

/** A decision is for one viewer and one moment, so it must not be cached. */
const NOT_KEPT = { 'cache-control': 'no-store' };

function headersFrom(headers: Headers): CloudFrontHeaders {
  const made: CloudFrontHeaders = {};
  for (const [name, value] of Object.entries(headers)) setHeader(made, name, value);
  return made;
}

/** Browsers take two slashes, or a slash and a backslash, at the beginning of a path for another site. */
function filled(target: string, rest: string): string {
  return target.replace('*', () => rest).replace(/^[/\\]{2,}/, '/');
}

/** What cannot be in a header, percent-encoded. */
function escaped(text: string): string {
  return text.replace(/[^!-~]+/g, (odd) => Buffer.from(odd).toString('hex').replace(/../g, '%$&'));
}
