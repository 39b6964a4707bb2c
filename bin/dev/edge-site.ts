import { inLines } from '../../lambda/edge-router/check-config.ts';
import type { ContextSettings, CustomOrigin, Rule, ViewerSettings } from '../../lambda/edge-router/index.ts';
import { behaviorsOf, edgeProblems } from '../../lib/infrastructure/check-edge.ts';
import { destinationOf, type Forwarding, forwardingOf, methodsOf } from '../../lib/infrastructure/edge-forwarding.ts';
import {
  type BehaviorSettings,
  FAILOVER_STATUS_CODES,
  type PathBehaviorSettings,
} from '../../lib/infrastructure/edge-settings.ts';
import type { EdgeSettings } from '../../lib/infrastructure/stage-settings.ts';

/** What a stage file would say about its distribution; origins are URLs. */
export interface LocalSiteSettings extends ContextSettings {
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
  readonly viewer?: ViewerSettings;
}

/** An origin's URL, and what a stage file says about it besides. */
export interface LocalOrigin extends Pick<CustomOrigin, 'headers' | 'viewerHost' | 'fallback'> {
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
  /** What the stage file would say of the edge, with names for origins. */
  readonly edge: Omit<EdgeSettings, 'prefix'>;
  hostname(domainName: string): string;
}

/** The distribution that a stage file with these settings would have. Throws an Error for what it must not say. */
export function createSite(options: LocalSiteSettings): LocalSite {
  const { behavior, behaviors } = options;
  const variants = originsOf(options.origins, 'variant');
  const others = originsOf(options.otherOrigins ?? {}, 'other');
  const settingsOf = (all: Readonly<Record<string, SiteOrigin>>) =>
    Object.fromEntries(Object.entries(all).map(([name, { settings }]) => [name, settings]));
  const { flagKey, rules, attributes, contexts, viewer } = options;
  const edge = {
    ...(flagKey !== undefined && { flagKey }),
    ...(rules && { rules }),
    ...(attributes && { attributes }),
    ...(contexts && { contexts }),
    ...(viewer && { viewer }),
    defaultVariant: options.defaultVariant ?? Object.keys(options.origins)[0] ?? '',
    origins: settingsOf(variants),
    otherOrigins: settingsOf(others),
    ...(behavior && { behavior }),
    ...(behaviors && { behaviors }),
  };
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
