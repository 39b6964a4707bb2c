import type { CloudFrontRequest } from 'aws-lambda';
import type { EvaluationContext } from '../edge-reader/index.ts';
import { headersOf, headerValue } from './headers.ts';
import type { Viewer } from './viewer.ts';

/** What a configuration adds to the context of every request. */
export interface Added {
  /** Of the viewer. */
  readonly attributes: Readonly<Record<string, string>>;
  /** By kind. */
  readonly contexts: Readonly<Record<string, { readonly key: string }>>;
}

/** The attributes that every viewer has, if the request has them. */
export const VIEWER_ATTRIBUTES: readonly string[] = ['ip', 'path', 'host', 'userAgent', 'method', 'language'];

/** The context that a request's flags are evaluated for; undefined for a viewer without an id. */
export function contextOf(
  request: CloudFrontRequest,
  { key, anonymous }: Viewer,
  added: Added | undefined,
): EvaluationContext | undefined {
  if (key === undefined) return undefined;
  const headers = headersOf(request);
  const viewer = {
    key,
    anonymous,
    ip: request.clientIp,
    path: request.uri,
    host: headerValue(headers, 'host'),
    userAgent: headerValue(headers, 'user-agent'),
    method: request.method,
    // The first one, without its weight.
    language: /^[a-z\d-]{1,35}/i.exec(headerValue(headers, 'accept-language') ?? '')?.[0],
    ...added?.attributes,
  };
  const alone = added === undefined || Object.keys(added.contexts).length === 0;
  return alone ? { kind: 'user', ...viewer } : { kind: 'multi', user: viewer, ...added.contexts };
}
