import type { CloudFrontRequest, CloudFrontRequestEvent, CloudFrontResultResponse } from 'aws-lambda';
import { beginRequest, type Report } from '../edge-reader/index.ts';
import type { ViewerRequestConfig } from './config.ts';
import { contextOf } from './context.ts';
import { type Asking, createEngine, newOutcome, type Outcome, type Overrides, type ReadyRule } from './engine.ts';
import type { ShownExposures } from './exposure-rules.ts';
import {
  DECISION_HEADER,
  DEFAULT_COOKIE_NAME,
  DEFAULT_VARIANT_HEADER,
  headersOf,
  NEW_VIEWER_HEADER,
  RESPONSE_HEADER,
  SHADOW_HEADER,
  setHeader,
  VIEWER_HEADER,
} from './headers.ts';
import { createParts, type Parts } from './parts.ts';
import { passingOn } from './passing-on.ts';
import { createIdentify, type Viewer } from './viewer.ts';

type Handler<Result> = (event: CloudFrontRequestEvent) => Promise<Result>;

export interface ViewerRequestOptions {
  /** The values, by flag key, that this request gets whatever the flags say. */
  overrides?(request: CloudFrontRequest): Overrides | undefined;
  /** Whether it is for shadow traffic, and so sets that header. Viewers cannot send it. */
  readonly isShadow?: boolean;
  /** Counts decisions as exposures. The reader must report its evaluations to `observe`. */
  readonly exposures?: ShownExposures | undefined;
}

/**
 * Runs before CloudFront's cache lookup: identifies the viewer, evaluates the flags and sets the variant header, which is
 * part of the cache key. Headers of the same names that the viewer sent are overwritten.
 *
 * A viewer can still choose a variant by trying ids in the cookie, but not by sending a header.
 *
 * While a flag cannot be evaluated, or without an id to evaluate it for, its default applies; the decision header says why. An id
 * under which nothing could be evaluated is not stored. Never rejects: an unexpected request goes on to the default
 * variant. AWS: "Lambda@Edge event structure"; Node.js 24 supports async handlers only.
 */
export function createViewerRequestHandler(
  config: ViewerRequestConfig & { readonly rules?: never },
  reader: Asking,
  report?: Pick<Report, 'decided'>,
  options?: ViewerRequestOptions,
): Handler<CloudFrontRequest>;
export function createViewerRequestHandler(
  config: ViewerRequestConfig,
  reader: Asking,
  report?: Pick<Report, 'decided'>,
  options?: ViewerRequestOptions,
): Handler<CloudFrontRequest | CloudFrontResultResponse>;
export function createViewerRequestHandler(
  config: ViewerRequestConfig,
  reader: Asking,
  report?: Pick<Report, 'decided'>,
  options?: ViewerRequestOptions,
): Handler<CloudFrontRequest | CloudFrontResultResponse> {
  return createRouter(config, createParts(config), reader, report, options);
}

/** The same for a configuration that may have neither rules nor attributes: without `parts`. */
export function createRouter(
  config: ViewerRequestConfig,
  parts: Parts | undefined,
  reader: Asking,
  report?: Pick<Report, 'decided'>,
  { overrides, exposures, isShadow = false }: ViewerRequestOptions = {},
): Handler<CloudFrontRequest | CloudFrontResultResponse> {
  const { defaultVariant, variantHeader = DEFAULT_VARIANT_HEADER, cookieName = DEFAULT_COOKIE_NAME } = config;
  const identify = createIdentify({ ...config.viewer, cookieName });
  const decide = createEngine([...(parts?.rules ?? []), ...ofFlag(config)]);

  /** Writes what is to be done into the request, and returns the result of the function. `otherwise`: the decision header without a flag. */
  function write(request: CloudFrontRequest, outcome: Outcome, viewer: Partial<Viewer>, otherwise = 'none') {
    const headers = headersOf(request);
    const source = reader.status?.().source === 'held' ? '; source=bootstrap' : '';
    const put = (name: string, value: string | undefined) => {
      if (value) setHeader(headers, name, value);
      else delete headers[name];
    };
    const decided = outcome.decided.map(
      ({ flagKey, variation, reason, kind }) =>
        `${flagKey}=${variation}; reason=${reason}${kind === 'evaluated' ? source : ''}`,
    );
    // Also without a flag, to show that the router is in place.
    const decision = decided.join(', ') || otherwise;
    put(variantHeader, [outcome.origin ?? defaultVariant, ...outcome.requestHeaders].join(','));
    put(DECISION_HEADER, decision);
    put(VIEWER_HEADER, viewer.key);
    put(NEW_VIEWER_HEADER, viewer.store);
    put(RESPONSE_HEADER, [...outcome.responseHeaders.keys()].join(','));
    request.uri = outcome.uri ?? request.uri;
    // viewer-response does not run for what is made here.
    const answer = parts?.complete(outcome, viewer.store);
    if (answer?.headers) setHeader(answer.headers, DECISION_HEADER, decision);
    return answer ?? request;
  }

  async function route(request: CloudFrontRequest) {
    const startedAt = Date.now();
    beginRequest();
    const headers = headersOf(request);
    if (!isShadow) delete headers[SHADOW_HEADER];
    const viewer = identify(request);
    const context = contextOf(request, viewer, parts?.added(request));
    const outcome = await decide(request, reader, context, overrides?.(request));
    if (context) exposures?.count(request, context, outcome.given);
    for (const { flagKey, variation, why, kind } of outcome.decided)
      if (kind !== 'overridden') report?.decided({ flagKey, variation, why, ms: Math.max(0, Date.now() - startedAt) });
    return write(request, outcome, outcome.decided.some(({ kind }) => kind !== 'failed') ? viewer : {});
  }

  return passingOn(
    ({ request }) => route(request),
    ({ request }) => {
      const result = write(request, newOutcome(), {}, 'none; reason=ERROR EXCEPTION');
      report?.decided({ flagKey: 'none', variation: 'none', why: 'EXCEPTION', ms: 0 });
      return result;
    },
  );
}

/** The simple form: a flag whose value is the name of an origin, for every request. */
function ofFlag({ flagKey, variants = [], defaultVariant }: ViewerRequestConfig): ReadyRule[] {
  if (flagKey === undefined) return [];
  const variations = new Map(variants.map((name) => [name, { origin: name }]));
  return [{ flagKey, matches: () => '', variations, otherwise: defaultVariant }];
}
