import type { ViewerRequestConfig } from '../../lambda/edge-router/config.ts';

type ExposuresOptions = NonNullable<ViewerRequestConfig['exposures']>;

export interface ExposureSettings extends ExposuresOptions {
  /** The environment to which they belong, one of the stage's. */
  readonly environment: string;
}

/** What the router needs of them. Viewers' addresses stay out of LaunchDarkly unless the settings say which attributes are private. */
export function exposuresOptions({ environment: _, ...options }: ExposureSettings): ExposuresOptions {
  return { privateAttributes: ['ip'], ...options };
}

/** How a distribution treats the requests of one path pattern. */
export interface BehaviorSettings {
  /** One of `otherOrigins`: these requests are not routed by the flag. Default: the flag chooses the origin. */
  readonly origin?: string;
  /** Answers GET and HEAD when the origin fails: an origin group. Default none. */
  readonly fallback?: FallbackSettings;
  /**
   * `origin`: as long as the origin's Cache-Control says, and not at all without one. `none`: not at all. A number of seconds
   * also caches what has no Cache-Control: only for pages that are the same for everybody. Default `origin`.
   */
  readonly caching?: 'origin' | 'none' | { readonly defaultSeconds: number; readonly maxSeconds?: number };
  /** What else distinguishes answers in the cache: sent to the origin, too. */
  readonly cacheKey?: CacheKeySettings;
  /**
   * What origins get of the viewer's request besides the cache key. `all-but-host`: CloudFront's AllViewerExceptHostHeader;
   * `all`: AllViewer, with the viewer's Host; `none`: nothing. Default `all-but-host`; for a bucket `none`.
   */
  readonly forward?: 'all-but-host' | 'all' | 'none' | ForwardSettings;
  /** `read`: GET and HEAD; `read-and-options`; `all`. Default `all`; for a bucket or with a fallback `read-and-options`. */
  readonly methods?: 'read' | 'read-and-options' | 'all';
  /** Whether CloudFront compresses what origins send uncompressed. Default true. */
  readonly compress?: boolean;
  /** Default `redirect-to-https`. */
  readonly viewerProtocol?: 'redirect-to-https' | 'https-only' | 'allow-all';
}

/** The first match in the list counts. */
export interface PathBehaviorSettings extends BehaviorSettings {
  /** CloudFront's path pattern, such as `/api/*`. */
  readonly path: string;
}

export interface FallbackSettings {
  /** One of `otherOrigins`. */
  readonly origin: string;
  /** When the first origin's answer counts as a failure. Default 500, 502, 503, 504. */
  readonly statusCodes?: readonly number[];
}

export interface CacheKeySettings {
  /** In addition to the variant and Authorization. */
  readonly headers?: readonly string[];
  /**
   * Default: all that origins get, but the router's own. A shorter list caches better; pages that depend on other cookies must
   * then say `Cache-Control: private`.
   */
  readonly cookies?: readonly string[];
  /** Default all; for a bucket none. */
  readonly queryStrings?: 'all' | 'none' | readonly string[];
}

export interface ForwardSettings {
  /** Default none. */
  readonly headers?: readonly string[];
  /** Default none. */
  readonly cookies?: 'all' | 'none' | readonly string[];
  /** Default none. */
  readonly queryStrings?: 'all' | 'none' | readonly string[];
}

export const FAILOVER_STATUS_CODES = [400, 403, 404, 416, 429, 500, 502, 503, 504] as const;
