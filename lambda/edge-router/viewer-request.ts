import { randomUUID } from 'node:crypto';
import type { CloudFrontRequest, CloudFrontRequestEvent } from 'aws-lambda';
import type { Detail, Reader, Report } from '../edge-reader/index.ts';
import type { ViewerRequestConfig } from './config.ts';
import {
  DECISION_HEADER,
  DEFAULT_COOKIE_NAME,
  DEFAULT_VARIANT_HEADER,
  headersOf,
  headerValue,
  setHeader,
  VIEWER_HEADER,
  viewerIdFromCookies,
} from './headers.ts';

/**
 * Runs before CloudFront's cache lookup: identifies the viewer, evaluates the flag and sets the variant header, which is
 * part of the cache key. Headers of the same names that the viewer sent are overwritten.
 *
 * A viewer can still choose a variant by trying ids in the cookie, but not by sending a header.
 *
 * While the flag cannot be evaluated, the request gets the default variant and no id, so that no cookie is set; the
 * decision header says why. AWS: "Lambda@Edge event structure"; Node.js 24 supports async handlers only.
 */
export function createViewerRequestHandler(
  config: ViewerRequestConfig,
  reader: Pick<Reader, 'variationDetail'>,
  report?: Pick<Report, 'decided'>,
): (event: CloudFrontRequestEvent) => Promise<CloudFrontRequest> {
  const { flagKey, variants, defaultVariant } = config;
  const { variantHeader = DEFAULT_VARIANT_HEADER, cookieName = DEFAULT_COOKIE_NAME } = config;

  return async (event) => {
    const request = event.Records[0]!.cf.request;
    const headers = headersOf(request);
    const startedAt = Date.now();
    const viewerId = viewerIdFromCookies(headers, cookieName) ?? randomUUID();
    const { value, reason } = await reader.variationDetail(flagKey, contextOf(viewerId, request), defaultVariant);

    const failed = reason.kind === 'ERROR';
    const known = !failed && variants.includes(String(value));
    const variant = known ? String(value) : defaultVariant;
    setHeader(headers, variantHeader, variant);
    setHeader(headers, DECISION_HEADER, `${flagKey}=${variant}; reason=${known || failed ? why(reason) : UNKNOWN}`);
    if (failed) delete headers[VIEWER_HEADER];
    else setHeader(headers, VIEWER_HEADER, viewerId);
    const fallback = known ? undefined : failed ? reason.errorKind : UNKNOWN;
    report?.decided({ flagKey, variation: variant, why: fallback, ms: Math.max(0, Date.now() - startedAt) });
    return request;
  };
}

/** The flag's value is no variant. */
const UNKNOWN = 'UNKNOWN_VARIANT';

/** The attributes that rules can target. The key determines percentage rollouts. */
function contextOf(key: string, { clientIp, uri, headers }: CloudFrontRequest) {
  const ip = clientIp;
  return {
    kind: 'user',
    key,
    anonymous: true,
    ip,
    path: uri,
    host: headerValue(headers, 'host'),
    userAgent: headerValue(headers, 'user-agent'),
  };
}

function why(reason: Detail['reason']): string {
  return reason.kind === 'ERROR' ? `ERROR ${reason.errorKind}` : reason.kind;
}
