/**
 * Every stage of a set is updated to every other one, by what is known of CloudFormation: no export in use disappears, no name is taken, nothing
 * that has data or an address is replaced. What a stage cannot do is refused by the name of its property.
 */
import { readReplacementRules } from '../../../lib/infrastructure/replacement-rules.ts';
import type { StageSettings } from '../../../lib/infrastructure/stage-settings.ts';
import type { StackTemplate } from '../../../lib/infrastructure/template.ts';
import { describeUpdateProblems, type UpdateProblem } from '../../../lib/infrastructure/update-problems.ts';
import { createApp, synthesise } from '../../support/synthesise.ts';

jest.setTimeout(300_000);

const arn = (region: string) => `arn:aws:acm:${region}:123456789012:certificate/12345678-1234-1234-1234-123456789012`;
const certificates = { 'eu-west-1': arn('eu-west-1') };
const edge = {
  prefix: 'production',
  flagKey: 'new-site',
  origins: { old: { domainName: 'old.example.com' }, new: { domainName: 'new.example.com' } },
  defaultVariant: 'old',
};
const small: StageSettings = {
  account: '123456789012',
  homeRegion: 'eu-west-1',
  replicaRegions: ['us-west-2'],
  tableName: 'flags',
  production: true,
  environments: ['production'],
  relay: { certificates },
  alarms: { emails: ['team@example.com'] },
};
type Change = Partial<Omit<StageSettings, 'relay'>> & { readonly relay?: StageSettings['relay'] };
const relay = (settings: NonNullable<StageSettings['relay']>): Change => ({ relay: { certificates, ...settings } });
const zones = (...letters: string[]): Change => ({
  networks: { 'eu-west-1': { zones: letters.map((letter) => `eu-west-1${letter}`) } },
});
const hostedZone = { id: 'Z0123456789ABCDEFGHIJ', name: 'example.com' };
const keys = (last: string) =>
  Object.fromEntries(
    ['eu-west-1', 'us-east-1', 'us-west-2'].map((region) => [
      region,
      `arn:aws:kms:${region}:123456789012:key/12345678-1234-1234-1234-${last.padStart(12, '0')}`,
    ]),
  );
/** With certificates from the zone instead of given ones. */
const names = (hostName: string): Change => ({
  relay: {
    ...{ hostName, hostedZone },
    prometheus: { namespace: `${hostName.split('.')[0]}.internal` },
    agent: { datadog: { apiKey: '/mine/datadog-api-key', site: 'datadoghq.eu' } },
    eventsSpool: {},
  },
});

/** Stages that may become each other. */
const variants: Readonly<Record<string, Change>> = {
  small: {},
  'public access': relay({ publicAccess: {} }),
  'two zones, without the first, a spool': { ...zones('b', 'c'), ...relay({ eventsSpool: { maxMiB: 64 } }) },
  'another zone, a spool': { ...zones('d', 'b', 'a', 'c'), ...relay({ publicAccess: {}, eventsSpool: {} }) },
  'one NAT gateway': { networks: { 'eu-west-1': { nat: 'one' } } },
  'not for production': { production: false, relay: {}, ...zones('a', 'b') },
  'a relay in another region': {
    relayRegions: ['us-west-2'],
    ...relay({ certificates: { ...certificates, 'us-west-2': arn('us-west-2') } }),
  },
  'Redis, large': {
    redis: { serverless: { maxStorageGb: 5 } },
    ...relay({
      tasks: 20,
      cpu: 8192,
      memoryMiB: 32_768,
      architecture: 'x86_64',
      drain: 'gentle',
      streamsPerTask: 9_000,
    }),
  },
  'edge, another image': {
    edge: { ...edge, exposures: { environment: 'production' } },
    ...relay({ image: '123456789012.dkr.ecr.eu-west-1.amazonaws.com/relay:1.2.3', hostName: 'relay.example.com' }),
  },
  'no check, other alarms': {
    environments: [],
    readerLayer: false,
    alarms: { emails: ['others@example.com'], pageEmails: ['oncall@example.com'] },
    tags: { a: 'b' },
  },
  'names in a zone, keys, an agent, Prometheus, a spool': {
    encryptionKeys: keys('1'),
    redis: { serverless: {} },
    ...names('relay.example.com'),
    edge: { ...edge, domainNames: ['www.example.com'], hostedZone },
  },
  'plain HTTP, no access logs': { production: false, relay: { accessLogs: false }, ...zones('a', 'b') },
};
const furtherVariants: Readonly<Record<string, Change>> = {
  'other names and keys': { encryptionKeys: keys('2'), redis: { serverless: {} }, ...names('flags.example.com') },
  'without a load balancer': { relay: { loadBalancer: false } },
  'no access logs': relay({ accessLogs: false, prometheus: {} }),
  'Redis, another zone': { redis: { serverless: {} }, ...zones('a', 'b', 'c', 'd') },
  'Redis elsewhere': { redis: { url: 'rediss://cache.example.com:6380' } },
  'not for production, with NAT gateways': {
    production: false,
    relay: {},
    networks: { 'eu-west-1': { nat: 'per-zone' } },
  },
  'an edge with behaviors': {
    edge: {
      ...edge,
      otherOrigins: { assets: { bucket: 'shop-assets', region: 'eu-west-1' }, api: { domainName: 'api.example.com' } },
      behaviors: [
        { path: '/api/*', origin: 'api', caching: 'none', forward: 'all' },
        { path: '/assets/*', origin: 'assets' },
      ],
      logRegions: 'all',
    },
  },
  'no replica': { replicaRegions: [] },
  'an existing distribution': { edge: { ...edge, distributionId: 'E2EXAMPLE1234' } },
  'other addresses, public paths': relay({
    allowedCidrs: ['10.0.0.0/8', '172.16.0.0/12'],
    publicAccess: { paths: ['/x/*'] },
  }),
};

const rules = readReplacementRules();
const made = new Map<string, readonly StackTemplate[]>();
/** The stage's templates, in the order of deployment. */
function templatesOf(change: Change): readonly StackTemplate[] {
  const key = JSON.stringify(change);
  const known = made.get(key);
  if (known) return known;
  const { stage } = synthesise('x', { ...small, ...change }, createApp());
  const templates = stage.synth().stacks.map(({ stackName, environment, template }) => ({
    ...{ stackName, region: environment.region, template },
  }));
  made.set(key, templates);
  return templates;
}
const update = (before: Change, after: Change): UpdateProblem[] =>
  describeUpdateProblems(templatesOf(before), templatesOf(after), rules);
const refusals = (before: Change, after: Change) =>
  update(before, after).flatMap(({ refused, what }) => (refused ? [what] : []));

/** Comes back in two deployments. */
const isComingBack = (what: string) => /^relay\.loadBalancer cannot come back/.test(what);
/** A public load balancer is taken away as asked, but in production somebody has to lift its protection. */
const isAsked = (what: string, before: Change, after: Change) =>
  Boolean(before.relay?.publicAccess && !after.relay?.publicAccess) && /^RelayPublic\w+ is removed/.test(what);

test('every stage can become every other one in one deployment @heavy', () => {
  const all = Object.entries(process.env.LONG ? { ...variants, ...furtherVariants } : variants);
  const pairs = all.flatMap(([from, before]) => all.map(([to, after]) => ({ from, to, before, after })));
  const refused = pairs.flatMap(({ from, to, before, after }) =>
    refusals(before, after)
      .filter((what) => !isAsked(what, before, after) && !isComingBack(what))
      .map((what) => `${from} → ${to}: ${what}`),
  );
  expect(refused).toEqual([]);
  expect(pairs.length).toBeGreaterThan(90);
});

test('what a stage takes away is told, and nothing else is @heavy', () => {
  const kinds = (before: Change, after: Change) =>
    update(before, after).map(({ kind, resource }) => `${kind} ${resource}`);
  const removed = kinds(variants['public access']!, {});
  expect(removed).toEqual([expect.stringMatching(/^removed RelayPublicLoadBalancer/)]);
  expect(kinds({}, variants['public access']!)).toEqual([]);
  const addresses = expect.stringMatching(/^addresses Network/);
  for (const fewer of [variants['one NAT gateway']!, zones('a', 'b')]) expect(kinds({}, fewer)).toEqual([addresses]);
  // Functions are in the first two zones.
  expect(kinds({}, zones('b', 'c'))).toEqual([addresses, expect.stringMatching(/^leftover Network\w+ASubnet$/)]);
  const smaller = kinds(variants['Redis, large']!, {});
  expect(smaller.sort()).toEqual([expect.stringMatching(/^fewer-tasks /), 'removed Cache']);
});

test('names, addresses, replicas and keys that change are told, and a cut of all clients comes first @heavy', () => {
  const told = (before: Change, after: Change) => update(before, after).map(({ what }) => what);
  const named = variants['names in a zone, keys, an agent, Prometheus, a spool']!;
  const http = variants['plain HTTP, no access logs']!;
  const without = told(named, {});
  for (const text of [
    /^the record relay\.example\.com \(A\) .* is deleted/,
    /^the certificate for relay\.example\.com .* is deleted/,
    /^relay\.prometheus\.namespace: .* relay\.internal .* is deleted/,
    /^Cache .* is deleted/,
    /^relay\.eventsSpool: the file system of stack edge-flag-relay-x-relay leaves it, and events .* stay there/,
  ]) {
    expect(without.filter((what) => text.test(what))).toHaveLength(1);
  }
  const others = told(named, { ...named, encryptionKeys: keys('2'), edge: { ...edge, domainNames: [] } });
  for (const text of [
    /^encryptionKeys\.eu-west-1: Redis is replaced by the cache efr-x-\w{8}, which has another address/,
    /^encryptionKeys\.eu-west-1: the events spool of stack .* is replaced by an empty one/,
    /^edge\.domainNames: the distribution no longer answers to www\.example\.com/,
    /^the record www\.example\.com \(AAAA\) .* is deleted/,
  ]) {
    expect(others.filter((what) => text.test(what))).toHaveLength(1);
  }
  const cut = /^every client is cut, .* from HTTP on port 80 to HTTPS on port 443/;
  expect(told(http, {})[0]).toMatch(cut);
  expect(told(http, { ...http, relay: { certificates } })[0]).toMatch(cut);
  expect(told({}, { replicaRegions: [] })).toContainEqual(
    expect.stringMatching(/^replicaRegions: .* us-west-2 is del/),
  );
});

const changed: Change = {
  tableName: 'others',
  replicaRegions: ['us-east-1', 'us-east-2'],
  networks: { 'eu-west-1': { cidr: '10.8.0.0/16' } },
};
const elsewhere: Change = {
  ...{ homeRegion: 'us-west-2', replicaRegions: ['eu-west-1'] },
  relay: { certificates: { 'us-west-2': arn('us-west-2') } },
};
const existing: Change = {
  networks: {
    'eu-west-1': {
      vpc: {
        vpcId: 'vpc-0123456789abcdef0',
        cidr: '10.20.0.0/16',
        zones: ['eu-west-1a', 'eu-west-1b'],
        privateSubnetIds: ['subnet-0123456789abcdef0', 'subnet-0123456789abcdef1'],
      },
    },
  },
};
const redis: Change = { redis: { serverless: {} } };
const spool: Change = relay({ eventsSpool: {} });
const otherSubnets: Change = {
  networks: {
    'eu-west-1': {
      vpc: {
        ...existing.networks!['eu-west-1']!.vpc!,
        privateSubnetIds: ['subnet-0123456789abcdef0', 'subnet-0123456789abcdef7'],
      },
    },
  },
};

test.each<[string, Change, Change, RegExp]>([
  ['tableName', {}, changed, /^tableName cannot change/],
  ['networks.…cidr', {}, changed, /^networks\.eu-west-1\.cidr cannot change/],
  ['replicaRegions', {}, changed, /^replicaRegions: us-west-2 and us-east-1 and us-east-2 change at once/],
  ['networks.…vpc', {}, existing, /^networks\.eu-west-1\.vpc cannot change/],
  ['networks.…vpc', existing, {}, /^networks\.eu-west-1\.vpc cannot change/],
  ['networks.…zones', redis, { ...redis, ...zones('b', 'c') }, /^networks\.eu-west-1\.zones cannot lose a zone/],
  [
    'networks.…vpc',
    { ...existing, ...spool },
    { ...otherSubnets, ...spool },
    /^networks\.eu-west-1\.vpc: the subnet of a zone cannot change while relay\.eventsSpool/,
  ],
  ['table', {}, { table: 'existing' }, /^table cannot become 'existing'/],
  ['homeRegion', {}, elsewhere, /^homeRegion cannot change from eu-west-1 to us-west-2/],
  ['production', { production: false, relay: { tasks: 2 } }, {}, /^production: .* would wait for ever/],
])('a change of %s that a stage cannot make is refused by name @heavy', (_, before, after, message) => {
  expect(refusals(before, after)).toContainEqual(expect.stringMatching(message));
  // A dashboard's name is unique in all regions.
  const byName =
    /^(table|tableName|networks\.eu-west-1\.\w+|replicaRegions|homeRegion|production)\b|AWS::CloudWatch::Dashboard/;
  expect(refusals(before, after).filter((what) => !byName.test(what))).toEqual([]);
});

test('a load balancer comes back to a relay in two deployments @heavy', () => {
  const without: Change = { relay: { loadBalancer: false } };
  expect(refusals(without, {})).toEqual([expect.stringMatching(/^relay\.loadBalancer cannot come back/)]);
  const between = relay({ healthCheckGraceSeconds: 0 });
  expect(refusals(without, between)).toEqual([]);
  expect(update(between, {})).toEqual([]);
});

test('a disk for events comes with nothing lost, and other subnets when it is away @heavy', () => {
  const file = 'relay.eventsSpool: the file system of stack';
  expect(update({}, spool)).toEqual([]);
  expect(update(spool, {}).map(({ what }) => what)).toEqual([expect.stringContaining(file)]);
  const test = { production: false, ...zones('a', 'b') };
  const gone = update({ ...test, ...spool }, { ...test, ...relay({}) }).map(({ what }) => what);
  expect(gone).toEqual([expect.stringMatching(/and events that wait in it are deleted with it$/)]);
  expect(refusals({ ...existing, ...spool }, { ...existing, ...relay({}) })).toEqual([]);
  expect(refusals({ ...existing, ...relay({}) }, { ...otherSubnets, ...relay({}) })).toEqual([]);
  expect(refusals({ ...otherSubnets, ...relay({}) }, { ...otherSubnets, ...spool })).toEqual([]);
});

test('more zones come to a stage with Redis, whose cache stays where it is', () => {
  const told = update(redis, { ...redis, ...zones('a', 'b', 'c', 'd') });
  expect(told.map(({ what }) => what)).toEqual([expect.stringMatching(/^networks.* 0 of 3 are released .* 1 added$/)]);
});
