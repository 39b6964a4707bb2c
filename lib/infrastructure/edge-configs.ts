/** What is compiled into the router's functions, made of a site's settings: for stages and constructs, and for `npm start`. */
import type { ReaderConfig } from '../../lambda/edge-reader/config.ts';
import {
  type CookieConfig,
  headersById,
  type OriginRequestConfig,
  type ViewerRequestConfig,
  type ViewerResponseConfig,
} from '../../lambda/edge-router/config.ts';
import { behaviorsOf, domainNameOf } from './check-edge.ts';
import type { EdgeSettings } from './stage-settings.ts';

/** The metrics that count a router's decisions by variation, as its report names them. */
export function decisionMetricNames({
  rules = [],
  flagKey,
  origins,
}: Pick<EdgeSettings, 'rules' | 'flagKey' | 'origins'>): string[] {
  const ofRules = rules.map((rule) => [rule.flagKey, Object.keys(rule.variations)] as const);
  const all = flagKey === undefined ? ofRules : [...ofRules, [flagKey, Object.keys(origins)] as const];
  const names = all.flatMap(([flag, variations]) => [...variations, 'fallback'].map((name) => `${flag}=${name}`));
  return [...new Set(names)];
}

/** What each of the three functions needs of a site's settings. */
export function routerConfigs(
  edge: Omit<EdgeSettings, 'prefix'>,
  reader: ReaderConfig,
): {
  readonly 'viewer-request': ViewerRequestConfig;
  readonly 'origin-request': OriginRequestConfig;
  readonly 'viewer-response': ViewerResponseConfig;
} {
  const { flagKey, origins, defaultVariant, variantHeader, cookieName, viewer, attributes, contexts, shadow } = edge;
  const { heartbeatFlag } = edge;
  const rules = edge.rules ?? [];
  const cookie = cookieOf(edge);
  const answers = rules.some(({ variations }) => Object.values(variations).some((one) => one.redirect || one.answer));
  const present = <T extends Record<string, object>>(kinds: T) =>
    Object.fromEntries(Object.entries(kinds).filter(([, all]) => Object.keys(all).length > 0)) as Partial<T>;
  return {
    'viewer-request': {
      reader,
      ...(flagKey !== undefined && { flagKey }),
      variants: Object.keys(origins),
      defaultVariant,
      ...(variantHeader && { variantHeader }),
      ...(cookieName && { cookieName }),
      ...(viewer && { viewer }),
      ...(rules.length > 0 && { rules }),
      ...(attributes && { attributes }),
      ...(contexts && { contexts }),
      ...(answers && { cookie }),
      ...(shadow && { shadow }),
      ...(heartbeatFlag !== undefined && { heartbeatFlag }),
    },
    'origin-request': {
      origins,
      defaultVariant,
      ...(variantHeader && { variantHeader }),
      ...fallbacksOf(edge),
      ...present({ requestHeaders: headersById(rules, 'requestHeaders') }),
    },
    'viewer-response': { ...cookie, ...present({ responseHeaders: headersById(rules, 'responseHeaders') }) },
  };
}

/** The router's cookie, as a stage file describes it. */
function cookieOf(edge: Omit<EdgeSettings, 'prefix'>): CookieConfig {
  const { cookieName, cookieMaxAgeSeconds, cookieDomain, cookiePath, cookieSameSite, cookieHttpOnly, cookieSecure } =
    edge;
  const given = {
    cookieName,
    cookieMaxAgeSeconds,
    cookieDomain,
    cookiePath,
    cookieSameSite,
    cookieHttpOnly,
    cookieSecure,
  };
  const present = Object.entries({ ...given, epoch: edge.viewer?.epoch }).filter(([, value]) => value !== undefined);
  return Object.fromEntries(present);
}

/** Those in which flags decide. */
export function routedBehaviors(edge: Pick<EdgeSettings, 'behavior' | 'behaviors'>): ReturnType<typeof behaviorsOf> {
  return behaviorsOf(edge).filter(([, { origin }]) => origin === undefined);
}

/** The second origins of routed behaviors, which origin-request must leave as they are. */
function fallbacksOf(edge: Pick<EdgeSettings, 'behavior' | 'behaviors' | 'otherOrigins'>): {
  readonly fallbacks?: readonly string[];
} {
  const names = routedBehaviors(edge).flatMap(([, { fallback }]) => (fallback ? [fallback.origin] : []));
  const fallbacks = [...new Set(names.map((name) => domainNameOf(edge.otherOrigins![name]!)))];
  return fallbacks.length > 0 ? { fallbacks } : {};
}
