/**
 * CloudFront handlers that route by flag: viewer-request selects the variant, origin-request its origin, and
 * viewer-response sets the cookie.
 */
export type {
  BucketOrigin,
  CustomOrigin,
  Origin,
  OriginRequestConfig,
  ViewerRequestConfig,
  ViewerResponseConfig,
  ViewerSettings,
} from './config.ts';
export { createOriginRequestHandler } from './origin-request.ts';
export { createViewerRequestHandler } from './viewer-request.ts';
export { createViewerResponseHandler } from './viewer-response.ts';
