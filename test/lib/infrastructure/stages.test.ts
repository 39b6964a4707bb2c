import type { RelaySettings, StageSettings } from '../../../lib/infrastructure/stage-settings.ts';
import { parseStage, stages } from '../../../lib/infrastructure/stages.ts';

const arn = (region: string) => `arn:aws:acm:${region}:123456789012:certificate/12345678-1234-1234-1234-123456789012`;
const vpc = {
  vpcId: 'vpc-0123456789abcdef0',
  cidr: '10.20.0.0/16',
  zones: ['eu-west-1a', 'eu-west-1b'],
  privateSubnetIds: ['subnet-0123456789abcdef0', 'subnet-0123456789abcdef1'],
};
const edge = {
  prefix: 'production',
  flagKey: 'new-site',
  origins: { old: { domainName: 'old.example.com' }, new: { domainName: 'new.example.com' } },
  defaultVariant: 'old',
};
const good: StageSettings = {
  account: '123456789012',
  homeRegion: 'eu-west-1',
  replicaRegions: ['us-east-1'],
  tableName: 'flags',
  production: true,
  relay: { certificates: { 'eu-west-1': arn('eu-west-1') } },
  edge,
};

/** The message about a stage file in which `wrong` stands in the place of what is good. */
function messageOf(wrong: object, name = 'x'): string {
  try {
    parseStage(name, { [name]: { ...good, ...wrong } });
  } catch (error) {
    return (error as Error).message;
  }
  return 'accepted';
}
const relay = (wrong: object) => ({ relay: { ...good.relay, ...wrong } });
const network = (wrong: object) => ({ networks: { 'eu-west-1': wrong } });
const sdkKey = ['sdk', '12345678', '1234', '1234', '1234', '123456789012'].join('-');

test('the stage files that we ship are accepted, and so is the good one that the wrong ones below are made of', () => {
  for (const name of Object.keys(stages)) expect(parseStage(name)).toMatchObject(stages[name]!);
  expect(messageOf({})).toBe('accepted');
});

test.each<[string, object, string]>([
  // What a stage is.
  ['an account that is not twelve digits', { account: '123' }, 'account "123" must be twelve digits, as a text'],
  ['an account that lost its leading zeros', { account: 12345 }, 'account 12345 must be twelve digits, as a text'],
  ['a region that is none', { homeRegion: 'Ireland' }, 'homeRegion "Ireland" must be a region, such as eu-west-1'],
  ['no home region', { homeRegion: undefined }, 'homeRegion is missing'],
  ['no word on production', { production: undefined }, 'production is missing'],
  ['a yes that is no boolean', { production: 'yes' }, 'production "yes" must be true or false'],
  [
    'replicas that are no list',
    { replicaRegions: 'us-east-1' },
    'replicaRegions "us-east-1" must be a list of regions',
  ],
  ['a replica that is no region', { replicaRegions: ['us-east'] }, 'replicaRegions[0] "us-east" must be a region'],
  ['a replica at home', { replicaRegions: ['eu-west-1'] }, 'replicaRegions must not contain the home region eu-west-1'],
  ['a replica twice', { replicaRegions: ['us-east-1', 'us-east-1'] }, 'must be without repetitions'],
  ['a replica in another partition', { replicaRegions: ['cn-north-1'] }, 'must be in the partition of eu-west-1'],
  [
    'a table name with a space',
    { tableName: 'my flags' },
    'tableName "my flags" must be 3 to 255 of a-z A-Z 0-9 _ - .',
  ],
  ['a table that is neither', { table: 'old' }, 'table "old" must be one of new, existing'],
  ['an environment twice', { environments: ['a', 'a'] }, 'environments ["a","a"] must be without repetitions'],
  ['a property that is misspelt', { replicaRegion: [] }, 'replicaRegion is not known: did you mean replicaRegions?'],
  ['a property of another world', { flavour: 1 }, 'flavour is not known: there are account, homeRegion'],
  ['a retention that CloudWatch has not', { logRetentionDays: 10 }, 'logRetentionDays 10 must be one of 1, 3, 5, 7'],
  [
    'an e-mail address without a host',
    { alarms: { emails: ['ops'] } },
    'alarms.emails[0] "ops" must be an e-mail address',
  ],
  ["a tag of AWS's", { tags: { 'aws:x': 'y' } }, 'tags {"aws:x":"y"} must be a map from tag names to values'],
  ['a tag of ours', { tags: { stage: 'y' } }, 'tags.stage is set by the app: leave it out'],
  // Relays elsewhere.
  ['a relay without a replica', { relayRegions: ['us-west-2'] }, 'us-west-2 must be one of replicaRegions'],
  [
    'a relay region that is home',
    { relayRegions: ['eu-west-1'] },
    'relayRegions must not contain the home region eu-west-1',
  ],
  ['a relay region without a certificate', { relayRegions: ['us-east-1'] }, 'relay.certificates lacks us-east-1'],
  // Networks.
  [
    'a network without a relay',
    { networks: { 'us-east-1': {} } },
    'networks.us-east-1 has no effect: no relay stands there',
  ],
  [
    'too few zones',
    network({ zones: ['eu-west-1a', 'eu-west-1b'] }),
    'networks.eu-west-1.zones ["eu-west-1a","eu-west-1b"] must be at least 3 zones',
  ],
  [
    'zones of another region',
    network({ zones: ['us-east-1a', 'us-east-1b', 'us-east-1c'] }),
    'must be zones of eu-west-1',
  ],
  [
    'a range that is too narrow',
    network({ cidr: '10.0.0.0/24' }),
    'networks.eu-west-1.cidr "10.0.0.0/24" must be from /16 to /22',
  ],
  ['a range that is none', network({ cidr: '10.0.0.300/16' }), 'must be a range of addresses, such as 10.0.0.0/16'],
  [
    'no NAT in production',
    network({ nat: 'none' }),
    'networks.eu-west-1.nat "none" must be per-zone or one in production',
  ],
  ['NAT gateways by number', network({ nat: 3 }), 'networks.eu-west-1.nat 3 must be one of per-zone, one, none'],
  [
    'a VPC that is none',
    network({ vpc: { ...vpc, vpcId: 'main' } }),
    'networks.eu-west-1.vpc.vpcId "main" must be the id of a VPC',
  ],
  [
    'a VPC in one zone',
    network({ vpc: { ...vpc, zones: ['eu-west-1a'] } }),
    'networks.eu-west-1.vpc.zones ["eu-west-1a"] must be at least 2 zones',
  ],
  [
    'fewer subnets than zones',
    network({ vpc: { ...vpc, privateSubnetIds: [vpc.privateSubnetIds[0]] } }),
    'must be one for each of the 2 zones',
  ],
  // The relay.
  ['tasks below three in production', relay({ tasks: 2 }), 'relay.tasks 2 must be at least 3 in production'],
  ['a host name with a scheme', relay({ hostName: 'https://relay.example.com' }), 'must be a host name in lower case'],
  ['a host name that is a pattern', relay({ hostName: '*.example.com' }), 'must be a host name in lower case'],
  ['half a task', relay({ tasks: 3.5 }), 'relay.tasks 3.5 must be a whole number from 1 to 1000'],
  [
    'fewer tasks at most than at least',
    relay({ tasks: 6, maxTasks: 5 }),
    'relay.maxTasks 5 must be at least the 6 tasks that always run',
  ],
  [
    'more streams than tasks can be added for',
    relay({ expectedStreams: 50_000, maxTasks: 10 }),
    'relay.maxTasks 10 must be at least the 20 tasks that always run (twice expectedStreams by streamsPerTask)',
  ],
  ['a CPU that Fargate has not', relay({ cpu: 1000 }), 'relay.cpu 1000 must be one of 256, 512, 1024'],
  [
    'memory that does not go with the CPU',
    relay({ cpu: 1024, memoryMiB: 1024 }),
    'relay.memoryMiB 1024 must be from 2048 to 8192 in steps of 1024 with a CPU of 1024',
  ],
  [
    'memory that goes with no CPU of its size',
    relay({ cpu: 32768, memoryMiB: 65536 }),
    'relay.memoryMiB 65536 must be 61440, 122880, 249856 with a CPU of 32768',
  ],
  [
    'an architecture of another name',
    relay({ architecture: 'amd64' }),
    'relay.architecture "amd64" must be one of arm64, x86_64',
  ],
  [
    'an image without a tag',
    relay({ image: 'example.com/relay' }),
    'must be the URI of an image with its tag or digest',
  ],
  ['no certificate in production', relay({ certificates: undefined }), 'relay.certificates lacks eu-west-1'],
  [
    'a certificate in the wrong region',
    relay({ certificates: { 'eu-west-1': arn('us-east-1') } }),
    'must be of eu-west-1: a load balancer takes no other',
  ],
  [
    'a certificate of another account',
    relay({ certificates: { 'eu-west-1': arn('eu-west-1').replace('123456789012', '210987654321') } }),
    "must be of the stage's account 123456789012",
  ],
  [
    'a certificate that is none',
    relay({ certificates: { 'eu-west-1': 'mine' } }),
    'relay.certificates.eu-west-1 "mine" must be the ARN of an ACM certificate',
  ],
  [
    'a certificate where no relay stands',
    relay({ certificates: { 'eu-west-1': arn('eu-west-1'), 'us-east-1': arn('us-east-1') } }),
    'relay.certificates.us-east-1 has no effect: no relay stands there',
  ],
  [
    'an idle timeout of one heartbeat',
    relay({ idleTimeoutSeconds: 30 }),
    'relay.idleTimeoutSeconds 30 must be above two heartbeats of 30 s',
  ],
  [
    'a heartbeat of half the idle timeout',
    relay({ heartbeatSeconds: 60 }),
    'relay.idleTimeoutSeconds 120 must be above two heartbeats of 60 s',
  ],
  [
    'an idle timeout that no load balancer has',
    relay({ idleTimeoutSeconds: 4001 }),
    'relay.idleTimeoutSeconds 4001 must be a whole number of s from 1 to 4000',
  ],
  ['a way of draining that there is not', relay({ drain: 'slow' }), 'relay.drain "slow" must be one of quick, gentle'],
  [
    'a setting that the app decides',
    relay({ variables: { STORE_WRITER: 'auto' } }),
    'relay.variables.STORE_WRITER is set by the app: other properties decide it',
  ],
  [
    'a secret among the variables',
    relay({ variables: { REDIS_PASSWORD: 'hunter2' } }),
    'relay.variables.REDIS_PASSWORD is a secret: put it in SSM',
  ],
  [
    'an SDK key among the secrets',
    relay({ secrets: { LD_ENV_x: '/mine/key' } }),
    'must be a map from settings to names of SSM parameters',
  ],
  [
    'an environment by variable',
    relay({ secrets: { LD_ENV_X: '/mine/key' } }),
    'relay.secrets.LD_ENV_X: keys go to SSM, with npm run keys -- put',
  ],
  [
    'a secret where its name should be',
    relay({ secrets: { REDIS_PASSWORD: 'hunter2' } }),
    'must be the name of an SSM parameter, such as /mine/redis-password',
  ],
  [
    'a key of another region',
    relay({ encryptionKeys: { 'eu-west-1': 'arn:aws:kms:us-east-1:123456789012:key/1' } }),
    'relay.encryptionKeys.eu-west-1 "arn:aws:kms:us-east-1:123456789012:key/1" must be of eu-west-1',
  ],
  [
    'a public load balancer whose VPC has no public subnet',
    { ...network({ vpc }), ...relay({ publicAccess: {} }) },
    'networks.eu-west-1.vpc.publicSubnetIds is missing: relay.publicAccess needs it',
  ],
  [
    'a rate below what a web ACL can count',
    relay({ publicAccess: { requestsPerFiveMinutes: 1 } }),
    'relay.publicAccess.requestsPerFiveMinutes 1 must be a whole number from 10',
  ],
  [
    'a public path that is no path',
    relay({ publicAccess: { paths: ['ofrep'] } }),
    'relay.publicAccess.paths[0] "ofrep" must be a load balancer\'s path pattern',
  ],
  // Redis.
  [
    'a Redis in clear',
    { redis: { url: 'redis://cache.example.com:6379' } },
    'redis.url "redis://cache.example.com:6379" must be rediss:// in production',
  ],
  ['a Redis with its password', { redis: { url: 'rediss://u:p@cache.example.com' } }, 'with a host, and no password'],
  ['a Redis of no kind', { redis: {} }, 'redis.serverless is missing'],
  // The edge.
  [
    'a default variant without an origin',
    { edge: { ...edge, defaultVariant: 'newest' } },
    'edge.defaultVariant "newest" must be one of old, new',
  ],
  ['no flag', { edge: { ...edge, flagKey: undefined } }, 'edge.flagKey is missing'],
  [
    'an origin that is an address',
    { edge: { ...edge, origins: { old: { domainName: 'https://old.example.com' } } } },
    'edge.origins.old.domainName "https://old.example.com" must be a host name',
  ],
  [
    'a header that CloudFront forbids',
    { edge: { ...edge, variantHeader: 'x-edge-variant' } },
    'edge.variantHeader: header x-edge-variant is one that CloudFront forbids',
  ],
  [
    'an edge certificate outside us-east-1',
    { edge: { ...edge, domainNames: ['www.example.com'], certificateArn: arn('eu-west-1') } },
    'must be of us-east-1: CloudFront takes no other',
  ],
  [
    'a name without a certificate',
    { edge: { ...edge, domainNames: ['www.example.com'] } },
    'edge.certificateArn is missing',
  ],
  [
    'a certificate without a name',
    { edge: { ...edge, certificateArn: arn('us-east-1') } },
    'edge.domainNames is missing',
  ],
  [
    'a web ACL of a region',
    { edge: { ...edge, webAclArn: 'arn:aws:wafv2:eu-west-1:123456789012:regional/webacl/a/b' } },
    "must be the ARN of a web ACL of CloudFront's scope",
  ],
  [
    'a reader that never refreshes',
    { edge: { ...edge, reader: { refreshMs: 0 } } },
    'edge.reader.refreshMs 0 must be a whole number of ms from 1000',
  ],
  [
    'the edge in China',
    { homeRegion: 'cn-north-1', replicaRegions: [], ...relay({ certificates: { 'cn-north-1': arn('cn-north-1') } }) },
    'edge must be left out: Lambda@Edge does not reach the partition of cn-north-1',
  ],
])('a stage file with %s is refused with one message that names the property', (_, wrong, message) => {
  const said = messageOf(wrong);
  expect(said).toContain(message);
  expect(said).toMatch(/^stage x: /);
  expect(said.split('; ')).toHaveLength(1);
});

describe('a key pasted into a stage file', () => {
  test.each<[string, object, string]>([
    ['as a value', relay({ redeploy: sdkKey }), 'relay.redeploy holds a key'],
    ['within a text', { environments: [`production ${sdkKey}`] }, 'environments.0 holds a key'],
    ['as a name', { tags: { [sdkKey]: 'production' } }, 'tags holds a key'],
    ['where only known words stand', relay({ drain: sdkKey.replace('sdk', 'mob') }), 'relay.drain holds a key'],
    ['under a property that is not known', { sdkKey }, 'sdkKey holds a key'],
  ])('%s is refused, and is not repeated', (_, wrong, message) => {
    expect(messageOf(wrong)).toContain(`${message}: keys go to SSM, with npm run keys -- put`);
    expect(messageOf(wrong)).not.toContain('12345678-');
  });
});

test.each<[string, object]>([
  ['the password of a Redis', { redis: { url: 'rediss://user:hunter2@cache.example.com' } }],
  ['a secret in the place of its name', relay({ secrets: { REDIS_PASSWORD: 'hunter2' } })],
])('%s is not repeated in the message', (_, wrong) => {
  expect(messageOf(wrong)).toMatch(/must be/);
  expect(messageOf(wrong)).not.toContain('hunter2');
});

test('all problems of a file are told at once, each once', () => {
  const wrong = { account: 'x', replicaRegions: ['eu-west-1'], relay: { tasks: 1, drain: 'no' }, edge: undefined };
  expect(messageOf(wrong)).toBe(
    'stage x: account "x" must be twelve digits, as a text; relay.drain "no" must be one of quick, gentle; ' +
      'replicaRegions must not contain the home region eu-west-1; relay.tasks 1 must be at least 3 in production; ' +
      'relay.certificates lacks eu-west-1: keys and flags must not cross the network in clear',
  );
});

test.each(['staging', undefined, 'constructor', '__proto__'])(
  'a stage that is not there (%s) is refused with the names that are',
  (name) => {
    expect(() => parseStage(name)).toThrow('is not known: use -c stage=dev or prod');
  },
);

test('a stage whose name could not be part of the names of resources is refused', () => {
  expect(messageOf({}, 'Prod_1')).toContain('its name must be 1 to 24 of a-z 0-9 -');
});

describe('what cdk.json says', () => {
  test('is laid over a stage file, property by property', () => {
    const stage = parseStage('prod', stages, { prod: { relay: { tasks: 5 }, alarms: { emails: ['a@example.com'] } } });
    expect(stage.relay).toMatchObject({ tasks: 5, certificates: stages.prod!.relay!.certificates });
    expect(stage.alarms).toEqual({ emails: ['a@example.com'], pageEmails: ['a@example.com'] });
  });

  test('may be a stage of its own', () => {
    const context = { test: { ...good, production: false, homeRegion: 'eu-north-1', relay: undefined } };
    expect(parseStage('test', stages, context)).toMatchObject({ name: 'test', homeRegion: 'eu-north-1' });
  });

  test.each<[unknown, string]>([
    ['prod', 'stages in cdk.json must be an object of stages by name'],
    [{ prod: 'large' }, 'stage prod: "large" must be an object'],
    [{ prod: { relay: { tasks: '5' } } }, 'stage prod: relay.tasks "5" must be a whole number'],
  ])('is distrusted: %j', (context, message) => {
    expect(() => parseStage('prod', stages, context)).toThrow(message);
  });
});

describe('a stage that leaves things out', () => {
  test('gets three tasks as roomy as an m4.xlarge in production, and small ones elsewhere', () => {
    expect(parseStage('prod').relay).toMatchObject({ tasks: 3, cpu: 4096, memoryMiB: 16_384, architecture: 'arm64' });
    expect(parseStage('dev').relay).toMatchObject({ tasks: 3, cpu: 256, memoryMiB: 1_024 });
  });

  test('is provisioned for twice the streams that it expects', () => {
    const tasks = (settings: RelaySettings) => parseStage('x', { x: { ...good, ...relay(settings) } }).relay.tasks;
    expect(tasks({ expectedStreams: 7_500 })).toBe(3);
    expect(tasks({ expectedStreams: 7_501 })).toBe(4);
    expect(tasks({ expectedStreams: 100_000, streamsPerTask: 20_000 })).toBe(10);
  });

  test('gets three zones that its region has', () => {
    const zones = (homeRegion: string) =>
      parseStage('x', { x: { ...good, homeRegion, production: false, relay: {} } }).networks[homeRegion]?.zones;
    expect(zones('eu-west-1')).toEqual(['eu-west-1a', 'eu-west-1b', 'eu-west-1c']);
    expect(zones('ap-northeast-1')).toEqual(['ap-northeast-1a', 'ap-northeast-1c', 'ap-northeast-1d']);
  });
});
