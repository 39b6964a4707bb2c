/**
 * What CloudFront, Lambda@Edge and the router itself accept, checked at build: at the edge a wrong value would only show as a
 * refused deployment or as a 502 for every viewer. Source: Amazon CloudFront Developer Guide, the pages named below.
 */
import { isIP } from 'node:net';
import { isPrivateReference, PRIVATE_REFERENCES } from '../../lib/evaluation/index.ts';
import { previewProblems, shadowProblems } from './check-preview.ts';
import { contextProblems, rulesProblems } from './check-rules.ts';
import {
  type Check,
  type ConfigProblem,
  FLAG_KEY,
  flag,
  inLines,
  integer,
  isHostName,
  isIntegerIn,
  isObject,
  NAME,
  notOfPreviews,
  originPath,
  pattern,
  placeProblems,
  problem,
  problemsOf,
  unknownProblems,
} from './check-values.ts';
import {
  bucketDomainName,
  type CookieConfig,
  DEFAULT_VARIANT_HEADER,
  type OriginRequestConfig,
  type ViewerRequestConfig,
  type ViewerResponseConfig,
} from './config.ts';
import { VIEWER_ATTRIBUTES } from './context.ts';
import { describeCustomHeaderProblem, describeVariantHeaderProblem, isHeaderValue } from './header-rules.ts';

export { coversPattern, patternsOf } from './check-rules.ts';
export { type ConfigProblem, inLines } from './check-values.ts';

export type RouterConfig = Partial<Omit<ViewerRequestConfig, 'reader'> & OriginRequestConfig & ViewerResponseConfig>;

/**
 * Called by the bundler, since bundled handlers do not validate their config, and at start of those in one's own code. Throws one Error that lists
 * every problem, each on its line. `which`: the function that the config is for; others know some of its properties.
 */
export function checkRouterConfig(config: RouterConfig, which?: keyof typeof PROPERTIES): void {
  const known = which ? PROPERTIES[which] : Object.assign({}, ...Object.values(PROPERTIES));
  const problems = [...unknownProblems('', config, Object.keys(known)), ...routerProblems(config)];
  if (problems.length > 0) throw new Error(`edge router: ${inLines(problems)}`);
}

/** The compiler requires all of them. */
type All<T> = Readonly<Record<keyof T, true>>;

const COOKIE: All<CookieConfig> = {
  cookieName: true,
  cookieMaxAgeSeconds: true,
  cookieSecure: true,
  cookieDomain: true,
  cookiePath: true,
  cookieSameSite: true,
  cookieHttpOnly: true,
  epoch: true,
};

/** What the configuration of each function may have. */
const PROPERTIES: {
  readonly 'viewer-request': All<ViewerRequestConfig>;
  readonly 'origin-request': All<OriginRequestConfig>;
  readonly 'viewer-response': All<ViewerResponseConfig>;
} = {
  'viewer-request': {
    reader: true,
    rules: true,
    flagKey: true,
    variants: true,
    defaultVariant: true,
    variantHeader: true,
    cookieName: true,
    metricsNamespace: true,
    heartbeatFlag: true,
    bootstrap: true,
    exposures: true,
    viewer: true,
    cookie: true,
    preview: true,
    shadow: true,
    attributes: true,
    contexts: true,
  },
  'origin-request': {
    origins: true,
    defaultVariant: true,
    variantHeader: true,
    fallbacks: true,
    requestHeaders: true,
  },
  'viewer-response': { ...COOKIE, responseHeaders: true },
};

/** Every problem of a router's configuration, as far as it is given. */
export function routerProblems(config: RouterConfig): ConfigProblem[] {
  const problems = Object.entries(SETTINGS).flatMap(([name, rule]) =>
    problemsOf(name, (config as Readonly<Record<string, unknown>>)[name], rule),
  );
  const { variants, origins, defaultVariant } = config;
  const names = variants ?? (isObject(origins) ? Object.keys(origins) : undefined);
  if (names?.length === 0)
    problems.push(problem(variants ? 'variants' : 'origins', names, 'expected at least one variant'));
  for (const name of names ?? []) problems.push(...variantProblems(name));
  if (names && names.length > 0 && !names.includes(defaultVariant ?? ''))
    problems.push(problem('defaultVariant', defaultVariant, `expected one of ${names.join(', ')}`));
  if (variants && config.flagKey === undefined && !config.rules?.length)
    problems.push(problem('flagKey', undefined, `${FLAG_KEY(undefined)}, or rules`));
  problems.push(...cookieProblems(config), ...nestedCookieProblems(config.cookie));
  problems.push(...viewerProblems(config), ...exposuresProblems(config.exposures));
  problems.push(...rulesProblems(config, names ?? []), ...contextProblems(config), ...hiddenProblems(config));
  problems.push(...previewProblems(config.preview), ...shadowProblems(config));
  return [...problems, ...originProblems(origins, 'origins', config.variantHeader)];
}

/** Attributes that would take the place of those that the documentation promises. */
function hiddenProblems({ attributes }: RouterConfig): ConfigProblem[] {
  return Object.entries(Object(attributes)).flatMap(([name, from]) =>
    VIEWER_ATTRIBUTES.includes(name)
      ? [problem(`attributes.${name}`, from, `expected another name (the router itself gives viewers their ${name})`)]
      : [],
  );
}

/** The router's own cookie, where viewer-request has all that sets it. */
function nestedCookieProblems(cookie: unknown): ConfigProblem[] {
  if (cookie === undefined) return [];
  if (!isObject(cookie)) return [problem('cookie', cookie, 'expected an object')];
  return [
    ...unknownProblems('cookie', cookie, Object.keys(COOKIE)),
    ...Object.keys(COOKIE).flatMap((name) =>
      problemsOf(`cookie.${name}`, cookie[name], SETTINGS[name] ?? (() => undefined)),
    ),
  ];
}

/** RFC 6265bis, "Cookie Name Prefixes", "SameSite". */
function cookieProblems(config: RouterConfig): ConfigProblem[] {
  const { cookieName = '', cookieDomain, cookiePath = '/', cookieSameSite, cookieSecure = true } = config;
  const needs = (prefix: string, wanted: string) =>
    problem('cookieName', cookieName, `expected another name, or ${wanted}: browsers refuse ${prefix} otherwise`);
  if (cookieSameSite === 'None' && !cookieSecure)
    return [
      problem('cookieSameSite', 'None', 'expected Lax or Strict, or cookieSecure: browsers refuse None otherwise'),
    ];
  if (/^__secure-/i.test(cookieName) && !cookieSecure) return [needs('__Secure-', 'cookieSecure')];
  if (/^__host-/i.test(cookieName) && (!cookieSecure || cookieDomain !== undefined || cookiePath !== '/'))
    return [needs('__Host-', 'cookieSecure, the path / and no cookieDomain')];
  return [];
}

/** `viewer` and its properties. */
function viewerProblems({ viewer, variantHeader }: { viewer?: unknown; variantHeader?: unknown }): ConfigProblem[] {
  if (viewer === undefined) return [];
  if (!isObject(viewer)) return [problem('viewer', viewer, 'expected an object')];
  const { ids = ['cookie'], without = 'new-id', consent, epoch } = viewer;
  const unknown = unknownProblems('viewer', viewer, ['ids', 'without', 'consent', 'epoch']);
  if (unknown.length > 0) return unknown;
  if (!Array.isArray(ids) || ids.length > 8) return [problem('viewer.ids', ids, 'expected a list of at most 8 places')];
  const problems = ids.flatMap((from, index) =>
    from === 'cookie' ? [] : placeProblems(`viewer.ids[${index}]`, from, ['cookie', 'header'], variantHeader),
  );
  const known = ['new-id', 'default-variant', 'address', 'per-request'];
  if (!known.includes(without as string))
    problems.push(problem('viewer.without', without, `expected one of ${known.join(', ')}`));
  const stores = ids.includes('cookie') && without !== 'per-request';
  if (without === 'new-id' && !ids.includes('cookie'))
    problems.push(
      problem('viewer.without', without, "expected another value, or 'cookie' among viewer.ids: the id would be lost"),
    );
  if (consent !== undefined) {
    problems.push(...placeProblems('viewer.consent', consent, ['cookie', 'header', 'includes'], variantHeader));
    if (!ids.includes('cookie'))
      problems.push(
        problem('viewer.consent', consent, "expected 'cookie' among viewer.ids, or no consent: no cookie is set"),
      );
  }
  if (epoch !== undefined) {
    problems.push(...problemsOf('viewer.epoch', epoch, EPOCH));
    if (!stores && without !== 'address')
      problems.push(
        problem(
          'viewer.epoch',
          epoch,
          "expected 'cookie' among viewer.ids, or without: 'address': other ids are the site's",
        ),
      );
  }
  return problems;
}

/** `exposures` and its properties. */
function exposuresProblems(exposures: unknown): ConfigProblem[] {
  if (exposures === undefined) return [];
  if (!isObject(exposures)) return [problem('exposures', exposures, 'expected an object')];
  return [
    ...unknownProblems('exposures', exposures, Object.keys(EXPOSURES)),
    ...Object.entries(EXPOSURES).flatMap(([name, check]) => problemsOf(`exposures.${name}`, exposures[name], check)),
  ];
}

function variantProblems(name: unknown): ConfigProblem[] {
  if (typeof name === 'string' && NAME.test(name)) return [];
  const wanted = 'expected 1 to 64 characters from a-z A-Z 0-9 _ - . (it is sent in a header)';
  return [{ at: 'variants', message: `variant ${JSON.stringify(name)} is invalid: ${wanted}` }];
}

const EPOCH = pattern(/^[\w-]{1,16}$/, 'expected 1 to 16 characters from a-z A-Z 0-9 _ -');

const SETTINGS: Readonly<Record<string, Check>> = {
  flagKey: FLAG_KEY,
  heartbeatFlag: FLAG_KEY,
  variantHeader: describeVariantHeaderProblem,
  cookieName: notOfPreviews(pattern(/^[\w.-]{1,64}$/, 'expected 1 to 64 characters from a-z A-Z 0-9 _ - .')),
  cookieMaxAgeSeconds: integer(1, 34_560_000),
  metricsNamespace: pattern(
    /^(?!AWS\/)[\w.\-/#:]{1,255}$/,
    'expected a CloudWatch namespace: 1 to 255 characters from a-z A-Z 0-9 _ - . / # : that do not begin with AWS/',
  ),
  cookieSecure: flag,
  // RFC 6265: a domain without its leading dot, a path without attributes.
  cookieDomain: (value) =>
    isHostName(value) && value.includes('.') && isIP(value) === 0
      ? undefined
      : 'expected a lower-case domain name without a leading dot, such as example.com',
  cookiePath: pattern(
    /^\/[\x21-\x3a\x3c-\x7e]{0,254}$/,
    'expected a path of at most 255 characters that starts with a slash',
  ),
  cookieSameSite: pattern(/^(Lax|Strict|None)$/, 'expected Lax, Strict or None'),
  cookieHttpOnly: flag,
  epoch: EPOCH,
};

const EXPOSURES: Readonly<Record<string, Check>> = {
  everyMs: integer(1_000, 3_600_000),
  indexEvents: flag,
  allAttributesPrivate: flag,
  privateAttributes: (value) =>
    Array.isArray(value) && value.every(isPrivateReference) ? undefined : `expected a list of ${PRIVATE_REFERENCES}`,
};

/** "Lambda@Edge event structure", request event, origin; ports: "Origin settings". */
const CUSTOM_ORIGIN: Readonly<Record<string, Check>> = {
  domainName: (value) =>
    isHostName(value) && isIP(value) === 0
      ? undefined
      : 'expected a lower-case host name of at most 253 characters, without a port, not an IP address (CloudFront accepts none)',
  protocol: pattern(/^https?$/, 'expected http or https'),
  port: (value) =>
    value === 80 || value === 443 || isIntegerIn(value, 1_024, 65_535)
      ? undefined
      : 'expected 80, 443 or an integer from 1024 to 65535 (CloudFront connects to no other port)',
  path: originPath,
  readTimeoutSeconds: integer(1, 120),
  keepaliveTimeoutSeconds: integer(1, 120),
  connectionAttempts: integer(1, 3, ''),
  connectionTimeoutSeconds: integer(1, 10),
  host: (value) => {
    const [name, port] = typeof value === 'string' ? value.split(/:(?=\d{1,5}$)/) : [];
    return isHostName(name) && (port === undefined || Number(port) <= 65_535)
      ? undefined
      : 'expected a lower-case host name on one line, with or without a port';
  },
  viewerHost: flag,
  headers: () => undefined,
  fallback: () => undefined,
};

/** "Origin settings": a bucket's name must conform to DNS; S3: "Bucket naming rules". */
const BUCKET_ORIGIN: Readonly<Record<string, Check>> = {
  bucket: (value) =>
    typeof value === 'string' && /^(?=.{3,63}$)[a-z0-9][a-z0-9-]*[a-z0-9]$/.test(value)
      ? undefined
      : 'expected the name of a bucket, without dots: 3 to 63 characters from a-z 0-9 - (a certificate covers no other)',
  region: pattern(/^[a-z]{2}(-[a-z]+)+-\d$/, 'expected the region of the bucket, such as eu-west-1'),
  path: originPath,
};

/** Every problem of origins by name. `at` is the property that holds them. */
export function originProblems(origins: unknown, at: string, variantHeader = DEFAULT_VARIANT_HEADER): ConfigProblem[] {
  if (origins === undefined) return [];
  if (!isObject(origins)) return [problem(at, origins, 'expected an object of origins by name')];
  return Object.entries(origins).flatMap(([name, origin]) => {
    if (!isObject(origin)) return [problem(`${at}.${name}`, origin, 'expected an object')];
    const [rules, required] =
      'bucket' in origin ? [BUCKET_ORIGIN, ['bucket', 'region']] : [CUSTOM_ORIGIN, ['domainName']];
    return [
      ...unknownProblems(`${at}.${name}`, origin, Object.keys(rules)),
      ...Object.entries(rules).flatMap(([property, rule]) =>
        origin[property] === undefined && !required.includes(property)
          ? []
          : problemsOf(`${at}.${name}.${property}`, origin[property] ?? null, rule),
      ),
      ...headersProblems(origin.headers, `${at}.${name}.headers`, variantHeader),
      ...(origin.host !== undefined && origin.viewerHost === true
        ? [problem(`${at}.${name}.host`, origin.host, 'expected nothing beside viewerHost, which sends the viewer’s')]
        : []),
      ...(at === 'origins' ? fallbackProblems(`${at}.${name}.fallback`, origin.fallback, name, origins) : []),
    ];
  });
}

/** Another origin that origin-request can turn the request to. */
function fallbackProblems(at: string, fallback: unknown, own: string, origins: object): ConfigProblem[] {
  if (fallback === undefined) return [];
  const others = Object.keys(origins).filter((name) => name !== own);
  return others.includes(fallback as string)
    ? []
    : [problem(at, fallback, `expected another of the origins: ${others.join(', ') || 'there are none'}`)];
}

/** "Quotas on headers", custom headers. Values are not repeated, since they may be secret. */
function headersProblems(headers: unknown, at: string, variantHeader: string): ConfigProblem[] {
  if (headers === undefined) return [];
  if (!isObject(headers)) return [problem(at, headers, 'expected an object of header values by name')];
  const entries = Object.entries(headers);
  const bytes = entries.reduce((sum, [name, value]) => sum + name.length + String(value).length, 0);
  const tooMany = entries.length > 30 || bytes > 10_240;
  return [
    ...(tooMany
      ? [
          {
            at,
            message: `${at}: ${entries.length} headers of ${bytes} characters are too many: CloudFront adds at most 30, of 10240 characters together`,
          },
        ]
      : []),
    ...entries.flatMap(([name, value]): ConfigProblem[] => {
      const wrong =
        name === variantHeader
          ? 'expected another name (this one holds the variant)'
          : describeCustomHeaderProblem(name);
      if (wrong)
        return [{ at: `${at}.${name}`, message: `${at}: header ${JSON.stringify(name)} is invalid: ${wrong}` }];
      if (isHeaderValue(value)) return [];
      return [
        {
          at: `${at}.${name}`,
          message: `${at}: the value of header ${JSON.stringify(name)} is invalid: expected 1 to 1783 visible ASCII characters on one line`,
        },
      ];
    }),
  ];
}

/** Why one function cannot send viewers to each of these origins; undefined if it can. */
export function describeMixProblem(origins: OriginRequestConfig['origins']): string | undefined {
  const all = Object.values(origins);
  const buckets = new Set(all.flatMap((one) => ('bucket' in one ? [bucketDomainName(one)] : [])));
  if (buckets.size === 0) return undefined;
  // "Restrict access to an Amazon S3 origin": origin access control does not support redirecting to another origin.
  if (buckets.size > 1)
    return `${[...buckets].join(' and ')}: a function cannot use origin access control for another bucket than the behavior's. Put the variants into one bucket, each with its own path`;
  if (all.some((one) => 'domainName' in one))
    return 'variants are either all in a bucket or all custom origins: a function cannot turn a bucket with origin access control into another origin. Put the other variants into the bucket, too, or use custom origins only';
  return undefined;
}
