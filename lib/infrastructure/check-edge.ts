/**
 * What CloudFront does not accept of a distribution, or accepts and then does something else with. Neither the CDK nor
 * CloudFormation's validator checks this. Source: CloudFront Developer Guide, the pages named below.
 */
import {
  type ConfigProblem,
  coversPattern,
  describeMixProblem,
  originProblems,
  patternsOf,
  routerProblems,
} from '../../lambda/edge-router/check-config.ts';
import { bucketDomainName, DEFAULT_VARIANT_HEADER, flagKeysOf, type Origin } from '../../lambda/edge-router/config.ts';
import { readBootstrap } from './edge-bootstrap.ts';
import { type Destination, destinationOf, forwardingOf, methodsOf } from './edge-forwarding.ts';
import { type BehaviorSettings, exposuresOptions, FAILOVER_STATUS_CODES } from './edge-settings.ts';
import type { EdgeSettings } from './stage-settings.ts';

/** "Quotas": cache behaviors and origins of a distribution, names in a policy. */
const LIMITS = {
  behaviors: 75,
  origins: 100,
  groups: 10,
  names: 10,
  characters: 1_024,
  seconds: 3_153_600_000,
} as const;

/** Every problem of an edge, as far as it is given: of the router and of its distribution. */
export function edgeProblems(edge: Partial<EdgeSettings>): ConfigProblem[] {
  const problems = new Found();
  const { origins = {}, otherOrigins = {}, variantHeader = DEFAULT_VARIANT_HEADER } = edge;
  const { exposures, ...others } = edge;
  const router = { ...others, ...(exposures && { exposures: exposuresOptions(exposures) }) };
  problems.add(...routerProblems(router), ...originProblems(otherOrigins, 'otherOrigins', variantHeader));
  if (edge.flagKey === undefined && !edge.rules?.length)
    problems.add({ at: 'flagKey', message: 'flagKey is missing: name the flag that chooses the origin, or add rules' });
  // What follows relies on valid origins.
  if (!edge.origins || problems.list.length > 0) return problems.list;
  const mixed = describeMixProblem(origins);
  if (mixed) problems.say('origins', mixed);
  if (edge.bootstrapFile !== undefined) bootstrapProblem(edge.bootstrapFile, flagKeysOf(edge), problems);
  const behaviors = behaviorsOf(edge);
  for (const [at, behavior] of behaviors) behaviorProblems(at, behavior, { ...edge, origins }, problems);
  siteProblems({ ...edge, origins }, behaviors, problems);
  if (problems.list.length === 0) {
    groupProblems({ ...edge, origins }, behaviors, problems);
    reachProblems(edge.rules ?? [], behaviors, problems);
  }
  return problems.list;
}

function bootstrapProblem(file: string, flagKeys: readonly string[], problems: Found): void {
  try {
    readBootstrap(file, flagKeys);
  } catch (error) {
    problems.add({ at: 'bootstrapFile', message: (error as Error).message });
  }
}

class Found {
  readonly list: ConfigProblem[] = [];

  add(...problems: readonly ConfigProblem[]): void {
    this.list.push(...problems);
  }

  say(at: string, message: string): void {
    this.list.push({ at, message: `${at}: ${message}` });
  }

  mustBe(at: string, value: unknown, wanted: string): void {
    this.list.push({ at, message: `${at}=${JSON.stringify(value)} is invalid: expected ${wanted}` });
  }
}

type Site = Pick<
  EdgeSettings,
  'origins' | 'otherOrigins' | 'variantHeader' | 'cookieName' | 'cookieSecure' | 'rules' | 'preview' | 'shadow'
>;

/** "Use origin failover with Lambda@Edge functions": the second origin of a group is replaced as the first one is. */
function groupProblems(
  { origins, otherOrigins = {} }: Site,
  behaviors: ReturnType<typeof behaviorsOf>,
  problems: Found,
): void {
  const [name] = Object.entries(origins).find(([, one]) => 'fallback' in one && one.fallback !== undefined) ?? [];
  if (name === undefined) return;
  const groups = behaviors.filter(([, { origin, fallback }]) => origin === undefined && fallback);
  if (groups.length === 0)
    problems.say(`origins.${name}.fallback`, 'has no effect: no behavior that flags route has a fallback');
  const bucket = groups.find(([, { fallback }]) => 'bucket' in otherOrigins[fallback!.origin]!);
  if (bucket)
    problems.mustBe(
      `${bucket[0]}.fallback.origin`,
      bucket[1].fallback!.origin,
      `a custom origin: a function cannot turn a bucket with origin access control into origins.${name}.fallback`,
    );
}

/** Rules for paths at which the functions are not called. */
function reachProblems(
  rules: NonNullable<EdgeSettings['rules']>,
  [, ...byPath]: ReturnType<typeof behaviorsOf>,
  problems: Found,
): void {
  const fixedFor = (pattern: string) => {
    const first = byPath.findIndex(([, { path = '' }]) => coversPattern([path.replace(/^(?![/*])/, '/')], pattern));
    // A behavior before it may be for some of these paths.
    return byPath.slice(0, first + 1).every(([, { origin }]) => origin !== undefined) ? byPath[first] : undefined;
  };
  for (const [index, { when }] of rules.entries()) {
    const fixed = patternsOf(when?.path)?.map(fixedFor) ?? [];
    const [behavior] = fixed;
    if (behavior && fixed.every((one) => one !== undefined))
      problems.say(
        `rules[${index}].when.path`,
        `is never looked at: ${behavior[0]} sends these requests to ${behavior[1].origin} without asking flags. Leave its origin out, or change the path`,
      );
  }
}

/** The headers that rules add to requests, by the property that names them. */
function addedByRules({ rules = [] }: Site): ReadonlySet<string> {
  const actions = rules.flatMap(({ variations }) => Object.values(variations));
  return new Set(actions.flatMap(({ requestHeaders }) => Object.keys(requestHeaders ?? {})));
}

/** All behaviors with their property, the default one first. */
export function behaviorsOf(
  edge: Pick<EdgeSettings, 'behavior' | 'behaviors'>,
): (readonly [at: string, behavior: BehaviorSettings & { readonly path?: string }])[] {
  const byPath = (edge.behaviors ?? []).map((one, index) => [`behaviors[${index}]`, one] as const);
  return [['behavior', edge.behavior ?? {}], ...byPath];
}

/** What belongs to the distribution itself, which is not this stage's. */
const OF_DISTRIBUTION = [
  'behaviors',
  'domainNames',
  'certificateArn',
  'hostedZone',
  'priceClass',
  'webAclArn',
  'defaultRootObject',
] as const;

function siteProblems(
  { otherOrigins = {}, origins, defaultRootObject, ...edge }: Partial<EdgeSettings> & Pick<EdgeSettings, 'origins'>,
  behaviors: ReturnType<typeof behaviorsOf>,
  problems: Found,
): void {
  if (behaviors.length > LIMITS.behaviors)
    problems.say(
      'behaviors',
      `${behaviors.length - 1} are too many: a distribution has at most ${LIMITS.behaviors}, with the default one`,
    );
  for (const [name, origin] of Object.entries(otherOrigins)) {
    const host = ['host', 'viewerHost'].find((one) => Object.hasOwn(origin, one));
    if (host)
      problems.say(
        `otherOrigins.${name}.${host}`,
        "has no effect: only the router's function sets Host (forward: 'all' sends the viewer's)",
      );
    if (Object.hasOwn(origin, 'fallback'))
      problems.say(`otherOrigins.${name}.fallback`, 'has no effect: give the behavior a fallback');
  }
  const used = new Set(behaviors.flatMap(([, { origin, fallback }]) => [origin, fallback?.origin]));
  const names = Object.keys(otherOrigins);
  // A misspelt name would leave the origin unused, too.
  const known = problems.list.length === 0;
  for (const name of names.filter((one) => known && !used.has(one)))
    problems.say(`otherOrigins.${name}`, 'has no effect: no behavior names it as its origin or fallback');
  if (names.length >= LIMITS.origins)
    problems.say('otherOrigins', `${names.length} are too many: a distribution has at most ${LIMITS.origins} origins`);
  const groups = new Set(
    behaviors.flatMap(([, { origin, fallback }]) => (fallback ? [`${origin} ${JSON.stringify(fallback)}`] : [])),
  );
  if (groups.size > LIMITS.groups)
    problems.say(
      'behaviors',
      `${groups.size} different fallbacks are too many: a distribution has at most ${LIMITS.groups} origin groups`,
    );
  const routed = behaviors.filter(([, { origin }]) => origin === undefined);
  if (known && routed.length === 0)
    problems.say('behavior', 'no behavior is routed by the flag: leave origin out of one');
  for (const [name, origin] of Object.entries(origins)) {
    if (!('viewerHost' in origin && origin.viewerHost)) continue;
    const without = routed.find(([, { forward }]) => forward !== 'all');
    if (without)
      problems.say(
        `origins.${name}.viewerHost`,
        `needs forward: 'all' in ${without[0]}, or CloudFront does not send the viewer's Host`,
      );
  }
  if (edge.distributionId !== undefined) {
    if (!/^E[A-Z\d]{5,31}$/.test(edge.distributionId))
      problems.mustBe('distributionId', edge.distributionId, 'the ID of a distribution, such as EDFDVBD6EXAMPLE');
    for (const name of OF_DISTRIBUTION)
      if ({ ...edge, defaultRootObject }[name] !== undefined)
        problems.say(name, 'has no effect with distributionId: set it where that distribution is defined');
    if (typeof edge.check === 'string' && edge.check.startsWith('/'))
      problems.mustBe('check', edge.check, 'an https address of the site, since distributionId gives none');
  }
  // "Specify a default root object".
  if (defaultRootObject !== undefined && !/^[\w\-.~]{1,255}$/.test(defaultRootObject))
    problems.mustBe(
      'defaultRootObject',
      defaultRootObject,
      'the name of an object without a slash, such as index.html',
    );
  const patterns = behaviors.map(([, { path }]) => path?.replace(/^\//, ''));
  for (const [index, pattern] of patterns.entries()) {
    const first = patterns.indexOf(pattern);
    if (pattern !== undefined && first < index)
      problems.say(`behaviors[${index - 1}].path`, `is the same as that of behaviors[${first - 1}], which comes first`);
  }
}

function behaviorProblems(
  at: string,
  behavior: BehaviorSettings & { readonly path?: string },
  site: Site,
  problems: Found,
): void {
  const { path, origin, fallback } = behavior;
  const known = site.otherOrigins ?? {};
  // "Cache behavior settings", path pattern.
  if (path !== undefined && !/^[\w\-.*$/~"'@:+&?]{1,255}$/.test(path))
    problems.mustBe(
      `${at}.path`,
      path,
      `a path pattern of at most 255 characters from a-z A-Z 0-9 _ - . * $ / ~ " ' @ : + & ?`,
    );
  else if (path !== undefined && /^\/?\*$/.test(path))
    problems.mustBe(`${at}.path`, path, 'a pattern for some paths: edge.behavior is for all others');
  const wanted = `one of otherOrigins: ${Object.keys(known).join(', ') || 'there are none'}`;
  if (origin !== undefined && !Object.hasOwn(known, origin)) problems.mustBe(`${at}.origin`, origin, wanted);
  else if (fallback && !Object.hasOwn(known, fallback.origin))
    problems.mustBe(`${at}.fallback.origin`, fallback.origin, wanted);
  else {
    const destination = destinationOf(behavior, site);
    if (fallback) fallbackProblems(at, behavior, site, destination, problems);
    cachingProblems(at, behavior, site, destination, problems);
    forwardProblems(at, behavior, site, destination, problems);
    policyProblems(at, behavior, destination, problems);
    secretProblems(at, behavior, destination, problems);
  }
}

/** "Optimize high availability with CloudFront origin failover". */
function fallbackProblems(
  at: string,
  behavior: BehaviorSettings,
  { origins, otherOrigins = {} }: Site,
  destination: Destination,
  problems: Found,
): void {
  const { origin, fallback } = behavior;
  const { statusCodes } = fallback!;
  const allowed: readonly number[] = FAILOVER_STATUS_CODES;
  if (statusCodes && (statusCodes.length === 0 || statusCodes.some((code) => !allowed.includes(code))))
    problems.mustBe(`${at}.fallback.statusCodes`, statusCodes, `some of ${allowed.join(', ')}`);
  const second = domainNameOf(otherOrigins[fallback!.origin]!);
  const first = origin === undefined ? Object.values(origins) : [otherOrigins[origin]!];
  // The function recognises the second origin by its name.
  if (first.some((one) => domainNameOf(one) === second))
    problems.mustBe(
      `${at}.fallback.origin`,
      fallback!.origin,
      `another origin than the first, whose domain name is ${second}, too`,
    );
  if (methodsOf(behavior, destination) === 'all')
    problems.mustBe(
      `${at}.methods`,
      'all',
      'read or read-and-options: CloudFront supports origin groups only for these methods. Add a behavior without a fallback for the others',
    );
}

export function domainNameOf(origin: Origin): string {
  return 'bucket' in origin ? bucketDomainName(origin) : origin.domainName;
}

/** "Understand cache policies". */
function cachingProblems(
  at: string,
  behavior: BehaviorSettings,
  site: Site,
  { bucket }: Destination,
  problems: Found,
): void {
  const { caching, cacheKey } = behavior;
  if (caching === 'none') {
    if (cacheKey) problems.say(`${at}.cacheKey`, "has no effect with caching: 'none' (use forward)");
    return;
  }
  if (typeof caching === 'object') {
    const { defaultSeconds, maxSeconds = LIMITS.seconds } = caching;
    const whole = (value: number, min: number) => Number.isInteger(value) && value >= min && value <= LIMITS.seconds;
    if (!whole(defaultSeconds, 1))
      problems.mustBe(
        `${at}.caching.defaultSeconds`,
        defaultSeconds,
        `an integer from 1 to ${LIMITS.seconds} (s) or caching: 'origin'`,
      );
    else if (!whole(maxSeconds, defaultSeconds))
      problems.mustBe(
        `${at}.caching.maxSeconds`,
        maxSeconds,
        `an integer from defaultSeconds=${defaultSeconds} to ${LIMITS.seconds} (s)`,
      );
  }
  for (const [index, name] of (cacheKey?.headers ?? []).entries()) {
    const wrong = addedByRules(site).has(name) ? SET_BY_RULES : describeKeyHeaderProblem(name, bucket);
    if (wrong) problems.mustBe(`${at}.cacheKey.headers[${index}]`, name, wrong);
  }
}

const SET_BY_RULES = 'it to be removed: rules set it, and what they decided is in the key already';

/** "Add CloudFront request headers" says which of them cannot be in a cache policy. */
function describeKeyHeaderProblem(name: string, bucket: boolean): string | undefined {
  if (!isHeaderName(name)) return 'a header name in lower case';
  if (name === 'cookie') return 'names of cookies under cacheKey.cookies instead';
  if (name === 'accept-encoding') return 'compress: true instead, which puts a normalised one into the key';
  if (/^cloudfront-viewer-(address|asn|tls|ja[34]-fingerprint|header-(order|count))$/.test(name))
    return 'this header in forward.headers instead: no cache policy may contain it';
  if (bucket && (name === 'host' || name === 'authorization'))
    return 'another header: CloudFront cannot cache a bucket by this one';
  return undefined;
}

/** "Understand origin request policies". */
function forwardProblems(
  at: string,
  { forward }: BehaviorSettings,
  site: Site,
  { bucket, routed }: Destination,
  problems: Found,
): void {
  if (bucket && forward === 'all')
    problems.mustBe(
      `${at}.forward`,
      forward,
      "another value: S3 refuses requests with the viewer's Host, which is part of their signature",
    );
  if (typeof forward !== 'object') return;
  const added = new Set(
    Object.values({ ...site.otherOrigins, ...(routed ? site.origins : {}) }).flatMap((one) =>
      'headers' in one ? Object.keys(one.headers ?? {}) : [],
    ),
  );
  for (const [index, name] of (forward.headers ?? []).entries()) {
    const wanted = addedByRules(site).has(name) ? SET_BY_RULES : describeForwardProblem(name, bucket, added);
    if (wanted) problems.mustBe(`${at}.forward.headers[${index}]`, name, wanted);
  }
}

function describeForwardProblem(name: string, bucket: boolean, added: ReadonlySet<string>): string | undefined {
  if (!isHeaderName(name)) return 'a header name in lower case';
  if (name === 'cookie') return 'names of cookies under forward.cookies instead';
  if (name === 'authorization')
    return "it to be removed: what may be cached sends it as part of the cache key, and with caching: 'none', forward: 'all-but-host' sends it";
  if (name === 'accept-encoding') return 'compress: true instead, which sends a normalised one';
  if (bucket && name === 'host')
    return "it to be removed: S3 refuses requests with the viewer's Host, which is part of their signature";
  if (added.has(name)) return "it to be removed: it is one of an origin's own headers";
  return undefined;
}

/** "General quotas on policies". */
function policyProblems(at: string, behavior: BehaviorSettings, destination: Destination, problems: Found): void {
  const { cache, originRequest } = forwardingOf(behavior, destination);
  const listed = (names: unknown): readonly string[] => (Array.isArray(names) ? names : []);
  for (const [what, rules] of [
    ['cacheKey', cache],
    ['forward', originRequest],
  ] as const) {
    if (!rules) continue;
    const lists = {
      headers: listed(rules.headers),
      cookies: listed(rules.cookies),
      queryStrings: listed(rules.queryStrings),
    };
    for (const [kind, names] of Object.entries(lists)) {
      const extra = names.length - LIMITS.names;
      if (extra > 0)
        problems.say(
          `${at}.${what}.${kind}`,
          `${extra} too many: a policy names at most ${LIMITS.names}, with the variant and Authorization (${names.join(', ')})`,
        );
    }
    const characters = Object.values(lists).flat().join('').length;
    if (characters > LIMITS.characters)
      problems.say(
        `${at}.${what}`,
        `names of ${characters} characters are too long: a policy has room for ${LIMITS.characters}`,
      );
  }
}

/** Policies that name what testers send. */
function secretProblems(
  at: string,
  { cacheKey, forward }: BehaviorSettings,
  { secrets }: Destination,
  problems: Found,
): void {
  for (const [what, lists] of Object.entries({ cacheKey, forward })) {
    if (typeof lists !== 'object') continue;
    for (const kind of ['headers', 'cookies'] as const) {
      const names = lists[kind];
      for (const [index, name] of (Array.isArray(names) ? names : []).entries())
        if (secrets?.[kind].includes(name))
          problems.mustBe(
            `${at}.${what}.${kind}[${index}]`,
            name,
            'it to be removed: what testers send stays at the edge (edge.preview, edge.shadow)',
          );
    }
  }
}

function isHeaderName(name: string): boolean {
  return /^[a-z0-9!#$%&'*+.^_`|~-]{1,256}$/.test(name);
}
