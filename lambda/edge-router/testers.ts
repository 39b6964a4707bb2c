/** What testers use: previews and shadow traffic. A router without either has no code for them. */
import type { CloudFrontRequest, CloudFrontRequestEvent, CloudFrontResultResponse } from 'aws-lambda';
import type { Report } from '../edge-reader/index.ts';
import type { ViewerRequestConfig } from './config.ts';
import { createPreviews, withPreviews } from './preview.ts';
import { withShadow } from './shadow.ts';
import type { ViewerRequestOptions } from './viewer-request.ts';

type Handler = (event: CloudFrontRequestEvent) => Promise<CloudFrontRequest | CloudFrontResultResponse>;

/** `make` makes the handler itself; without a report it counts nothing. */
export function createHandlerForTesters(
  { preview, shadow }: Pick<ViewerRequestConfig, 'preview' | 'shadow'>,
  report: Pick<Report, 'decided'> | undefined,
  make: (report: Pick<Report, 'decided'> | undefined, options: ViewerRequestOptions) => Handler,
): Handler {
  const previews = preview && createPreviews(preview);
  const options = previews ? { overrides: previews.overrides } : {};
  const counted = make(report, options);
  const handler = shadow ? withShadow(shadow, counted, make(undefined, { ...options, isShadow: true })) : counted;
  return previews ? withPreviews(handler, previews) : handler;
}
