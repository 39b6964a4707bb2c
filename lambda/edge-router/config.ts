import type { ExposuresOptions, HeldFlags, ReaderConfig } from '../edge-reader/index.ts';
import type { PreviewConfig } from './preview-token.ts';
import type { ContextSettings, Headers, Rule } from './rules.ts';
import type { ShadowSettings } from './shadow.ts';

export { DECISION_HEADER, DEFAULT_COOKIE_NAME, DEFAULT_VARIANT_HEADER, SHADOW_HEADER } from './headers.ts';
export { type PreviewConfig, type PreviewSettings, previewCookieName } from './preview-token.ts';
export type {
  Action,
  Answer,
  Attributes,
  ContextSettings,
  From,
  OtherContext,
  PassOn,
  Patterns,
  Presence,
  Redirect,
  Rule,
  ToAnswer,
  ToRedirect,
  When,
} from './rules.ts';
export { flagKeysOf, headersById } from './rules.ts';
export type { ShadowSettings } from './shadow.ts';

/** Compiled into the viewer-request function. */
export interface ViewerRequestConfig extends ContextSettings {
  readonly reader: ReaderConfig;
  /** Tried in order, before `flagKey`. Default none. */
  readonly rules?: readonly Rule[];
  /** The flag whose value names the origin of requests for which no rule has chosen one. Default: none does. */
  readonly flagKey?: string;
  /** The origins by name, which may appear in the cache key; any other flag value selects the default. */
  readonly variants: readonly string[];
  /** The origin of requests for which nothing else has chosen one, and of all while the flag cannot be evaluated. */
  readonly defaultVariant: string;
  /** Must be part of the cache policy's key. Default `x-flag-variant`. */
  readonly variantHeader?: string;
  /** The first-party cookie that holds the viewer's id. Default `flag-viewer`. */
  readonly cookieName?: string;
  /** The CloudWatch namespace of the metrics that the function writes to its log. Default: it writes none. */
  readonly metricsNamespace?: string;
  /** The heartbeat flag, whose delay is a metric. Default none: not in the bundle. */
  readonly heartbeatFlag?: string;
  /** Flags to use until the table has been read: the router's, with everything that they depend on. Default: none. */
  readonly bootstrap?: HeldFlags;
  /** Logs decisions for LaunchDarkly's experiments and flag statuses. Default: off, and not in the bundle. */
  readonly exposures?: ExposuresOptions;
  /** Who a viewer is to the flag. Default: the id in the cookie, which new viewers get. */
  readonly viewer?: ViewerSettings;
  /** As for viewer-response, which does not run after a redirect or an answer of a rule. */
  readonly cookie?: CookieConfig;
  /** Preview links for testers. Default none: their code is then not in the bundle. */
  readonly preview?: PreviewConfig;
  /** Which requests are shadow traffic. Default none. */
  readonly shadow?: ShadowSettings;
}

/** Which id becomes the key of the context that the flag is evaluated for. */
export interface ViewerSettings {
  /**
   * Where ids are looked for, in this order: in the router's own cookie, or in a cookie or header of the site, whose value is
   * used unchanged (up to 256 visible ASCII characters). Default `['cookie']`.
   */
  readonly ids?: readonly ViewerId[];
  /**
   * What happens without an id. `new-id`: the router makes one and sets its cookie; viewers who refuse cookies get another one,
   * and possibly another variant, with each request. `default-variant`: until the cookie comes back, everybody gets the
   * default variant. `address`: the id is a hash of the viewer's address. `per-request`: a new id for each request, no cookie.
   * Default `new-id`.
   */
  readonly without?: 'new-id' | 'default-variant' | 'address' | 'per-request';
  /** Without this cookie or header, the router neither sets nor reads its cookie. Default: it always does. */
  readonly consent?: Consent;
  /** Change it to reassign all viewers: cookies of another epoch are ignored, and hashes of addresses differ. Default none. */
  readonly epoch?: string;
}

type ViewerId = 'cookie' | { readonly cookie: string } | { readonly header: string };

export type Consent = ({ readonly cookie: string } | { readonly header: string }) & {
  /** A part of the value, decoded or not, such as `C0002:1`. Default: any value. */
  readonly includes?: string;
};

/** Where a variant's requests go. */
export type Origin = CustomOrigin | BucketOrigin;

/** A web server, load balancer or website. AWS: "Lambda@Edge event structure", request event, custom origin. */
export interface CustomOrigin {
  readonly domainName: string;
  /** Default https. */
  readonly protocol?: 'http' | 'https';
  /** 80, 443, or 1024 to 65535. Default 443, or 80 for http. */
  readonly port?: number;
  /** Prepended to the viewer's path: starts with a slash and does not end with one. Default none. */
  readonly path?: string;
  /** How long CloudFront waits for a response, and between its packets: 1 to 120. Default 30. */
  readonly readTimeoutSeconds?: number;
  /** 1 to 120. Default 5. */
  readonly keepaliveTimeoutSeconds?: number;
  /**
   * How often CloudFront tries to connect, 1 to 3, and how long each time, 1 to 10. The default variant's values
   * apply to all variants, because functions cannot change them. Default 3 and 10.
   */
  readonly connectionAttempts?: number;
  readonly connectionTimeoutSeconds?: number;
  /** The Host header sent to the origin. Default: its domain name. */
  readonly host?: string;
  /** Sends the viewer's own Host header, which the behavior must forward: `forward: 'all'`. Default false. */
  readonly viewerHost?: boolean;
  /**
   * Additional headers of each request to this origin, in lower case, such as one by which it recognises CloudFront. Anyone who
   * can read the stack or the function's code can read them.
   */
  readonly headers?: Headers;
  /**
   * Another of the origins, for requests whose origin failed, in behaviors with a fallback (an origin group). Default: the behavior's
   * own.
   */
  readonly fallback?: string;
}

/** A private S3 bucket that CloudFront reads with origin access control. All variants must be in the same bucket. */
export interface BucketOrigin {
  readonly bucket: string;
  readonly region: string;
  /** The folder of the variant: starts with a slash and does not end with one. Default none. */
  readonly path?: string;
}

/** Compiled into the origin-request function. */
export interface OriginRequestConfig {
  readonly origins: Readonly<Record<string, Origin>>;
  readonly defaultVariant: string;
  readonly variantHeader?: string;
  /** Domain names of the second origins of origin groups. CloudFront calls again for them, and they are left as they are. */
  readonly fallbacks?: readonly string[];
  /** The headers that actions add, by their id. Default none. */
  readonly requestHeaders?: Readonly<Record<string, Headers>>;
}

/** Compiled into the viewer-response function. */
export interface ViewerResponseConfig extends CookieConfig {
  /** The headers that actions add, by their id. Default none. */
  readonly responseHeaders?: Readonly<Record<string, Headers>>;
}

/** The router's own cookie. */
export interface CookieConfig {
  readonly cookieName?: string;
  /** Default 34,560,000 (400 days), the longest that browsers keep a cookie (RFC 6265bis). */
  readonly cookieMaxAgeSeconds?: number;
  /** Whether the cookie is sent over https only. Default true; set false for `http://localhost`. */
  readonly cookieSecure?: boolean;
  /** The site whose host names get the cookie, such as example.com. Default: the host name that set it. */
  readonly cookieDomain?: string;
  /** Default `/`. */
  readonly cookiePath?: string;
  /** `None` for a site in frames of others. Default Lax. */
  readonly cookieSameSite?: 'Lax' | 'Strict' | 'None';
  /** Whether scripts cannot read the cookie. Set false for an SDK in the browser that uses the same id. Default true. */
  readonly cookieHttpOnly?: boolean;
  /** That of the viewer settings. */
  readonly epoch?: string;
}

/** The domain name by which CloudFront reaches a bucket. */
export function bucketDomainName({ bucket, region }: Pick<BucketOrigin, 'bucket' | 'region'>): string {
  return `${bucket}.s3.${region}.amazonaws.com`;
}
