import type {
  BucketOrigin,
  CustomOrigin,
  Origin,
  PreviewSettings,
  ShadowSettings,
} from '../../lambda/edge-router/config.ts';
import { blockOf, rangeOf } from './address-range.ts';
import type {
  BehaviorSettings,
  CacheKeySettings,
  ExposureSettings,
  FallbackSettings,
  ForwardSettings,
  PathBehaviorSettings,
} from './edge-settings.ts';
import { settableObjective, settableThresholds, type Thresholds } from './observability/thresholds.ts';
import { EDGE_REGION, REGION } from './regions.ts';
import { RELAY_PORT } from './relay-contract.ts';
import { boolean, group, integer, isRecord, list, mapOf, number, oneOf, type Read, text } from './stage-readers.ts';
import type {
  AgentSettings,
  AlarmSettings,
  DatadogSettings,
  EdgeSettings,
  EventsSpoolSettings,
  ExistingFileSystem,
  ExistingVpc,
  HostedZoneSettings,
  NetworkSettings,
  OtelSettings,
  PrometheusSettings,
  PublicAccessSettings,
  RedisSettings,
  RelaySettings,
  StageSettings,
} from './stage-settings.ts';

const region = text(REGION, 'a region, such as eu-west-1');
const regions = list(region, 'a list of regions');
const zone = text(/^[a-z]{2}(-[a-z]+)+-\d[a-z]$/, 'an availability zone, such as eu-west-1a');
const cidr: Read<string> = (value, at, problems) => {
  const range = typeof value === 'string' ? rangeOf(value) : undefined;
  if (!range) return problems.mustBe(at, value, 'a CIDR block, such as 10.0.0.0/16');
  // EC2 would take the block of the address, which two rules of a security group may then have in common.
  const block = blockOf(range);
  return value === block ? block : problems.mustBe(at, value, `${block}, the block of that address`);
};
const certificateArn = text(/^arn:aws[\w-]*:acm:[a-z\d-]+:\d{12}:certificate\/[\da-f-]{36}$/, 'an ACM certificate ARN');
const certificates = mapOf(REGION, certificateArn, 'a map of regions to ACM certificate ARNs');
const email = text(/^[^\s@]+@[^\s@]+\.[^\s@]+$/, 'an e-mail address');
const emails = list(email, 'a list of e-mail addresses');
const topics = list(
  text(/^arn:aws[\w-]*:sns:[a-z\d-]+:\d{12}:[\w-]{1,256}$/, 'the ARN of an SNS topic that is not FIFO'),
  'a list of ARNs of SNS topics',
);
const subnet = text(/^subnet-([\da-f]{8}|[\da-f]{17})$/, 'a subnet ID');
const subnets = list(subnet, 'a list of subnet IDs');
/** Environment variable names, as ld-relay and this relay read them. */
const VARIABLE = /^[A-Z][A-Z0-9_]*$/;
/** RFC 1035: labels of at most 63 characters, 253 in all. */
const NAME = '(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\\.)+(?:[a-z]{2,63}|xn--[a-z0-9-]{0,58}[a-z0-9])$';
const plainHostName = text(new RegExp(`^(?=.{1,253}$)${NAME}`), 'a lower-case host name');
const hostName = text(new RegExp(`^(?=.{1,253}$)(?:\\*\\.)?${NAME}`), 'a lower-case host name');

const hostedZone = group<HostedZoneSettings>(
  {
    id: text(/^Z[A-Z\d]{5,31}$/, 'the ID of a hosted zone, such as Z0123456789ABCDEFGHIJ'),
    name: text(new RegExp(`^(?=.{1,253}$)${NAME}`), 'a lower-case domain name without a dot at its end'),
    private: boolean,
  },
  ['id', 'name'],
);

const vpc = group<ExistingVpc>(
  {
    vpcId: text(/^vpc-([\da-f]{8}|[\da-f]{17})$/, 'a VPC ID'),
    cidr,
    zones: list(zone, 'a list of availability zones'),
    privateSubnetIds: subnets,
    publicSubnetIds: subnets,
  },
  ['vpcId', 'cidr', 'zones', 'privateSubnetIds'],
);

const network = group<NetworkSettings>({
  vpc,
  cidr,
  zones: list(zone, 'a list of availability zones'),
  nat: oneOf('per-zone', 'one', 'none'),
});

const publicAccess = group<PublicAccessSettings>({
  hostName: plainHostName,
  hostedZone,
  certificates,
  // AWS WAF: a rate-based rule's limit.
  requestsPerFiveMinutes: integer(10, 2_000_000_000),
  paths: list(text(/^\/[\w\-.$/~"'@:+&*?]{0,127}$/, 'a load balancer path pattern'), 'a list of path patterns'),
});

const encryptionKeys = mapOf(
  REGION,
  text(/^arn:aws[\w-]*:kms:[a-z\d-]+:\d{12}:key\/[\w-]{1,64}$/, 'a KMS key ARN'),
  'a map of regions to KMS key ARNs',
);

export const metricsPort: Read<number> = (value, at, problems) =>
  value === RELAY_PORT
    ? problems.mustBe(at, value, `another port than ${RELAY_PORT}, on which the relay serves SDKs`)
    : integer(1_024, 65_535)(value, at, problems);

/** The message omits the value, which may be the secret itself. */
const secretSource: Read<string> = (value, at, problems) =>
  typeof value === 'string' && SECRET_SOURCES.some((pattern) => pattern.test(value))
    ? value
    : problems.say(
        at,
        `${at} is invalid: expected the name of an SSM parameter, such as /mine/redis-password, or the ARN of a secret`,
      );
const SECRET_SOURCES = [
  /^\/[\w./-]{1,1010}$/,
  /^arn:aws[\w-]*:secretsmanager:[a-z\d-]+:\d{12}:secret:[\w/+=.@-]+-[A-Za-z\d]{6}(:[\w.-]+)?$/,
];

/** As `secretSource`. */
const secretSources =
  (name: RegExp, wanted: string): Read<Readonly<Record<string, string>>> =>
  (value, at, problems) =>
    isRecord(value)
      ? mapOf(name, secretSource, wanted)(value, at, problems)
      : problems.say(at, `${at} is invalid: expected ${wanted}`);

const image = text(
  /^[a-z0-9][\w.-]*(:\d+)?(\/[\w.-]+)*(?=[:@])(:[\w.-]+)?(@sha256:[\da-f]{64})?$/,
  'an image URI with a tag, a digest, or both',
);
const agentContainer = { image, memoryMiB: integer(64, 16_384, 'MiB') };
const datadog = group<{ datadog: DatadogSettings }>(
  {
    datadog: group<DatadogSettings>(
      {
        ...agentContainer,
        apiKey: secretSource,
        site: text(/^([a-z\d-]+\.)+[a-z]{2,}$/, 'a Datadog site, such as datadoghq.eu'),
        tags: list(text(/^[a-z][^\s,]{0,199}$/i, 'a tag, such as team:platform'), 'a list of tags'),
      },
      ['apiKey'],
    ),
  },
  ['datadog'],
);
const otelSettings = group<OtelSettings>({
  ...agentContainer,
  // The collector expands $.
  endpoint: text(/^https?:\/\/[^\s/@$]+(\/[^\s$]*)?$/, 'an address, such as https://otlp.example.com'),
  headers: secretSources(/^[A-Za-z][A-Za-z\d-]{0,63}$/, 'a map of header names to SSM parameter names'),
  config: text(/^[^\0]{1,32768}$/, 'the text of a collector configuration'),
  secrets: secretSources(VARIABLE, 'a map of variables to SSM parameter names'),
});
const otel = group<{ otel: OtelSettings }>(
  {
    otel: (value, at, problems) => {
      const read = otelSettings(value, at, problems);
      if (read && (read.endpoint === undefined) === (read.config === undefined)) {
        problems.say(at, `${at} needs either endpoint or config`);
      }
      return read;
    },
  },
  ['otel'],
);
const agent: Read<AgentSettings> = (value, at, problems) => {
  if (isRecord(value) && 'datadog' in value) return datadog(value, at, problems);
  if (isRecord(value) && 'otel' in value) return otel(value, at, problems);
  // Its values may be secrets of an agent whose name is misspelt.
  const given = isRecord(value) ? `{${Object.keys(value).join()}}` : value;
  return problems.mustBe(at, given, '{ datadog: … } or { otel: … }');
};

const idOf = (prefix: string, wanted: string) => text(new RegExp(`^${prefix}-([\\da-f]{8}|[\\da-f]{17})$`), wanted);
/** EVENTS_SPOOL_MAX_BYTES is at least 8 MiB. */
export const spoolMiB = integer(8, 1_048_576, 'MiB');
const eventsSpool = group<EventsSpoolSettings>({
  maxMiB: spoolMiB,
  existing: mapOf(
    REGION,
    group<ExistingFileSystem>(
      {
        fileSystemId: idOf('fs', 'the ID of a file system, such as fs-0123456789abcdef0'),
        accessPointId: idOf('fsap', 'the ID of an access point, such as fsap-0123456789abcdef0'),
        securityGroupId: idOf('sg', 'the ID of a security group, such as sg-0123456789abcdef0'),
      },
      ['fileSystemId', 'accessPointId', 'securityGroupId'],
    ),
    'a map of regions to file systems',
  ),
});

/** What a `RelayService` takes as a stage file does. */
export const plainRelaySettings = {
  tasks: integer(1, 1_000),
  maxTasks: integer(1, 5_000),
  cpu: oneOf(256, 512, 1024, 2048, 4096, 8192, 16384, 32768),
  memoryMiB: integer(512, 249_856, 'MiB'),
  architecture: oneOf('arm64', 'x86_64'),
  loadBalancer: boolean,
  drain: oneOf('quick', 'gentle'),
  expectedStreams: integer(1, 50_000_000),
  streamsPerTask: integer(100, 100_000),
  cpuTargetPercent: integer(10, 90),
  reservedCapacityUnits: integer(100, 1_500),
  accessLogs: boolean,
  logLevel: oneOf('debug', 'info', 'warn', 'error'),
  variables: mapOf(VARIABLE, text(/^[^\r\n]{0,4096}$/, 'one line of text'), 'a map of settings to strings'),
  redeploy: text(/^[\w.:+-]{1,255}$/, '1 to 255 characters from a-z A-Z 0-9 _ - . : +'),
};

const relay = group<RelaySettings>({
  ...plainRelaySettings,
  image,
  hostName: plainHostName,
  hostedZone,
  certificates,
  allowedCidrs: list(cidr, 'a list of CIDR blocks'),
  heartbeatSeconds: integer(5, 120, 's'),
  idleTimeoutSeconds: integer(1, 4_000, 's'),
  healthCheckGraceSeconds: integer(0, 3_600, 's'),
  publicAccess,
  prometheus: group<PrometheusSettings>({
    port: metricsPort,
    allowedCidrs: list(cidr, 'a list of CIDR blocks'),
    namespace: plainHostName,
  }),
  agent,
  eventsSpool,
  secrets: secretSources(VARIABLE, 'a map of settings to SSM parameter names'),
  encryptionKeys,
});

const serverless = group<Extract<RedisSettings, { serverless: unknown }>>(
  {
    serverless: group<{ maxStorageGb?: number; maxEcpuPerSecond?: number }>({
      maxStorageGb: integer(1, 5_000, 'GB'),
      maxEcpuPerSecond: integer(1_000, 15_000_000),
    }),
  },
  ['serverless'],
);
const endpoint = group<Extract<RedisSettings, { url: string }>>(
  {
    url: text(/^rediss?:\/\/[^\s/@]+(:\d+)?(\/\d+)?$/, 'a redis:// or rediss:// URL with a host and no password'),
    cluster: boolean,
  },
  ['url'],
);
const redis: Read<RedisSettings> = (value, at, problems) =>
  isRecord(value) && 'url' in value ? endpoint(value, at, problems) : serverless(value, at, problems);

// The values of origins and behaviors are checked by check-edge.ts, which tests them for your own CDK apps, too.
const anyText: Read<string> = (value, at, problems) =>
  typeof value === 'string' ? value : problems.mustBe(at, value, 'a string');
const anyNumber: Read<number> = (value, at, problems) =>
  typeof value === 'number' ? value : problems.mustBe(at, value, 'a number');
const anyTexts = list(anyText, 'a list of strings');
const customOrigin = group<CustomOrigin>(
  {
    domainName: anyText,
    protocol: oneOf('http', 'https'),
    port: anyNumber,
    path: anyText,
    readTimeoutSeconds: anyNumber,
    keepaliveTimeoutSeconds: anyNumber,
    connectionAttempts: anyNumber,
    connectionTimeoutSeconds: anyNumber,
    host: anyText,
    viewerHost: boolean,
    headers: mapOf(/^/, anyText, 'a map of header names to values'),
    fallback: anyText,
  },
  ['domainName'],
);
const bucketOrigin = group<BucketOrigin>({ bucket: anyText, region, path: anyText }, ['bucket', 'region']);
const origin: Read<Origin> = (value, at, problems) =>
  isRecord(value) && 'bucket' in value ? bucketOrigin(value, at, problems) : customOrigin(value, at, problems);

const selection: Read<'all' | 'none' | readonly string[]> = (value, at, problems) =>
  Array.isArray(value) ? anyTexts(value, at, problems) : oneOf('all', 'none')(value, at, problems);

const behavior = {
  origin: anyText,
  fallback: group<FallbackSettings>({ origin: anyText, statusCodes: list(anyNumber, 'a list of status codes') }, [
    'origin',
  ]),
  caching: either(
    oneOf('origin', 'none'),
    group<{ defaultSeconds: number; maxSeconds?: number }>({ defaultSeconds: anyNumber, maxSeconds: anyNumber }, [
      'defaultSeconds',
    ]),
  ),
  cacheKey: group<CacheKeySettings>({ headers: anyTexts, cookies: anyTexts, queryStrings: selection }),
  forward: either(
    oneOf('all-but-host', 'all', 'none'),
    group<ForwardSettings>({ headers: anyTexts, cookies: selection, queryStrings: selection }),
  ),
  methods: oneOf('read', 'read-and-options', 'all'),
  compress: boolean,
  viewerProtocol: oneOf('redirect-to-https', 'https-only', 'allow-all'),
} as const;

/** One of some words, or an object. */
function either<Word extends string, T extends object>(word: Read<Word>, object: Read<T>): Read<Word | T> {
  return (value, at, problems) => (isRecord(value) ? object(value, at, problems) : word(value, at, problems));
}

/** What lambda/edge-router/check-config.ts checks as a whole. */
function whole<T>(is: (value: unknown) => boolean, wanted: string): Read<T> {
  return (value, at, problems) => (is(value) ? (value as T) : problems.mustBe(at, value, wanted));
}

const checked = text(/^(\/|https:\/\/[a-z\d.-]+\/)[!-~]{0,1000}$/, 'a path, an https address with a path, or false');

const edge = group<EdgeSettings>(
  {
    prefix: text(/^[\w.-]{0,200}$/, 'an environment prefix in the flag table'),
    flagKey: anyText,
    origins: mapOf(/^/, origin, 'a map of variants to origins'),
    otherOrigins: mapOf(/^[\w-]{1,64}$/, origin, 'a map of names (a-z A-Z 0-9 _ -) to origins'),
    behavior: group<BehaviorSettings>(behavior),
    behaviors: list(group<PathBehaviorSettings>({ path: anyText, ...behavior }, ['path']), 'a list of behaviors'),
    defaultRootObject: anyText,
    distributionId: anyText,
    defaultVariant: anyText,
    variantHeader: anyText,
    bootstrapFile: anyText,
    cookieName: anyText,
    cookieMaxAgeSeconds: anyNumber,
    cookieDomain: anyText,
    cookiePath: anyText,
    cookieSameSite: oneOf('Lax', 'Strict', 'None'),
    cookieHttpOnly: boolean,
    cookieSecure: boolean,
    viewer: whole(isRecord, 'an object'),
    rules: whole(Array.isArray, 'a list of rules'),
    attributes: whole(isRecord, 'an object of places by attribute'),
    contexts: whole(isRecord, 'an object of contexts by kind'),
    // Checked by check-config.ts as a whole.
    preview: group<PreviewSettings>({ publicKeys: anyTexts, maxHours: anyNumber }, ['publicKeys']),
    heartbeatFlag: anyText,
    shadow: group<ShadowSettings>({ header: anyText, value: anyText }, ['header', 'value']),
    reader: group<NonNullable<EdgeSettings['reader']>>({
      refreshMs: integer(1_000, 3_600_000, 'ms'),
      maxWaitMs: integer(0, 5_000, 'ms'),
      coldDeadlineMs: integer(1, 5_000, 'ms'),
      bigSegments: boolean,
    }),
    domainNames: list(hostName, 'a list of host names'),
    certificateArn,
    hostedZone,
    priceClass: oneOf('100', '200', 'all'),
    webAclArn: text(
      new RegExp(`^arn:aws:wafv2:${EDGE_REGION}:\\d{12}:global/webacl/[\\w-]+/[\\da-f-]{36}$`),
      `the ARN of a web ACL with CloudFront scope (global, ${EDGE_REGION})`,
    ),
    logRegions: (value, ...at) => (value === 'all' ? 'all' : regions(value, ...at)),
    check: (value, ...at) => (value === false ? false : checked(value, ...at)),
    exposures: group<ExposureSettings>(
      {
        environment: anyText,
        everyMs: anyNumber,
        indexEvents: boolean,
        privateAttributes: anyTexts,
        allAttributesPrivate: boolean,
      },
      ['environment'],
    ),
  },
  ['prefix', 'origins', 'defaultVariant'],
);

const alarms = group<AlarmSettings>({
  emails,
  pageEmails: emails,
  topics,
  pageTopics: topics,
  runbooks: text(/^https:\/\/[^\s#]{1,500}$/, 'an https address without an anchor'),
  thresholds: group<Thresholds>(
    Object.fromEntries(
      Object.entries(settableThresholds).map(([name, { unit, from, to }]) => [name, number(from, to, unit)]),
    ) as { readonly [Name in keyof Thresholds]-?: Read<number> },
  ),
  // Below 90 % there is nothing to page about; at 100 % there is no budget.
  availabilityPercent: number(settableObjective.from, settableObjective.to, '%'),
});

// CloudWatch Logs: PutRetentionPolicy.
const RETENTION_DAYS = [
  1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
];

export const readSettings = group<StageSettings>(
  {
    account: text(/^\d{12}$/, 'twelve digits, as a string'),
    homeRegion: region,
    replicaRegions: regions,
    // AWS: DynamoDB table names.
    tableName: text(/^[\w.-]{3,255}$/, '3 to 255 characters from a-z A-Z 0-9 _ - .'),
    table: oneOf('new', 'existing'),
    production: boolean,
    protected: boolean,
    environments: list(
      text(/^[\w.-]{1,64}$/, 'an environment name: 1 to 64 characters from a-z A-Z 0-9 _ - .'),
      'a list of names',
    ),
    relayRegions: regions,
    networks: mapOf(REGION, network, 'a map of regions to networks'),
    relay,
    encryptionKeys,
    redis,
    edge,
    readerLayer: boolean,
    alarms,
    logRetentionDays: oneOf(...RETENTION_DAYS),
    tags: mapOf(
      /^(?!aws:)[\w\s.:/=+@-]{1,128}$/i,
      text(/^[\w\s.:/=+@-]{0,256}$/, 'a tag value'),
      'a map of tag names to values',
    ),
  },
  ['homeRegion', 'replicaRegions', 'tableName', 'production'],
);
