import type { CloudFrontHeaders } from 'aws-lambda';
import { setHeader } from './headers.ts';

/**
 * A page that shows a preview is for the tester alone, and no search engine should list it. CloudFront's cache keeps the
 * origin's answer, which is the one for any viewer of the variant.
 */
export function markPreviewed(headers: CloudFrontHeaders, decision: string | undefined): void {
  if (!decision || !/reason=OVERRIDE\b/.test(decision)) return;
  setHeader(headers, 'cache-control', 'private, no-store');
  setHeader(headers, 'x-robots-tag', 'noindex');
}
