import type { CloudFrontRequest } from 'aws-lambda';
import type { Reader } from '../edge-reader/index.ts';
import { headerValue, SHADOW_HEADER } from './headers.ts';

/** Returns a function that gives the reader whose evaluations count, for what somebody gets to see. */
export function countingShown(counted: Reader): (request: CloudFrontRequest) => Reader | undefined {
  return (request) => (isShown(request) ? counted : undefined);
}

/**
 * Whether somebody gets to see what is decided for this request. HEAD and OPTIONS show nothing, and what a browser fetches in advance may
 * never be shown; nobody waits for shadow traffic. Source: "Sec-Purpose" in the Fetch Standard, and the headers that browsers sent before it.
 */
function isShown({ method, headers }: Pick<CloudFrontRequest, 'method' | 'headers'>): boolean {
  if (method === 'HEAD' || method === 'OPTIONS') return false;
  if (headerValue(headers, SHADOW_HEADER) !== undefined) return false;
  return !ADVANCE.some((name) => /\b(prefetch|prerender|preview)\b/i.test(headerValue(headers, name) ?? ''));
}

const ADVANCE = ['sec-purpose', 'purpose', 'x-purpose', 'x-moz'];
