/** Shadow traffic: requests that a site or a load tester sends a second time, to test a variant with real traffic. */
import type { CloudFrontRequest, CloudFrontRequestEvent } from 'aws-lambda';
import { headersOf, SHADOW_HEADER, setHeader } from './headers.ts';

/** Compiled into the viewer-request function. */
export interface ShadowSettings {
  /** The header that makes a request shadow traffic, in lower case: a name that nothing else uses. No origin gets it. */
  readonly header: string;
  /**
   * Its value: a secret of at least 16 characters, so that viewers cannot mark requests. Anyone who can read the stack or
   * the function's code can read it.
   */
  readonly value: string;
}

/**
 * Shadow traffic is decided by `uncounted`, all other requests by `counted`. The origin gets `x-flag-shadow: 1` with shadow traffic, and
 * never the header that has the secret, whatever its value. Viewers cannot set either.
 */
export function withShadow<R>(
  { header, value }: ShadowSettings,
  counted: (event: CloudFrontRequestEvent) => Promise<R>,
  uncounted: (event: CloudFrontRequestEvent) => Promise<R>,
): (event: CloudFrontRequestEvent) => Promise<R> {
  function mark(request: CloudFrontRequest): boolean {
    const headers = headersOf(request);
    const sent: unknown = headers[header];
    const isShadow = Array.isArray(sent) && sent.some((one) => one?.value === value);
    // Also values that resemble or contain the secret.
    delete headers[header];
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
