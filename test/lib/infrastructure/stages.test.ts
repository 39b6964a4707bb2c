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

/** The error for a valid stage file with the properties in `wrong` replaced. */
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

test('the shipped stage files are valid, and so is the one from which the invalid ones below are derived', () => {
  for (const name of Object.keys(stages)) expect(parseStage(name)).toMatchObject(stages[name]!);
  expect(messageOf({})).toBe('accepted');
});

test.each<[string, object, string]>([
  // The stage.
  [
    'an account that is not twelve digits',
    { account: '123' },
    'account="123" is invalid: expected twelve digits, as a string',
  ],
  [
    'an account that lost its leading zeros',
    { account: 12345 },
    'account=12345 is invalid: expected twelve digits, as a string',
  ],
  [
    'an invalid region',
    { homeRegion: 'Ireland' },
    'homeRegion="Ireland" is invalid: expected a region, such as eu-west-1',
  ],
  ['no home region', { homeRegion: undefined }, 'homeRegion is missing'],
  ['no production property', { production: undefined }, 'production is missing'],
  ['a string instead of a boolean', { production: 'yes' }, 'production="yes" is invalid: expected true or false'],
  [
    'replicas that are not a list',
    { replicaRegions: 'us-east-1' },
    'replicaRegions="us-east-1" is invalid: expected a list of regions',
  ],
  [
    'a replica with an invalid region',
    { replicaRegions: ['us-east'] },
    'replicaRegions[0]="us-east" is invalid: expected a region',
  ],
  [
    'a replica in the home region',
    { replicaRegions: ['eu-west-1'] },
    'replicaRegions must not contain the home region eu-west-1',
  ],
  ['a duplicate replica', { replicaRegions: ['us-east-1', 'us-east-1'] }, 'is invalid: expected no duplicates'],
  ['a replica in another partition', { replicaRegions: ['cn-north-1'] }, 'must be in the partition of eu-west-1'],
  [
    'a table name with a space',
    { tableName: 'my flags' },
    'tableName="my flags" is invalid: expected 3 to 255 characters from a-z A-Z 0-9 _ - .',
  ],
  ['an unknown kind of table', { table: 'old' }, 'table="old" is invalid: expected one of new, existing'],
  [
    'a duplicate environment',
    { environments: ['a', 'a'] },
    'environments=["a","a"] is invalid: expected no duplicates',
  ],
  ['a misspelt property', { replicaRegion: [] }, 'replicaRegion is unknown: did you mean replicaRegions?'],
  ['an unknown property', { flavour: 1 }, 'flavour is unknown: expected one of account, homeRegion'],
  [
    'a retention that CloudWatch does not offer',
    { logRetentionDays: 10 },
    'logRetentionDays=10 is invalid: expected one of 1, 3, 5, 7',
  ],
  [
    'an e-mail address without a host',
    { alarms: { emails: ['ops'] } },
    'alarms.emails[0]="ops" is invalid: expected an e-mail address',
  ],
  [
    'a topic that is no ARN',
    { alarms: { topics: ['ops'] } },
    'alarms.topics[0]="ops" is invalid: expected the ARN of an SNS topic that is not FIFO',
  ],
  [
    'a FIFO topic, which alarms cannot notify',
    { alarms: { topics: ['arn:aws:sns:eu-west-1:123456789012:ops.fifo'] } },
    'is invalid: expected the ARN of an SNS topic that is not FIFO',
  ],
  [
    'runbooks with an anchor',
    { alarms: { runbooks: 'https://wiki.example.com/relay#cpu' } },
    'alarms.runbooks="https://wiki.example.com/relay#cpu" is invalid: expected an https address without an anchor',
  ],
  [
    'a threshold of a misspelt alarm',
    { alarms: { thresholds: { 'edge-eror': 5 } } },
    'alarms.thresholds.edge-eror is unknown: did you mean edge-errors?',
  ],
  [
    'a threshold above its range',
    { alarms: { thresholds: { cpu: 101 } } },
    'alarms.thresholds.cpu=101 is invalid: expected a number from 0 to 100 (%)',
  ],
  [
    'an objective without an error budget',
    { alarms: { availabilityPercent: 100 } },
    'alarms.availabilityPercent=100 is invalid: expected a number from 95 to 99.999 (%)',
  ],
  [
    'a misspelt region beside others',
    { networks: { 'eu-west-1': {}, eu_west_2: {} } },
    'networks has the invalid name "eu_west_2": expected a map of regions to networks',
  ],
  [
    "a tag of AWS's",
    { tags: { 'aws:x': 'y' } },
    'tags has the invalid name "aws:x": expected a map of tag names to values',
  ],
  ['a tag that the app sets', { tags: { stage: 'y' } }, 'tags.stage is set by the app: remove it'],
  // IAM refuses a role with both.
  ['a tag that only differs from the app’s in its case', { tags: { Stage: 'y' } }, 'tags.Stage is set by the app'],
  [
    'two tags that only differ in their case',
    { tags: { Team: 'a', team: 'b' } },
    'tags.team is the same as tags.Team to IAM: remove one',
  ],
  ['a tag of AWS in capitals', { tags: { 'AWS:x': 'y' } }, 'tags has the invalid name "AWS:x"'],
  [
    'more tags than a subnet has room for',
    { tags: Object.fromEntries(Array.from({ length: 46 }, (_, index) => [`tag-${index}`, 'y'])) },
    'tags: 46 are too many: expected at most 45',
  ],
  // Relays in other regions.
  ['a relay without a replica', { relayRegions: ['us-west-2'] }, 'us-west-2 must be one of replicaRegions'],
  [
    'the home region as a relay region',
    { relayRegions: ['eu-west-1'] },
    'relayRegions must not contain the home region eu-west-1',
  ],
  [
    'a relay region without a certificate',
    { relayRegions: ['us-east-1'] },
    'relay.certificates has no certificate for us-east-1',
  ],
  // Networks.
  [
    'a network without a relay',
    { networks: { 'us-east-1': {} } },
    'networks.us-east-1 has no effect: there is no relay in that region',
  ],
  [
    'too few zones',
    network({ zones: ['eu-west-1a'] }),
    'networks.eu-west-1.zones=["eu-west-1a"] is invalid: expected at least 2 zones',
  ],
  [
    'zones of another region',
    network({ zones: ['us-east-1a', 'us-east-1b', 'us-east-1c'] }),
    'is invalid: expected zones of eu-west-1',
  ],
  [
    'an address range that is too small',
    network({ cidr: '10.0.0.0/24' }),
    'networks.eu-west-1.cidr="10.0.0.0/24" is invalid: expected a prefix length from /16 to /22',
  ],
  [
    'a CIDR block whose address is not its first',
    network({ cidr: '10.0.0.5/16' }),
    'networks.eu-west-1.cidr="10.0.0.5/16" is invalid: expected 10.0.0.0/16, the block of that address',
  ],
  [
    'two CIDR blocks that are one',
    relay({ allowedCidrs: ['10.0.0.0/8', '10.0.0.1/8'] }),
    'relay.allowedCidrs[1]="10.0.0.1/8" is invalid: expected 10.0.0.0/8, the block of that address',
  ],
  [
    'an invalid address range',
    network({ cidr: '10.0.0.300/16' }),
    'is invalid: expected a CIDR block, such as 10.0.0.0/16',
  ],
  [
    'no NAT in production',
    network({ nat: 'none' }),
    'networks.eu-west-1.nat="none" is invalid: expected per-zone or one in production',
  ],
  [
    'NAT gateways by number',
    network({ nat: 3 }),
    'networks.eu-west-1.nat=3 is invalid: expected one of per-zone, one, none',
  ],
  [
    'an invalid VPC ID',
    network({ vpc: { ...vpc, vpcId: 'main' } }),
    'networks.eu-west-1.vpc.vpcId="main" is invalid: expected a VPC ID',
  ],
  [
    'a VPC in one zone',
    network({ vpc: { ...vpc, zones: ['eu-west-1a'] } }),
    'networks.eu-west-1.vpc.zones=["eu-west-1a"] is invalid: expected at least 2 zones',
  ],
  [
    'fewer subnets than zones',
    network({ vpc: { ...vpc, privateSubnetIds: [vpc.privateSubnetIds[0]] } }),
    'is invalid: expected one subnet for each of the 2 zones',
  ],
  // The relay.
  [
    'tasks below three in production',
    relay({ tasks: 2 }),
    'relay.tasks=2 is invalid: expected at least 3 in production',
  ],
  [
    'a host name with a scheme',
    relay({ hostName: 'https://relay.example.com' }),
    'is invalid: expected a lower-case host name',
  ],
  ['a wildcard host name', relay({ hostName: '*.example.com' }), 'is invalid: expected a lower-case host name'],
  ['a fraction of a task', relay({ tasks: 3.5 }), 'relay.tasks=3.5 is invalid: expected an integer from 1 to 1000'],
  [
    'fewer maxTasks than tasks',
    relay({ tasks: 6, maxTasks: 5 }),
    'relay.maxTasks=5 is invalid: expected at least 6, the number of tasks that always run',
  ],
  [
    'more streams than maxTasks can serve',
    relay({ expectedStreams: 50_000, maxTasks: 10 }),
    'relay.maxTasks=10 is invalid: expected at least 20, the number of tasks that always run (twice expectedStreams divided by streamsPerTask)',
  ],
  [
    'a CPU size that Fargate does not offer',
    relay({ cpu: 1000 }),
    'relay.cpu=1000 is invalid: expected one of 256, 512, 1024',
  ],
  [
    'memory that does not fit the CPU',
    relay({ cpu: 1024, memoryMiB: 1024 }),
    'relay.memoryMiB=1024 is invalid: expected from 2048 to 8192 in steps of 1024 with a CPU of 1024',
  ],
  [
    'memory between the sizes that the CPU offers',
    relay({ cpu: 32768, memoryMiB: 65536 }),
    'relay.memoryMiB=65536 is invalid: expected 61440, 122880, 249856 with a CPU of 32768',
  ],
  [
    'an unknown architecture',
    relay({ architecture: 'amd64' }),
    'relay.architecture="amd64" is invalid: expected one of arm64, x86_64',
  ],
  [
    'an image without a tag',
    relay({ image: 'example.com/relay' }),
    'is invalid: expected an image URI with a tag, a digest, or both',
  ],
  [
    'no certificate in production',
    relay({ certificates: undefined }),
    'relay.certificates has no certificate for eu-west-1',
  ],
  [
    'a certificate in the wrong region',
    relay({ certificates: { 'eu-west-1': arn('us-east-1') } }),
    'is invalid: expected a certificate in eu-west-1, the region of its load balancer',
  ],
  [
    'a certificate of another account',
    relay({ certificates: { 'eu-west-1': arn('eu-west-1').replace('123456789012', '210987654321') } }),
    "is invalid: expected a certificate in the stage's account 123456789012",
  ],
  [
    'an invalid certificate',
    relay({ certificates: { 'eu-west-1': 'mine' } }),
    'relay.certificates.eu-west-1="mine" is invalid: expected an ACM certificate ARN',
  ],
  [
    'a certificate in a region without a relay',
    relay({ certificates: { 'eu-west-1': arn('eu-west-1'), 'us-east-1': arn('us-east-1') } }),
    'relay.certificates.us-east-1 has no effect: there is no relay in that region',
  ],
  [
    'an idle timeout of one heartbeat',
    relay({ idleTimeoutSeconds: 30 }),
    'relay.idleTimeoutSeconds=30 is invalid: expected more than two heartbeats of 30 s',
  ],
  [
    'a heartbeat of half the idle timeout',
    relay({ heartbeatSeconds: 60 }),
    'relay.idleTimeoutSeconds=120 is invalid: expected more than two heartbeats of 60 s',
  ],
  [
    'an idle timeout above the maximum',
    relay({ idleTimeoutSeconds: 4001 }),
    'relay.idleTimeoutSeconds=4001 is invalid: expected an integer from 1 to 4000 (s)',
  ],
  ['an unknown drain mode', relay({ drain: 'slow' }), 'relay.drain="slow" is invalid: expected one of quick, gentle'],
  [
    'a setting that the app manages',
    relay({ variables: { STORE_WRITER: 'auto' } }),
    'relay.variables.STORE_WRITER is set by the app: set homeRegion',
  ],
  [
    'a secret among the variables',
    relay({ variables: { REDIS_PASSWORD: 'hunter2' } }),
    'relay.variables.REDIS_PASSWORD is a secret: store it in SSM',
  ],
  [
    'an SDK key among the secrets',
    relay({ secrets: { LD_ENV_x: '/mine/key' } }),
    'relay.secrets has the invalid name "LD_ENV_x": expected a map of settings to SSM parameter names',
  ],
  [
    'an environment variable for an SDK key',
    relay({ secrets: { LD_ENV_X: '/mine/key' } }),
    'relay.secrets.LD_ENV_X: store keys in SSM with npm run keys -- put',
  ],
  [
    'a secret instead of its name',
    relay({ secrets: { REDIS_PASSWORD: 'hunter2' } }),
    'is invalid: expected the name of an SSM parameter, such as /mine/redis-password',
  ],
  [
    'a key of another region',
    relay({ encryptionKeys: { 'eu-west-1': 'arn:aws:kms:us-east-1:123456789012:key/1' } }),
    'relay.encryptionKeys.eu-west-1="arn:aws:kms:us-east-1:123456789012:key/1" is invalid: expected a key in eu-west-1',
  ],
  [
    'a public load balancer whose VPC has no public subnet',
    { ...network({ vpc }), ...relay({ publicAccess: {} }) },
    'networks.eu-west-1.vpc.publicSubnetIds is missing: relay.publicAccess needs it',
  ],
  [
    'a rate below what a web ACL can count',
    relay({ publicAccess: { requestsPerFiveMinutes: 1 } }),
    'relay.publicAccess.requestsPerFiveMinutes=1 is invalid: expected an integer from 10',
  ],
  [
    'an invalid public path',
    relay({ publicAccess: { paths: ['ofrep'] } }),
    'relay.publicAccess.paths[0]="ofrep" is invalid: expected a load balancer path pattern',
  ],
  // Redis.
  [
    'a Redis without TLS',
    { redis: { url: 'redis://cache.example.com:6379' } },
    'redis.url="redis://cache.example.com:6379" is invalid: expected rediss:// in production',
  ],
  ['a Redis URL with a password', { redis: { url: 'rediss://u:p@cache.example.com' } }, 'with a host and no password'],
  ['an empty Redis', { redis: {} }, 'redis.serverless is missing'],
  // The edge.
  [
    'a default variant without an origin',
    { edge: { ...edge, defaultVariant: 'newest' } },
    'edge.defaultVariant="newest" is invalid: expected one of old, new',
  ],
  ['no flag', { edge: { ...edge, flagKey: undefined } }, 'edge.flagKey is missing'],
  [
    'exposures of no environment',
    { environments: ['production'], edge: { ...edge, exposures: {} } },
    'edge.exposures.environment is missing',
  ],
  [
    'exposures of an environment that the stage does not have',
    { environments: ['production', 'staging'], edge: { ...edge, exposures: { environment: 'test' } } },
    'edge.exposures.environment="test" is invalid: expected one of production, staging',
  ],
  [
    'exposures with an unknown property',
    { environments: ['production'], edge: { ...edge, exposures: { environment: 'production', every: 5 } } },
    'edge.exposures.every is unknown: did you mean everyMs?',
  ],
  [
    'exposures at an interval that is too short',
    { environments: ['production'], edge: { ...edge, exposures: { environment: 'production', everyMs: 5 } } },
    'edge.exposures.everyMs=5 is invalid: expected an integer from 1000 to 3600000',
  ],
  [
    'exposures through a relay that forwards no events',
    {
      ...{ environments: ['production'], edge: { ...edge, exposures: { environment: 'production' } } },
      ...relay({ variables: { USE_EVENTS: 'false' } }),
    },
    'relay.variables.USE_EVENTS must be true, or left out',
  ],
  [
    'a URL as an origin',
    { edge: { ...edge, origins: { old: { domainName: 'https://old.example.com' } } } },
    'edge.origins.old.domainName="https://old.example.com" is invalid: expected a lower-case host name',
  ],
  [
    'a header that CloudFront forbids',
    { edge: { ...edge, variantHeader: 'x-edge-variant' } },
    'edge.variantHeader="x-edge-variant" is invalid: expected a name of your own, such as x-flag-variant (CloudFront forbids edge functions to set this one)',
  ],
  [
    'an edge certificate outside us-east-1',
    { edge: { ...edge, domainNames: ['www.example.com'], certificateArn: arn('eu-west-1') } },
    'is invalid: expected a certificate in us-east-1, the only region that CloudFront accepts',
  ],
  [
    'a domain name without a certificate',
    { edge: { ...edge, domainNames: ['www.example.com'] } },
    'edge.certificateArn is missing',
  ],
  [
    'a certificate without a domain name',
    { edge: { ...edge, certificateArn: arn('us-east-1') } },
    'edge.domainNames is missing',
  ],
  [
    'a regional web ACL',
    { edge: { ...edge, webAclArn: 'arn:aws:wafv2:eu-west-1:123456789012:regional/webacl/a/b' } },
    'is invalid: expected the ARN of a web ACL with CloudFront scope',
  ],
  [
    'a reader that never refreshes',
    { edge: { ...edge, reader: { refreshMs: 0 } } },
    'edge.reader.refreshMs=0 is invalid: expected an integer from 1000 to 3600000 (ms)',
  ],
  [
    'logs of edge functions where Lambda@Edge does not run',
    { edge: { ...edge, logRegions: ['eu-west-1', 'eu-north-1'] } },
    'edge.logRegions[1]="eu-north-1" is invalid: expected a region in which Lambda@Edge runs: us-east-1, us-east-2, us-west-1, us-west-2, ap-south-1, ap-northeast-1, ap-northeast-2, ap-southeast-1, ap-southeast-2, eu-central-1, eu-west-1, eu-west-2, sa-east-1',
  ],
  [
    'the edge in China',
    { homeRegion: 'cn-north-1', replicaRegions: [], ...relay({ certificates: { 'cn-north-1': arn('cn-north-1') } }) },
    'edge must be left out: Lambda@Edge is not available in the partition of cn-north-1',
  ],
])('a stage file with %s is refused with one message that names the property', (_, wrong, message) => {
  const said = messageOf(wrong);
  expect(said).toContain(message);
  expect(said).toMatch(/^stage x: /);
  expect(said.split('\n')).toHaveLength(1);
});

// Docker's reference grammar, distribution/reference: name [":" tag] ["@" digest].
test.each([':1.2', `@sha256:${'0a'.repeat(32)}`, `:1.2@sha256:${'0a'.repeat(32)}`])(
  'an image with %s is valid',
  (end) => {
    for (const name of ['relay', 'localhost:5000/relay', 'ghcr.io/me/relay']) {
      expect(messageOf(relay({ image: name + end }))).toBe('accepted');
      expect(messageOf(relay({ agent: { datadog: { apiKey: '/a/b', image: name + end } } }))).toBe('accepted');
    }
  },
);

test.each(['@sha256:0a', `@sha256:${'0a'.repeat(32)}:1.2`, ':', ':1.2@', ':1:2', `:1.2@md5:${'0a'.repeat(16)}`])(
  'an image with %s is refused',
  (end) => {
    expect(messageOf(relay({ image: `ghcr.io/me/relay${end}` }))).toContain(
      'expected an image URI with a tag, a digest',
    );
  },
);

describe('a key pasted into a stage file', () => {
  test.each<[string, object, string]>([
    ['as a value', relay({ redeploy: sdkKey }), 'relay.redeploy contains a key'],
    ['within a string', { environments: [`production ${sdkKey}`] }, 'environments.0 contains a key'],
    ['as a property name', { tags: { [sdkKey]: 'production' } }, 'tags contains a key'],
    [
      'where only certain words are allowed',
      relay({ drain: sdkKey.replace('sdk', 'mob') }),
      'relay.drain contains a key',
    ],
    ['under an unknown property', { sdkKey }, 'sdkKey contains a key'],
  ])('%s is refused, and is not repeated', (_, wrong, message) => {
    expect(messageOf(wrong)).toContain(`${message}: store keys in SSM with npm run keys -- put`);
    expect(messageOf(wrong)).not.toContain('12345678-');
  });
});

test.each<[string, object]>([
  ['the password of a Redis', { redis: { url: 'rediss://user:hunter2@cache.example.com' } }],
  ['a secret instead of its name', relay({ secrets: { REDIS_PASSWORD: 'hunter2' } })],
  ['a secret under an invalid name', relay({ secrets: { redis_password: 'hunter2' } })],
  ['a secret without a name', relay({ secrets: ['hunter2'] })],
  [
    'a secret under an invalid name of a header',
    relay({ agent: { otel: { endpoint: 'https://otlp.example.com', headers: { api_key: 'hunter2' } } } }),
  ],
  ['the API key of a misspelt agent', relay({ agent: { dataDog: { apiKey: 'hunter2' } } })],
])('%s is not repeated in the message', (_, wrong) => {
  expect(messageOf(wrong)).toMatch(/ invalid( name "\w+")?: expected/);
  expect(messageOf(wrong)).not.toContain('hunter2');
});

test('all problems of a stage file are reported at once, each once, one in a line', () => {
  const wrong = { account: 'x', replicaRegions: ['eu-west-1'], relay: { tasks: 1, drain: 'no' }, edge: undefined };
  expect(messageOf(wrong)).toBe(
    `stage x: 5 problems:
  account="x" is invalid: expected twelve digits, as a string
  relay.drain="no" is invalid: expected one of quick, gentle
  replicaRegions must not contain the home region eu-west-1
  relay.tasks=1 is invalid: expected at least 3 in production
  relay.certificates has no certificate for eu-west-1: keys and flags must be encrypted in transit`,
  );
});

test.each(['staging', undefined, 'constructor', '__proto__'])(
  'an unknown stage (%s) is refused with a message that lists the known ones',
  (name) => {
    expect(() => parseStage(name)).toThrow('is unknown: use -c stage=dev or prod');
  },
);

test.each(['shop-', 'shop--eu'])(
  'a stage %s has a name that ElastiCache does not accept of its cache, and may be without one',
  (name) => {
    expect(messageOf({}, name)).toBe('accepted');
    expect(messageOf({ redis: { url: 'rediss://cache.example.com:6380' } }, name)).toBe('accepted');
    expect(messageOf({ redis: { serverless: {} } }, name)).toContain('redis.serverless is refused by ElastiCache');
    expect(messageOf({ redis: { serverless: {} } }, 'shop-eu')).toBe('accepted');
  },
);

test('a stage name that is invalid in resource names is refused', () => {
  expect(messageOf({}, 'Prod_1')).toContain('its name must be 1 to 24 characters from a-z 0-9 -');
});

describe('cdk.json', () => {
  test('overrides a stage file property by property', () => {
    const stage = parseStage('prod', stages, { prod: { relay: { tasks: 5 }, alarms: { emails: ['a@example.com'] } } });
    expect(stage.relay).toMatchObject({ tasks: 5, certificates: stages.prod!.relay!.certificates });
    expect(stage.alarms).toMatchObject({ emails: ['a@example.com'], pageEmails: ['a@example.com'] });
  });

  test('can define a new stage', () => {
    const context = { test: { ...good, production: false, homeRegion: 'eu-north-1', relay: undefined } };
    expect(parseStage('test', stages, context)).toMatchObject({ name: 'test', homeRegion: 'eu-north-1' });
  });

  test.each<[unknown, string]>([
    ['prod', '"stages" in cdk.json must be an object that maps names to stages'],
    [{ prod: 'large' }, 'stage prod: "large" is invalid: expected an object'],
    [{ prod: { relay: { tasks: '5' } } }, 'stage prod: relay.tasks="5" is invalid: expected an integer'],
  ])('is validated: %j', (context, message) => {
    expect(() => parseStage('prod', stages, context)).toThrow(message);
  });
});

describe('a stage with defaults', () => {
  test('gets three tasks the size of an m4.xlarge in production, and small ones elsewhere', () => {
    expect(parseStage('prod').relay).toMatchObject({ tasks: 3, cpu: 4096, memoryMiB: 16_384, architecture: 'arm64' });
    expect(parseStage('dev').relay).toMatchObject({ tasks: 3, cpu: 256, memoryMiB: 1_024 });
  });

  test('is provisioned for twice the expected streams', () => {
    const tasks = (settings: RelaySettings) => parseStage('x', { x: { ...good, ...relay(settings) } }).relay.tasks;
    expect(tasks({ expectedStreams: 7_500 })).toBe(3);
    expect(tasks({ expectedStreams: 7_501 })).toBe(4);
    expect(tasks({ expectedStreams: 100_000, streamsPerTask: 20_000 })).toBe(10);
  });

  test('gets three zones that its region offers, or two where it has no more, in production too', () => {
    const zones = (homeRegion: string) => {
      const settings = {
        relay: { certificates: { [homeRegion]: arn(homeRegion) } },
        replicaRegions: [],
        edge: undefined,
      };
      return parseStage('x', { x: { ...good, ...settings, homeRegion } }).networks[homeRegion]?.zones;
    };
    expect(zones('us-west-1')).toEqual(['us-west-1a', 'us-west-1c']);
    expect(zones('eu-west-1')).toEqual(['eu-west-1a', 'eu-west-1b', 'eu-west-1c']);
    expect(zones('ap-northeast-1')).toEqual(['ap-northeast-1a', 'ap-northeast-1c', 'ap-northeast-1d']);
    expect(zones('cn-north-1')).toEqual(['cn-north-1a', 'cn-north-1b', 'cn-north-1d']);
  });
});
