import type { CustomOrigin, ViewerSettings } from '../../lambda/edge-router/index.ts';
import { behaviorsOf, edgeProblems } from '../../lib/infrastructure/check-edge.ts';
import { destinationOf, type Forwarding, forwardingOf, methodsOf } from '../../lib/infrastructure/edge-forwarding.ts';
import {
  type BehaviorSettings,
  FAILOVER_STATUS_CODES,
  type PathBehaviorSettings,
} from '../../lib/infrastructure/edge-settings.ts';

/** What a stage file would say about its distribution; origins are URLs. */
export interface LocalSiteSettings {
  readonly flagKey: string;
  /** Origins by variant. */
  readonly origins: Readonly<Record<string, string | LocalOrigin>>;
  /** Default: the first of the origins. */
  readonly defaultVariant?: string;
  readonly otherOrigins?: Readonly<Record<string, string | LocalOrigin>>;
  /** Default: the defaults of a stage. */
  readonly behavior?: BehaviorSettings;
  readonly behaviors?: readonly PathBehaviorSettings[];
  readonly viewer?: ViewerSettings;
}

/** An origin's URL, and what a stage file says about it besides. */
export interface LocalOrigin extends Pick<CustomOrigin, 'headers' | 'viewerHost'> {
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
  /** Variants to origins. */
  readonly origins: Readonly<Record<string, CustomOrigin>>;
  readonly defaultVariant: string;
  readonly fallbacks: readonly string[];
  hostname(domainName: string): string;
}

/** The distribution that a stage file with these settings would have. Throws an Error for what it must not say. */
export function createSite(options: LocalSiteSettings): LocalSite {
  const { behavior, behaviors } = options;
  const variants = originsOf(options.origins, 'variant');
  const others = originsOf(options.otherOrigins ?? {}, 'other');
  const settingsOf = (all: Readonly<Record<string, SiteOrigin>>) =>
    Object.fromEntries(Object.entries(all).map(([name, { settings }]) => [name, settings]));
  const edge = {
    flagKey: options.flagKey,
    defaultVariant: options.defaultVariant ?? Object.keys(options.origins)[0] ?? '',
    origins: settingsOf(variants),
    otherOrigins: settingsOf(others),
    ...(behavior && { behavior }),
    ...(behaviors && { behaviors }),
    ...(options.viewer && { viewer: options.viewer }),
  };
  const problems = edgeProblems(edge);
  if (problems.length > 0) throw new Error(problems.map(({ message }) => message).join('; '));

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
    origins: edge.origins,
    defaultVariant: edge.defaultVariant,
    fallbacks: all.flatMap(({ routed, origins: [, second] }) => (routed && second ? [second.settings.domainName] : [])),
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
