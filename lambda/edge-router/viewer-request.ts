import type { CloudFrontRequest, CloudFrontRequestEvent } from 'aws-lambda';
import type { Detail, Reader, Report } from '../edge-reader/index.ts';
import type { ViewerRequestConfig } from './config.ts';
import {
  DECISION_HEADER,
  DEFAULT_COOKIE_NAME,
  DEFAULT_VARIANT_HEADER,
  headersOf,
  headerValue,
  NEW_VIEWER_HEADER,
  setHeader,
  VIEWER_HEADER,
} from './headers.ts';
import { createIdentify, type Viewer } from './viewer.ts';

/**
 * Runs before CloudFront's cache lookup: identifies the viewer, evaluates the flag and sets the variant header, which is
 * part of the cache key. Headers of the same names that the viewer sent are overwritten.
 *
 * A viewer can still choose a variant by trying ids in the cookie, but not by sending a header.
 *
 * While the flag cannot be evaluated, or without an id to evaluate it for, the request gets the default variant; the decision
 * header says why. An id under which nothing could be evaluated is not stored. AWS: "Lambda@Edge event structure"; Node.js 24 supports async handlers only.
 */
export function createViewerRequestHandler(
  config: ViewerRequestConfig,
  reader: Pick<Reader, 'variationDetail'>,
  report?: Pick<Report, 'decided'>,
): (event: CloudFrontRequestEvent) => Promise<CloudFrontRequest> {
  const { flagKey, variants, defaultVariant } = config;
  const { variantHeader = DEFAULT_VARIANT_HEADER, cookieName = DEFAULT_COOKIE_NAME, viewer: settings } = config;
  const identify = createIdentify({ ...settings, cookieName });

  return async (event) => {
    const request = event.Records[0]!.cf.request;
    const headers = headersOf(request);
    const startedAt = Date.now();
    const viewer = identify(request);
    const { value, reason } = await decide(viewer, request);

    const failed = reason.kind === 'ERROR';
    const known = variants.includes(String(value));
    const variant = known && !failed ? String(value) : defaultVariant;
    setHeader(headers, variantHeader, variant);
    setHeader(headers, DECISION_HEADER, `${flagKey}=${variant}; reason=${known || failed ? why(reason) : UNKNOWN}`);
    put(VIEWER_HEADER, failed ? undefined : viewer.key);
    put(NEW_VIEWER_HEADER, failed ? undefined : viewer.store);
    const fallback = failed ? reason.errorKind : known ? undefined : UNKNOWN;
    report?.decided({ flagKey, variation: variant, why: fallback, ms: Math.max(0, Date.now() - startedAt) });
    return request;

    function put(name: string, value: string | undefined) {
      if (value === undefined) delete headers[name];
      else setHeader(headers, name, value);
    }
  };

  async function decide(
    { key, anonymous }: Viewer,
    request: CloudFrontRequest,
  ): Promise<{ readonly value: unknown; readonly reason: Detail['reason'] | { readonly kind: 'NO_VIEWER_ID' } }> {
    if (key === undefined) return { value: defaultVariant, reason: { kind: 'NO_VIEWER_ID' } };
    return reader.variationDetail(flagKey, contextOf(key, anonymous, request), defaultVariant);
  }
}

/** The flag's value is no variant. */
const UNKNOWN = 'UNKNOWN_VARIANT';

/** The attributes that rules can target. The key determines percentage rollouts. */
function contextOf(key: string, anonymous: boolean, { clientIp, uri, headers }: CloudFrontRequest) {
  const ip = clientIp;
  return {
    kind: 'user',
    key,
    anonymous,
    ip,
    path: uri,
    host: headerValue(headers, 'host'),
    userAgent: headerValue(headers, 'user-agent'),
  };
}

function why(reason: Detail['reason'] | { readonly kind: 'NO_VIEWER_ID' }): string {
  return reason.kind === 'ERROR' ? `ERROR ${reason.errorKind}` : reason.kind;
}
