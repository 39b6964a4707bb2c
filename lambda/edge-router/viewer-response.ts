import type { CloudFrontResponse, CloudFrontResponseEvent } from 'aws-lambda';
import type { ViewerResponseConfig } from './config.ts';
import {
  DECISION_HEADER,
  DEFAULT_COOKIE_NAME,
  headersOf,
  headerValue,
  isViewerId,
  NEW_VIEWER_HEADER,
  setHeader,
  toCookieValue,
} from './headers.ts';

/**
 * Sets the cookie of a new viewer and reports the decision. Not done at origin-response, whose Set-Cookie would be cached
 * and sent to every viewer. A viewer who has the cookie gets no new one, since any Set-Cookie may end up in a shared cache.
 *
 * AWS: "Lambda@Edge event structure" (a viewer-response event contains the request as viewer-request modified it);
 * "Restrictions on all edge functions" (not invoked when the origin answers 400 or above).
 */
export function createViewerResponseHandler(
  config: ViewerResponseConfig,
): (event: CloudFrontResponseEvent) => Promise<CloudFrontResponse> {
  const { cookieName = DEFAULT_COOKIE_NAME, epoch } = config;
  const attributes = attributesOf(config);

  return async (event) => {
    const { request, response } = event.Records[0]!.cf;
    const [asked, answered] = [headersOf(request), headersOf(response)];
    const id = headerValue(asked, NEW_VIEWER_HEADER);
    if (isViewerId(id)) {
      const cookie = { key: 'Set-Cookie', value: `${cookieName}=${toCookieValue(id, epoch)}; ${attributes}` };
      answered['set-cookie'] = [...(answered['set-cookie'] ?? []), cookie];
    }
    const decision = headerValue(asked, DECISION_HEADER);
    if (decision) setHeader(answered, DECISION_HEADER, decision);
    return response;
  };
}

function attributesOf(config: ViewerResponseConfig): string {
  const { cookieMaxAgeSeconds = 34_560_000, cookiePath = '/', cookieSameSite = 'Lax' } = config;
  const { cookieDomain, cookieSecure = true, cookieHttpOnly = true } = config;
  return [
    `Path=${cookiePath}`,
    `Max-Age=${cookieMaxAgeSeconds}`,
    ...(cookieDomain ? [`Domain=${cookieDomain}`] : []),
    ...(cookieSecure ? ['Secure'] : []),
    ...(cookieHttpOnly ? ['HttpOnly'] : []),
    `SameSite=${cookieSameSite}`,
  ].join('; ');
}
