import type { ReaderConfig } from '../edge-reader/index.ts';
import { DECISION_HEADER, describeHeaderProblem, VIEWER_HEADER } from './headers.ts';

/** What is baked into the viewer-request function. */
export interface ViewerRequestConfig {
  readonly reader: ReaderConfig;
  /** The flag whose value is the name of a variant. */
  readonly flagKey: string;
  /** Every variant that may enter the cache key; any other value of the flag answers the default. */
  readonly variants: readonly string[];
  /** Where everybody goes while the flag cannot be answered. */
  readonly defaultVariant: string;
  /** Must be in the cache policy's key. Default `x-flag-variant`. */
  readonly variantHeader?: string;
  /** The first-party cookie that holds the viewer's id. Default `flag-viewer`. */
  readonly cookieName?: string;
}

/** A custom origin. AWS: "Lambda@Edge event structure", request event, custom origin. */
export interface Origin {
  readonly domainName: string;
  /** Default https. */
  readonly protocol?: 'http' | 'https';
  /** Default 443, or 80 for http. */
  readonly port?: number;
  /** Put before the viewer's path: starts with a slash, ends without. Default none. */
  readonly path?: string;
  /** Default 30. */
  readonly readTimeoutSeconds?: number;
  /** Default 5. */
  readonly keepaliveTimeoutSeconds?: number;
  /** The Host header that the origin sees. Default its domain name. */
  readonly host?: string;
}

/** What is baked into the origin-request function. */
export interface OriginRequestConfig {
  readonly origins: Readonly<Record<string, Origin>>;
  readonly defaultVariant: string;
  readonly variantHeader?: string;
}

/** What is baked into the viewer-response function. */
export interface ViewerResponseConfig {
  readonly cookieName?: string;
  /** Default 34,560,000 (400 days): browsers keep no cookie longer (RFC 6265bis). */
  readonly cookieMaxAgeSeconds?: number;
  /** Whether the cookie is for https only. Default true; false for `http://localhost`. */
  readonly secure?: boolean;
}

/** For the bundler: the handlers trust their config. Throws one Error that lists everything wrong with one of the three. */
export function checkRouterConfig(
  config: Partial<ViewerRequestConfig & OriginRequestConfig & ViewerResponseConfig>,
): void {
  const problems: string[] = [];
  const { variants, origins, defaultVariant, flagKey, variantHeader, cookieName, cookieMaxAgeSeconds } = config;
  const names = variants ?? (origins && Object.keys(origins));
  for (const name of names ?? []) {
    if (!/^[\w.-]{1,64}$/.test(name)) {
      problems.push(`variant ${JSON.stringify(name)} must be 1 to 64 of a-z A-Z 0-9 _ - . (it stands in a header)`);
    }
  }
  if (names && !names.includes(defaultVariant ?? '')) {
    problems.push(
      `defaultVariant ${JSON.stringify(defaultVariant)} must be one of ${names.join(', ') || 'the variants'}`,
    );
  }
  if (variants && !/^[\w.-]+$/.test(flagKey ?? ''))
    problems.push(`flagKey ${JSON.stringify(flagKey)} must be a flag's key`);
  if (variantHeader !== undefined) {
    const problem = describeHeaderProblem(variantHeader);
    if (problem) problems.push(`variantHeader: ${problem}`);
    if ([VIEWER_HEADER, DECISION_HEADER].includes(variantHeader))
      problems.push(`variantHeader: ${variantHeader} is taken`);
  }
  if (cookieName !== undefined && !/^[\w.-]+$/.test(cookieName)) {
    problems.push(`cookieName ${JSON.stringify(cookieName)} must be of a-z A-Z 0-9 _ - .`);
  }
  if (cookieMaxAgeSeconds !== undefined && !(Number.isInteger(cookieMaxAgeSeconds) && cookieMaxAgeSeconds > 0)) {
    problems.push(`cookieMaxAgeSeconds ${cookieMaxAgeSeconds} must be a whole number of seconds above 0`);
  }
  for (const [name, { domainName, port, path, protocol }] of Object.entries(origins ?? {})) {
    if (!/^[a-z0-9.-]+$/.test(domainName))
      problems.push(`origins.${name}.domainName ${JSON.stringify(domainName)} must be a host name`);
    if (port !== undefined && !(Number.isInteger(port) && port > 0 && port < 65_536))
      problems.push(`origins.${name}.port ${port} must be a port`);
    if (path && !/^\/.*[^/]$/.test(path))
      problems.push(`origins.${name}.path ${path} must start with a slash and end without one`);
    if (protocol !== undefined && !/^https?$/.test(protocol))
      problems.push(`origins.${name}.protocol ${protocol} must be http or https`);
  }
  if (problems.length > 0) throw new Error(`edge router: ${problems.join('; ')}`);
}
