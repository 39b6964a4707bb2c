/**
 * Which parts of a viewer's request become part of the cache key, and which are sent to origins. The distribution's policies
 * and the local edge of `npm start` are made from it.
 */
import {
  DEFAULT_COOKIE_NAME,
  DEFAULT_VARIANT_HEADER,
  type Origin,
  type PreviewSettings,
  previewCookieName,
  SHADOW_HEADER,
  type ShadowSettings,
} from '../../lambda/edge-router/config.ts';
import type { BehaviorSettings } from './edge-settings.ts';

export type Selection = 'all' | 'none' | readonly string[];
/** Everything but these names. */
export interface Except {
  readonly except: readonly string[];
}

/** Names of headers are in lower case. */
export interface Forwarding {
  /** Absent: CloudFront's managed policy CachingDisabled. */
  readonly cache?: CacheRules;
  readonly originRequest: OriginRequestRules;
}

export interface CacheRules {
  readonly headers: readonly string[];
  readonly cookies: readonly string[] | Except;
  readonly queryStrings: Selection;
  /** For answers without Cache-Control. */
  readonly defaultSeconds: number;
  readonly maxSeconds: number;
  /** Whether Accept-Encoding is normalised and part of the key. */
  readonly compressed: boolean;
}

export interface OriginRequestRules {
  readonly headers: Selection | 'all-but-host' | Except;
  readonly cookies: Selection | Except;
  readonly queryStrings: Selection;
}

/** Where the requests of a behavior may go. */
export interface Destination {
  /** Whether the flag chooses the origin. */
  readonly routed: boolean;
  readonly bucket: boolean;
  readonly variantHeader?: string | undefined;
  /** The router's own, which says nothing that the variant does not. */
  readonly cookieName?: string | undefined;
  /** Whether requests may be marked as shadow traffic. Then the mark is in the cache key, since origins may answer it otherwise. */
  readonly shadow?: boolean;
  /** What testers send and no origin gets. Where flags route, the router's function takes it out of requests. Default none. */
  readonly secrets?: Secrets;
}

export interface Secrets {
  /** In lower case. */
  readonly headers: readonly string[];
  readonly cookies: readonly string[];
}

export function destinationOf(
  { origin }: BehaviorSettings,
  site: {
    readonly origins: Readonly<Record<string, Origin>>;
    readonly otherOrigins?: Readonly<Record<string, Origin>>;
    readonly variantHeader?: string;
    readonly cookieName?: string;
    readonly cookieSecure?: boolean;
    readonly preview?: PreviewSettings;
    readonly shadow?: ShadowSettings;
  },
): Destination {
  const chosen = origin === undefined ? Object.values(site.origins) : [site.otherOrigins?.[origin]];
  return {
    routed: origin === undefined,
    bucket: chosen.some((one) => one !== undefined && 'bucket' in one),
    variantHeader: site.variantHeader,
    cookieName: site.cookieName,
    shadow: site.shadow !== undefined,
    secrets: {
      headers: site.shadow ? [site.shadow.header] : [],
      cookies: site.preview ? [previewCookieName(site.cookieSecure)] : [],
    },
  };
}

/**
 * Authorization is in the cache key of everything that may be cached: an origin request policy cannot name it, and one that
 * includes it among all headers would let CloudFront give one viewer's answer to another. A request without it has the same
 * key as without this rule. Buckets do not get it, since CloudFront signs their requests itself.
 *
 * So are the cookies that origins get, unless the key names its own: CloudFront gives one answer to requests of the same key
 * that come at the same time ("request collapsing"), also where nothing is cached for lack of a Cache-Control.
 */
export function forwardingOf(behavior: BehaviorSettings, destination: Destination): Forwarding {
  const { caching = 'origin', cacheKey = {}, compress = true } = behavior;
  const { routed, bucket, variantHeader = DEFAULT_VARIANT_HEADER, cookieName = DEFAULT_COOKIE_NAME } = destination;
  const secrets = routed ? NO_SECRETS : (destination.secrets ?? NO_SECRETS);
  const variant = routed ? [variantHeader, ...(destination.shadow ? [SHADOW_HEADER] : [])] : [];
  if (caching === 'none') return { originRequest: originRequestRules(behavior, bucket, variant, secrets) };
  const times = caching === 'origin' ? { defaultSeconds: 0 } : caching;
  // The cache policy already sends the variant.
  const originRequest = originRequestRules(behavior, bucket, [], secrets);
  const { cookies } = originRequest;
  const forwarded =
    cookies === 'all' || isExcept(cookies)
      ? { except: [cookieName, ...secrets.cookies] }
      : cookies === 'none'
        ? []
        : cookies;
  const headers = [...variant, ...(bucket ? [] : ['authorization']), ...(cacheKey.headers ?? [])];
  return {
    cache: {
      headers: [...new Set(headers)],
      cookies: cacheKey.cookies ?? forwarded,
      queryStrings: cacheKey.queryStrings ?? (bucket ? 'none' : 'all'),
      defaultSeconds: times.defaultSeconds,
      maxSeconds: ('maxSeconds' in times ? times.maxSeconds : undefined) ?? YEAR_SECONDS,
      compressed: compress,
    },
    originRequest,
  };
}

export function isExcept(names: unknown): names is Except {
  return Object.hasOwn(Object(names), 'except');
}

const YEAR_SECONDS = 31_536_000;
const NO_SECRETS: Secrets = { headers: [], cookies: [] };

function originRequestRules(
  { forward }: BehaviorSettings,
  bucket: boolean,
  variant: readonly string[],
  secrets: Secrets,
): OriginRequestRules {
  const what = forward ?? (bucket ? 'none' : 'all-but-host');
  const allCookies = secrets.cookies.length > 0 ? { except: secrets.cookies } : 'all';
  if (what === 'all' || what === 'all-but-host') {
    const except = [...(what === 'all' ? [] : ['host']), ...secrets.headers];
    return { headers: secrets.headers.length > 0 ? { except } : what, cookies: allCookies, queryStrings: 'all' };
  }
  const { headers = [], cookies = 'none', queryStrings = 'none' } = what === 'none' ? {} : what;
  const named = [...new Set([...variant, ...headers])];
  return {
    headers: named.length > 0 ? named : 'none',
    cookies: cookies === 'all' ? allCookies : cookies,
    queryStrings,
  };
}

/** The methods of a behavior, unless it says otherwise: what its origin can do. */
export function methodsOf(
  { methods, fallback }: BehaviorSettings,
  { bucket }: Destination,
): 'read' | 'read-and-options' | 'all' {
  return methods ?? (bucket || fallback ? 'read-and-options' : 'all');
}
