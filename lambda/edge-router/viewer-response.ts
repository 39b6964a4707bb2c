import type { CloudFrontResponse, CloudFrontResponseEvent } from 'aws-lambda';
import type { ViewerResponseConfig } from './config.ts';
import {
  DECISION_HEADER,
  DEFAULT_COOKIE_NAME,
  headerValue,
  isViewerId,
  setHeader,
  VIEWER_HEADER,
  viewerIdFromCookies,
} from './headers.ts';

/**
 * Sets the cookie of a new viewer and reports the decision. Not done at origin-response, whose Set-Cookie would be cached
 * and sent to every viewer. A viewer who sent the id gets no new cookie, since any Set-Cookie may end up in a shared cache.
 *
 * AWS: "Lambda@Edge event structure" (a viewer-response event contains the request as viewer-request modified it);
 * "Restrictions on all edge functions" (not invoked when the origin answers 400 or above).
 */
export function createViewerResponseHandler(
  config: ViewerResponseConfig,
): (event: CloudFrontResponseEvent) => Promise<CloudFrontResponse> {
  const { cookieName = DEFAULT_COOKIE_NAME, cookieMaxAgeSeconds = 34_560_000, secure = true } = config;
  const attributes = `Path=/; Max-Age=${cookieMaxAgeSeconds}; ${secure ? 'Secure; ' : ''}HttpOnly; SameSite=Lax`;

  return async (event) => {
    const { request, response } = event.Records[0]!.cf;
    const viewerId = headerValue(request.headers, VIEWER_HEADER);
    if (isViewerId(viewerId) && viewerIdFromCookies(request.headers, cookieName) !== viewerId) {
      const cookie = { key: 'Set-Cookie', value: `${cookieName}=${viewerId}; ${attributes}` };
      response.headers['set-cookie'] = [...(response.headers['set-cookie'] ?? []), cookie];
    }
    const decision = headerValue(request.headers, DECISION_HEADER);
    if (decision) setHeader(response.headers, DECISION_HEADER, decision);
    return response;
  };
}
