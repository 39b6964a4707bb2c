/**
 * CloudFront handlers that route by flags: viewer-request decides, origin-request maps to an origin, and viewer-response sets headers and
 * the cookie.
 */
import { checkRouterConfig } from './check-config.ts';
import type { ViewerRequestConfig } from './config.ts';
import type { Asking } from './engine.ts';
import { createOriginRequestHandler as ofOriginRequest } from './origin-request.ts';
import { createHandlerForTesters as ofTesters } from './testers.ts';
import { createViewerRequestHandler as ofViewerRequest } from './viewer-request.ts';
import { createViewerResponseHandler as ofViewerResponse } from './viewer-response.ts';

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

export { createShownExposures, type ShownExposures } from './exposure-rules.ts';
export type { ViewerRequestOptions } from './viewer-request.ts';

// For code of your own: these check their configuration, and throw one Error that lists every problem. A stage's functions are checked when they are
// built, and do not carry the checks.

/**
 * Chooses the variants of a viewer by the id in a cookie, and passes them on in headers. Throws an Error that lists every problem of the
 * configuration; the handler itself never rejects.
 */
export const createViewerRequestHandler = ((config: ViewerRequestConfig, ...others: [Asking]) => {
  checkRouterConfig(config, 'viewer-request');
  return ofViewerRequest(config, ...others);
}) as typeof ofViewerRequest;

/** Sends a request to the origin of its variant. Throws an Error that lists every problem of the configuration. */
export const createOriginRequestHandler: typeof ofOriginRequest = (config) => {
  checkRouterConfig(config, 'origin-request');
  return ofOriginRequest(config);
};

/**
 * Sets the headers that rules chose and the cookie of a new viewer, and reports the decisions. Throws an Error that lists every problem of the
 * configuration; the handler itself never rejects.
 */
export const createViewerResponseHandler: typeof ofViewerResponse = (config) => {
  checkRouterConfig(config, 'viewer-response');
  return ofViewerResponse(config);
};

/** A viewer-request handler with previews and shadow traffic: `make` makes the handler without them. Throws an Error that lists every problem of the configuration. */
export const createHandlerForTesters: typeof ofTesters = (config, ...others) => {
  checkRouterConfig(config);
  return ofTesters(config, ...others);
};
