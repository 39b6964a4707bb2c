import type { CloudFrontResponse, CloudFrontResponseEvent } from 'aws-lambda';
import type { ViewerResponseConfig } from './config.ts';
import {
  DECISION_HEADER,
  DEFAULT_COOKIE_NAME,
  headersOf,
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
    const [asked, answered] = [headersOf(request), headersOf(response)];
    const viewerId = headerValue(asked, VIEWER_HEADER);
    if (isViewerId(viewerId) && viewerIdFromCookies(asked, cookieName) !== viewerId) {
      const cookie = { key: 'Set-Cookie', value: `${cookieName}=${viewerId}; ${attributes}` };
      answered['set-cookie'] = [...(answered['set-cookie'] ?? []), cookie];
    }
    const decision = headerValue(asked, DECISION_HEADER);
    if (decision) setHeader(answered, DECISION_HEADER, decision);
    return response;
  };
}
