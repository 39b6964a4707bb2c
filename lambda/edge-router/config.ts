import type { ReaderConfig } from '../edge-reader/index.ts';
import { DECISION_HEADER, describeHeaderProblem, VIEWER_HEADER } from './headers.ts';

export { DECISION_HEADER };

/** Compiled into the viewer-request function. */
export interface ViewerRequestConfig {
  readonly reader: ReaderConfig;
  /** The flag whose value names the variant. */
  readonly flagKey: string;
  /** The variants that may appear in the cache key; any other flag value selects the default. */
  readonly variants: readonly string[];
  /** Used for every viewer while the flag cannot be evaluated. */
  readonly defaultVariant: string;
  /** Must be part of the cache policy's key. Default `x-flag-variant`. */
  readonly variantHeader?: string;
  /** The first-party cookie that holds the viewer's id. Default `flag-viewer`. */
  readonly cookieName?: string;
  /** The CloudWatch namespace of the metrics that the function writes to its log. Default: it writes none. */
  readonly metricsNamespace?: string;
}

/** A custom origin. AWS: "Lambda@Edge event structure", request event, custom origin. */
export interface Origin {
  readonly domainName: string;
  /** Default https. */
  readonly protocol?: 'http' | 'https';
  /** Default 443, or 80 for http. */
  readonly port?: number;
  /** Prepended to the viewer's path: starts with a slash and does not end with one. Default none. */
  readonly path?: string;
  /** Default 30. */
  readonly readTimeoutSeconds?: number;
  /** Default 5. */
  readonly keepaliveTimeoutSeconds?: number;
  /** The Host header sent to the origin. Default: its domain name. */
  readonly host?: string;
}

/** Compiled into the origin-request function. */
export interface OriginRequestConfig {
  readonly origins: Readonly<Record<string, Origin>>;
  readonly defaultVariant: string;
  readonly variantHeader?: string;
}

/** Compiled into the viewer-response function. */
export interface ViewerResponseConfig {
  readonly cookieName?: string;
  /** Default 34,560,000 (400 days), the longest that browsers keep a cookie (RFC 6265bis). */
  readonly cookieMaxAgeSeconds?: number;
  /** Whether the cookie is sent over https only. Default true; set false for `http://localhost`. */
  readonly secure?: boolean;
}

/** Called by the bundler, since the handlers do not validate their config. Throws one Error that lists every problem. */
export function checkRouterConfig(
  config: Partial<ViewerRequestConfig & OriginRequestConfig & ViewerResponseConfig>,
): void {
  const problems: string[] = [];
  const { variants, origins, defaultVariant, flagKey } = config;
  const { variantHeader, cookieName, cookieMaxAgeSeconds, metricsNamespace } = config;
  const names = variants ?? (origins && Object.keys(origins));
  for (const name of names ?? []) {
    if (!/^[\w.-]{1,64}$/.test(name)) {
      problems.push(
        `variant ${JSON.stringify(name)} is invalid: expected 1 to 64 characters from a-z A-Z 0-9 _ - . (it is sent in a header)`,
      );
    }
  }
  if (names && !names.includes(defaultVariant ?? '')) {
    problems.push(
      `defaultVariant=${JSON.stringify(defaultVariant)} is invalid: expected one of ${names.join(', ') || 'the variants'}`,
    );
  }
  if (variants && !/^[\w.-]+$/.test(flagKey ?? ''))
    problems.push(`flagKey=${JSON.stringify(flagKey)} is invalid: expected a flag key`);
  if (variantHeader !== undefined) {
    const problem = describeHeaderProblem(variantHeader);
    if (problem) problems.push(`variantHeader: ${problem}`);
    if ([VIEWER_HEADER, DECISION_HEADER].includes(variantHeader))
      problems.push(`variantHeader: ${variantHeader} is already used by the router`);
  }
  if (metricsNamespace !== undefined && !/^(?!AWS\/)[\w.\-/#:]{1,255}$/.test(metricsNamespace)) {
    problems.push(
      `metricsNamespace=${JSON.stringify(metricsNamespace)} is invalid: expected a CloudWatch namespace of 1 to 255 characters from a-z A-Z 0-9 _ - . / # : that does not begin with AWS/`,
    );
  }
  if (cookieName !== undefined && !/^[\w.-]+$/.test(cookieName)) {
    problems.push(`cookieName=${JSON.stringify(cookieName)} is invalid: expected characters from a-z A-Z 0-9 _ - .`);
  }
  if (cookieMaxAgeSeconds !== undefined && !(Number.isInteger(cookieMaxAgeSeconds) && cookieMaxAgeSeconds > 0)) {
    problems.push(`cookieMaxAgeSeconds=${cookieMaxAgeSeconds} is invalid: expected an integer of at least 1 (s)`);
  }
  for (const [name, { domainName, port, path, protocol }] of Object.entries(origins ?? {})) {
    if (!/^[a-z0-9.-]+$/.test(domainName))
      problems.push(`origins.${name}.domainName=${JSON.stringify(domainName)} is invalid: expected a host name`);
    if (port !== undefined && !(Number.isInteger(port) && port > 0 && port < 65_536))
      problems.push(`origins.${name}.port=${port} is invalid: expected an integer from 1 to 65535`);
    if (path && !/^\/.*[^/]$/.test(path))
      problems.push(
        `origins.${name}.path=${JSON.stringify(path)} is invalid: expected a path that starts with a slash and does not end with one`,
      );
    if (protocol !== undefined && !/^https?$/.test(protocol))
      problems.push(`origins.${name}.protocol=${JSON.stringify(protocol)} is invalid: expected http or https`);
  }
  if (problems.length > 0) throw new Error(`edge router: ${problems.join('; ')}`);
}
