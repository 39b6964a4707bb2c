/** Three CloudFront handlers that route by flag: viewer-request decides, origin-request maps, viewer-response remembers. */
export type { Origin, OriginRequestConfig, ViewerRequestConfig, ViewerResponseConfig } from './config.ts';
export { createOriginRequestHandler } from './origin-request.ts';
export { createViewerRequestHandler } from './viewer-request.ts';
export { createViewerResponseHandler } from './viewer-response.ts';
