import { type ConfigProblem, inLines } from '../../lambda/edge-router/check-config.ts';
import type { CustomOrigin, Rule } from '../../lambda/edge-router/index.ts';
import { behaviorsOf, edgeProblems } from '../../lib/infrastructure/check-edge.ts';
import { destinationOf, type Forwarding, forwardingOf, methodsOf } from '../../lib/infrastructure/edge-forwarding.ts';
import {
  type BehaviorSettings,
  FAILOVER_STATUS_CODES,
  type PathBehaviorSettings,
} from '../../lib/infrastructure/edge-settings.ts';
import type { EdgeSettings } from '../../lib/infrastructure/stage-settings.ts';

/** The settings of a stage's router that are the same here. */
type RouterSettings = Pick<
  EdgeSettings,
  | 'attributes'
  | 'contexts'
  | 'viewer'
  | 'bootstrapFile'
  | 'preview'
  | 'shadow'
  | 'variantHeader'
  | 'cookieName'
  | 'cookieMaxAgeSeconds'
  | 'cookieDomain'
  | 'cookiePath'
  | 'cookieSameSite'
  | 'cookieHttpOnly'
>;

/** The settings of a stage's distribution; origins are URLs. */
export interface LocalSiteSettings extends RouterSettings {
  readonly flagKey?: string;
  readonly rules?: readonly Rule[];
  /** Origins by variant. */
  readonly origins: Readonly<Record<string, string | LocalOrigin>>;
  /** Default: the first of the origins. */
  readonly defaultVariant?: string;
  readonly otherOrigins?: Readonly<Record<string, string | LocalOrigin>>;
  /** Default: the defaults of a stage. */
  readonly behavior?: BehaviorSettings;
  readonly behaviors?: readonly PathBehaviorSettings[];
}

/** An origin's URL, and its other settings in a stage file. */
interface LocalOrigin extends Pick<CustomOrigin, 'headers' | 'viewerHost' | 'fallback'> {
  readonly url: string;
}

export interface SiteOrigin {
  readonly settings: CustomOrigin;
  /** Where it really is, and the Host header that names it. */
  readonly hostname: string;
  readonly host: string;
}

export interface LocalBehavior {
  readonly path?: string | undefined;
  readonly routed: boolean;
  readonly forwarding: Forwarding;
  readonly methods: 'read' | 'read-and-options' | 'all';
  /** The second is its fallback. */
  readonly origins: readonly [SiteOrigin, SiteOrigin?];
  readonly failoverStatusCodes: readonly number[];
}

export interface LocalSite {
  /** In the order in which they are tried; the last one has no path. */
  readonly behaviors: readonly LocalBehavior[];
  /** The `edge` of a stage file, with names for origins. */
  readonly edge: Omit<EdgeSettings, 'prefix'>;
  hostname(domainName: string): string;
}

/** Every problem of a stage file with these settings. */
export function siteProblems(options: LocalSiteSettings): ConfigProblem[] {
  return edgeProblems(toEdge(options).edge);
}

/** The settings with names for origins, and where these are. */
function toEdge({ origins, otherOrigins, defaultVariant, ...others }: LocalSiteSettings) {
  const variants = originsOf(origins, 'variant');
  const rest = originsOf(otherOrigins ?? {}, 'other');
  const settingsOf = (all: Readonly<Record<string, SiteOrigin>>) =>
    Object.fromEntries(Object.entries(all).map(([name, { settings }]) => [name, settings]));
  const edge = {
    ...others,
    defaultVariant: defaultVariant ?? Object.keys(origins)[0] ?? '',
    origins: settingsOf(variants),
    otherOrigins: settingsOf(rest),
  };
  return { edge, variants, others: rest };
}

/** The distribution that a stage file with these settings would have. Throws an Error for invalid settings. */
export function createSite(options: LocalSiteSettings): LocalSite {
  const { edge, variants, others } = toEdge(options);
  const problems = edgeProblems(edge);
  if (problems.length > 0) throw new Error(inLines(problems));

  const all = behaviorsOf(edge).map(([, { path, ...one }]): LocalBehavior => {
    const destination = destinationOf(one, edge);
    const first = one.origin === undefined ? variants[edge.defaultVariant]! : others[one.origin]!;
    return {
      path,
      routed: destination.routed,
      forwarding: forwardingOf(one, destination),
      methods: methodsOf(one, destination),
      origins: one.fallback ? [first, others[one.fallback.origin]!] : [first],
      failoverStatusCodes: one.fallback?.statusCodes ?? FAILOVER_STATUS_CODES.filter((code) => code >= 500),
    };
  });
  const addresses = new Map(
    [...Object.values(variants), ...Object.values(others)].map(({ settings, hostname }) => [
      settings.domainName,
      hostname,
    ]),
  );
  return {
    behaviors: [...all.slice(1), all[0]!],
    edge,
    hostname: (domainName) => addresses.get(domainName) ?? domainName,
  };
}

/** CloudFront accepts no addresses as origins, so each origin gets a name. */
function originsOf(
  origins: Readonly<Record<string, string | LocalOrigin>>,
  kind: 'variant' | 'other',
): Record<string, SiteOrigin> {
  const entries = Object.entries(origins).map(([name, origin], index): [string, SiteOrigin] => {
    const { url, ...rest } = typeof origin === 'string' ? { url: origin } : origin;
    const { hostname, port, host, protocol } = new URL(url);
    const settings = {
      domainName: `${kind}-${index}.local`,
      protocol: protocol === 'https:' ? ('https' as const) : ('http' as const),
      ...(port && { port: Number(port) }),
      // Functions set the Host header of variants only.
      ...(kind === 'variant' && !('viewerHost' in rest && rest.viewerHost) && { host }),
      ...rest,
    };
    return [name, { settings, hostname, host }];
  });
  return Object.fromEntries(entries);
}
