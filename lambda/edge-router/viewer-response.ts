import type { CloudFrontResponse, CloudFrontResponseEvent } from 'aws-lambda';
import type { ViewerResponseConfig } from './config.ts';
import { createSetCookie } from './cookie.ts';
import {
  addResponseHeader,
  DECISION_HEADER,
  headersOf,
  headerValue,
  isViewerId,
  merged,
  NEW_VIEWER_HEADER,
  RESPONSE_HEADER,
  setHeader,
} from './headers.ts';
import { markPreviewed } from './mark-previewed.ts';
import { passingOn } from './passing-on.ts';

/**
 * Adds the headers that rules chose, sets the cookie of a new viewer and reports the decisions. Not done at origin-response, whose Set-Cookie would be cached
 * and sent to every viewer. A viewer who has the cookie gets no new one, since any Set-Cookie may end up in a shared cache.
 *
 * AWS: "Lambda@Edge event structure" (a viewer-response event contains the request as viewer-request modified it);
 * "Restrictions on all edge functions" (not invoked when the origin answers 400 or above). Never rejects.
 */
export function createViewerResponseHandler(
  config: ViewerResponseConfig,
): (event: CloudFrontResponseEvent) => Promise<CloudFrontResponse> {
  const { responseHeaders = {}, ...cookie } = config;
  const setCookie = createSetCookie(cookie);

  return passingOn(
    ({ request, response }) => {
      const [asked, answered] = [headersOf(request), headersOf(response)];
      // An id that another version of viewer-request wrote may be unknown.
      const ids = headerValue(asked, RESPONSE_HEADER)?.split(',') ?? [];
      const chosen = ids.map((id) => (Object.hasOwn(responseHeaders, id) ? responseHeaders[id] : undefined));
      for (const [name, value] of merged(chosen)) addResponseHeader(answered, name, value);
      const viewer = headerValue(asked, NEW_VIEWER_HEADER);
      if (isViewerId(viewer)) addResponseHeader(answered, 'set-cookie', setCookie(viewer));
      const decision = headerValue(asked, DECISION_HEADER);
      if (decision) setHeader(answered, DECISION_HEADER, decision);
      markPreviewed(answered, decision);
      return response;
    },
    ({ response }) => response,
  );
}
