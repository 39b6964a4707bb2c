/** Shadow traffic: requests that a site or a load tester sends a second time, to see how a variant bears it. */
import type { CloudFrontRequest, CloudFrontRequestEvent } from 'aws-lambda';
import { headersOf, headerValue, SHADOW_HEADER, setHeader } from './headers.ts';

/** Compiled into the viewer-request function. */
export interface ShadowSettings {
  /** Requests with this header are shadow traffic, in lower case. */
  readonly header: string;
  /**
   * Its value: a secret of at least 16 characters, so that viewers cannot have requests marked. Whoever can read the stack or
   * the function's code can read it.
   */
  readonly value: string;
}

/**
 * Shadow traffic is decided by `uncounted`, all other requests by `counted`. The origin gets `x-flag-shadow: 1` with shadow traffic, and
 * the header with the secret with no request. Viewers cannot set either.
 */
export function withShadow<R>(
  { header, value }: ShadowSettings,
  counted: (event: CloudFrontRequestEvent) => Promise<R>,
  uncounted: (event: CloudFrontRequestEvent) => Promise<R>,
): (event: CloudFrontRequestEvent) => Promise<R> {
  function mark(request: CloudFrontRequest): boolean {
    const headers = headersOf(request);
    const isShadow = headerValue(headers, header) === value;
    if (isShadow) delete headers[header];
    delete headers[SHADOW_HEADER];
    if (isShadow) setHeader(headers, SHADOW_HEADER, '1');
    return isShadow;
  }

  return (event) => {
    let isShadow = false;
    try {
      isShadow = mark(event.Records[0]!.cf.request);
    } catch {
      // The handler knows what to do with an event that makes no sense.
    }
    return (isShadow ? uncounted : counted)(event);
  };
}
