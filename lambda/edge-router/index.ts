/**
 * CloudFront handlers that route by flags: viewer-request decides, origin-request maps to an origin, and viewer-response sets headers and
 * the cookie.
 */
export type {
  Action,
  Attributes,
  BucketOrigin,
  ContextSettings,
  CustomOrigin,
  Origin,
  OriginRequestConfig,
  OtherContext,
  PreviewConfig,
  PreviewSettings,
  Rule,
  ShadowSettings,
  ViewerRequestConfig,
  ViewerResponseConfig,
  ViewerSettings,
} from './config.ts';
export { createOriginRequestHandler } from './origin-request.ts';
export { createHandlerForTesters } from './testers.ts';
export { createViewerRequestHandler, type ViewerRequestOptions } from './viewer-request.ts';
export { createViewerResponseHandler } from './viewer-response.ts';
