/**
 * The questions that `npm run preflight` and `npm run verify` put to AWS, on 127.0.0.1 and a free port for all services and regions: the
 * Query protocol's XML, JSON 1.1 and three REST services, with shapes and errors as in AWS's API references. SSM and DynamoDB have servers
 * of their own.
 */
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';

interface FakeStack {
  readonly region: string;
  status?: string;
  reason?: string;
  isProtected?: boolean;
  outputs?: Readonly<Record<string, string>>;
  /** `[logical ID, type, physical ID]`. */
  resources?: readonly (readonly [string, string, string])[];
  template?: unknown;
}

export interface FakeTopic {
  /** `Policy`, `KmsMasterKeyId`. */
  readonly attributes?: Readonly<Record<string, string>>;
  /** An endpoint, and its subscription's ARN or `PendingConfirmation`. */
  readonly subscriptions: readonly (readonly [string, string])[];
}

interface FakeAlarm {
  readonly region: string;
  readonly state: string;
  readonly reason?: string;
  readonly description?: string;
}

export interface FakeRecord {
  readonly name: string;
  readonly type: string;
  readonly region?: string;
  readonly setIdentifier?: string;
  /** What an alias leads to. */
  readonly target?: string;
}

/** What there is; tests change it. */
interface FakeAccount {
  account: string;
  /** By name. */
  stacks: Record<string, FakeStack>;
  /** `region name`. */
  functions: string[];
  clusters: string[];
  /** `region name`, and the retention in days. */
  logGroups: Record<string, number | undefined>;
  /** By ARN. */
  topics: Record<string, FakeTopic>;
  certificates: Record<string, object>;
  /** By ARN: secrets of Secrets Manager, KMS keys; by repository and tag or digest: images. */
  secrets: Record<string, object>;
  keys: Record<string, object>;
  images: string[];
  /** By the ID of an access point: its file system, whose mount targets are in a VPC, in these zones. */
  accessPoints: Record<
    string,
    { readonly fileSystem: string; readonly vpc: string; readonly zones: readonly string[] }
  >;
  /** By `repository tag`, the text of the manifest; else that of an index for arm64. By digest: the address of a layer. */
  manifests: Record<string, string>;
  layers: Record<string, string>;
  /** By the ARN of a key; else one that allows everybody everything. */
  keyPolicies: Record<string, object>;
  /** By ID. */
  zones: Record<string, { name: string; isPrivate?: boolean; records?: FakeRecord[] }>;
  /** By code. */
  quotas: Record<string, number>;
  addresses: number;
  /** Letters of the zones that every region has. */
  zoneLetters: string;
  /** By ID. */
  vpcs: Record<string, { readonly cidr: string; readonly subnets?: Readonly<Record<string, string>> }>;
  /** By name. */
  alarms: Record<string, FakeAlarm>;
  /** By ARN. */
  services: Record<string, object>;
  /** Health states by the ARN of a target group. */
  targets: Record<string, readonly string[]>;
  /** By `namespace name`, or `region namespace name`: Unix ms and value, newest first. */
  metrics: Record<string, readonly (readonly [number, number])[]>;
  /** Operations that answer AccessDenied. */
  denied: string[];
  /** `region Operation`: answer InternalFailure. */
  broken: string[];
  /** The next so many requests get 503. */
  failures: number;
  /** Instead of AWS, with status 200: a login page, for example. */
  instead: string | undefined;
}

export interface FakeAws extends FakeAccount {
  readonly endpoint: string;
  /** `region Operation`, oldest first. */
  readonly asked: string[];
  close(): Promise<void>;
}

type Answer = { status?: number; type?: string; errorType?: string; body: string };

class AwsError extends Error {
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

export async function startFakeAws(): Promise<FakeAws> {
  const asked: string[] = [];
  const state: FakeAccount = {
    ...{
      account: '123456789012',
      stacks: {},
      functions: [],
      clusters: [],
      logGroups: {},
      topics: {},
      certificates: {},
      secrets: {},
      keys: {},
      images: [],
      accessPoints: {},
      manifests: {},
      layers: {},
      keyPolicies: {},
    },
    ...{
      zones: {},
      quotas: {},
      addresses: 0,
      zoneLetters: 'abc',
      vpcs: {},
      alarms: {},
      services: {},
      targets: {},
      metrics: {},
      denied: [],
      broken: [],
      failures: 0,
      instead: undefined,
    },
  };
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    const { status = 200, type = 'text/xml', errorType, body: text } = answer(fake, request, body);
    response.writeHead(status, { 'content-type': type, ...(errorType && { 'x-amzn-ErrorType': errorType }) }).end(text);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const fake: FakeAws = Object.assign(state, {
    asked,
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  });
  return fake;
}

function answer(fake: FakeAws, request: IncomingMessage, body: string): Answer {
  const place = /Credential=[^/]+\/\d+\/([\w-]+)\//.exec(request.headers.authorization ?? '')?.[1] ?? '';
  const target = request.headers['x-amz-target'];
  const input = new URLSearchParams(body);
  const operation =
    typeof target === 'string' ? target.split('.')[1]! : (input.get('Action') ?? restOperation(request.url ?? ''));
  fake.asked.push(`${place} ${operation}`);
  const isJson = typeof target === 'string';
  if (fake.instead !== undefined) return { type: 'text/html', body: fake.instead };
  try {
    if (fake.failures > 0) {
      fake.failures -= 1;
      return { status: 503, body: '<ErrorResponse><Error><Code>ServiceUnavailable</Code></Error></ErrorResponse>' };
    }
    if (fake.denied.includes(operation)) throw new AwsError('AccessDenied', `not authorized to perform ${operation}`);
    if (fake.broken.includes(`${place} ${operation}`)) throw new AwsError('InternalFailure', 'something broke');
    if (isJson) {
      const found = jsonAnswers[operation]?.(fake, place, JSON.parse(body));
      return { type: 'application/x-amz-json-1.1', body: JSON.stringify(found ?? unknownOperation(operation)) };
    }
    if (request.method === 'GET') return restAnswer(fake, place, request.url ?? '');
    const found = queryAnswers[operation]?.(fake, place, input) ?? unknownOperation(operation);
    return { body: `<?xml version="1.0"?>\n<${operation}Response xmlns="http://aws">${found}</${operation}Response>` };
  } catch (error) {
    if (!(error instanceof AwsError)) throw error;
    const { code, message } = error;
    if (isJson)
      return { status: 400, type: 'application/x-amz-json-1.1', body: JSON.stringify({ __type: code, message }) };
    if (/^Describe(AccessPoints|MountTargets)$/.test(operation)) {
      return { status: 404, type: 'application/json', body: JSON.stringify({ ErrorCode: code, Message: message }) };
    }
    if (operation === 'GetFunctionConfiguration') {
      const text = JSON.stringify({ Type: 'User', Message: message });
      return { status: 404, type: 'application/json', body: text, errorType: code };
    }
    const text = `<Error><Code>${code}</Code><Message>${escaped(message)}</Message></Error>`;
    return {
      status: 400,
      body:
        operation === 'DescribeAddresses'
          ? `<Response><Errors>${text}</Errors></Response>`
          : `<ErrorResponse>${text}</ErrorResponse>`,
    };
  }
}

function restOperation(url: string): string {
  if (url.includes('/access-points')) return 'DescribeAccessPoints';
  if (url.includes('/mount-targets')) return 'DescribeMountTargets';
  if (url.includes('/functions/')) return 'GetFunctionConfiguration';
  return url.includes('/rrset') ? 'ListResourceRecordSets' : 'GetHostedZone';
}

function unknownOperation(operation: string): never {
  throw new AwsError('InvalidAction', `the fake has no ${operation}`);
}

const escaped = (text: string) => text.replace(/&/g, '&amp;').replace(/</g, '&lt;');
const element = (name: string, content: string | undefined) =>
  content === undefined ? '' : `<${name}>${content}</${name}>`;
const text = (name: string, content: string | undefined) =>
  element(name, content === undefined ? undefined : escaped(content));
const members = (all: readonly string[]) => all.map((one) => element('member', one)).join('');
const result = (operation: string, content: string) => element(`${operation}Result`, content);

function stackOf(fake: FakeAws, place: string, name: string | null): FakeStack {
  const stack = fake.stacks[name ?? ''];
  if (stack?.region !== place) throw new AwsError('ValidationError', `Stack with id ${name} does not exist`);
  return stack;
}

/** Pages of two, so that every listing is continued. */
function page<T>(all: readonly T[], token: string | null): { some: readonly T[]; next: string | undefined } {
  const start = Number(token ?? 0);
  return { some: all.slice(start, start + 2), next: start + 2 < all.length ? String(start + 2) : undefined };
}

const queryAnswers: Record<string, (fake: FakeAws, place: string, input: URLSearchParams) => string> = {
  GetCallerIdentity: ({ account }) => result('GetCallerIdentity', text('Account', account)),
  DescribeStacks(fake, place, input) {
    const name = input.get('StackName');
    const { status = 'CREATE_COMPLETE', reason, isProtected = false, outputs = {} } = stackOf(fake, place, name);
    const pairs = Object.entries(outputs).map(([key, value]) => text('OutputKey', key) + text('OutputValue', value));
    const stack = [
      ...[text('StackName', name ?? ''), text('StackStatus', status), text('StackStatusReason', reason)],
      ...[text('EnableTerminationProtection', String(isProtected)), element('Outputs', members(pairs))],
    ];
    return result('DescribeStacks', element('Stacks', members([stack.join('')])));
  },
  ListStackResources(fake, place, input) {
    const { resources = [] } = stackOf(fake, place, input.get('StackName'));
    const { some, next } = page(resources, input.get('NextToken'));
    const summaries = some.map(
      ([logicalId, type, id]) =>
        text('LogicalResourceId', logicalId) +
        text('ResourceType', type) +
        text('PhysicalResourceId', id) +
        text('ResourceStatus', 'CREATE_COMPLETE'),
    );
    return result(
      'ListStackResources',
      element('StackResourceSummaries', members(summaries)) + text('NextToken', next),
    );
  },
  DescribeStackResources({ stacks }, place, input) {
    const id = input.get('PhysicalResourceId');
    const [owner] =
      Object.entries(stacks).find(
        ([, { region, resources = [] }]) => region === place && resources.some(([, , one]) => one === id),
      ) ?? [];
    if (owner === undefined) throw new AwsError('ValidationError', `Stack for ${id} does not exist`);
    return result('DescribeStackResources', element('StackResources', members([text('StackName', owner)])));
  },
  ListStacks({ stacks }, place, input) {
    const statuses = new Set(input.values());
    const there = Object.entries(stacks).filter(
      ([, { region, status = 'CREATE_COMPLETE' }]) => region === place && statuses.has(status),
    );
    const { some, next } = page(there, input.get('NextToken'));
    const summaries = some.map(
      ([name, { status = 'CREATE_COMPLETE' }]) => text('StackName', name) + text('StackStatus', status),
    );
    return result('ListStacks', element('StackSummaries', members(summaries)) + text('NextToken', next));
  },
  GetTemplate(fake, place, input) {
    const { template = {} } = stackOf(fake, place, input.get('StackName'));
    return result('GetTemplate', text('TemplateBody', JSON.stringify(template)));
  },
  GetTopicAttributes({ topics }, _, input) {
    const topic = topics[input.get('TopicArn') ?? ''];
    if (!topic) throw new AwsError('NotFound', 'Topic does not exist');
    const attributes = Object.entries({ Policy: JSON.stringify(everything), ...topic.attributes });
    const entries = attributes.map(([key, value]) => element('entry', text('key', key) + text('value', value)));
    return result('GetTopicAttributes', element('Attributes', entries.join('')));
  },
  ListSubscriptionsByTopic({ topics }, _, input) {
    const topic = topics[input.get('TopicArn') ?? ''];
    if (!topic) throw new AwsError('NotFound', 'Topic does not exist');
    const all = topic.subscriptions.map(([endpoint, arn]) => text('Endpoint', endpoint) + text('SubscriptionArn', arn));
    return result('ListSubscriptionsByTopic', element('Subscriptions', members(all)));
  },
  DescribeAddresses: ({ addresses }) =>
    element(
      'addressesSet',
      Array.from({ length: addresses }, () => element('item', text('publicIp', '192.0.2.1'))).join(''),
    ),
  DescribeAvailabilityZones: ({ zoneLetters }, place) =>
    element(
      'availabilityZoneInfo',
      [...zoneLetters].map((letter) => element('item', text('zoneName', `${place}${letter}`))).join(''),
    ),
  DescribeVpcs: ({ vpcs }) =>
    element(
      'vpcSet',
      Object.entries(vpcs)
        .map(([id, { cidr }]) => element('item', text('vpcId', id) + text('cidrBlock', cidr)))
        .join(''),
    ),
  DescribeSubnets: ({ vpcs }, _, input) =>
    element(
      'subnetSet',
      Object.entries(vpcs[input.get('Filter.1.Value.1') ?? '']?.subnets ?? {})
        .map(([id, zone]) => element('item', text('subnetId', id) + text('availabilityZone', zone)))
        .join(''),
    ),
  DescribeAlarms({ alarms }, place, input) {
    const names = [...input].filter(([key]) => /^AlarmNames\.member\.\d+$/.test(key)).map(([, name]) => name);
    const rows = names.flatMap((name) => {
      const alarm = alarms[name];
      return alarm?.region === place
        ? [
            text('AlarmName', name) +
              text('StateValue', alarm.state) +
              text('StateReason', alarm.reason) +
              text('AlarmDescription', alarm.description),
          ]
        : [];
    });
    return result('DescribeAlarms', element('MetricAlarms', members(rows)) + element('CompositeAlarms', ''));
  },
  GetMetricData({ metrics }, place, input) {
    const rows: string[] = [];
    for (let index = 1; input.has(`MetricDataQueries.member.${index}.Id`); index += 1) {
      const query = `MetricDataQueries.member.${index}`;
      const metric = `${query}.MetricStat.Metric`;
      const name = `${input.get(`${metric}.Namespace`)} ${input.get(`${metric}.MetricName`)}`;
      const points = metrics[`${place} ${name}`] ?? metrics[name] ?? [];
      rows.push(
        text('Id', input.get(`${query}.Id`) ?? '') +
          element('Timestamps', members(points.map(([at]) => new Date(at).toISOString()))) +
          element('Values', members(points.map(([, value]) => String(value)))),
      );
    }
    return result('GetMetricData', element('MetricDataResults', members(rows)));
  },
  DescribeTargetHealth({ targets }, _, input) {
    const states = targets[input.get('TargetGroupArn') ?? ''];
    if (!states) throw new AwsError('TargetGroupNotFound', 'One or more target groups not found');
    const rows = states.map(
      (state, index) =>
        element('Target', text('Id', `10.0.0.${index + 1}`)) +
        element(
          'TargetHealth',
          text('State', state) + (state === 'healthy' ? '' : text('Reason', 'Target.ResponseCodeMismatch')),
        ),
    );
    return result('DescribeTargetHealth', element('TargetHealthDescriptions', members(rows)));
  },
};

const everything = { Statement: [{ Effect: 'Allow', Principal: '*', Action: '*' }] };

type Input = Record<string, unknown>;

const jsonAnswers: Record<string, (fake: FakeAws, place: string, input: Input) => object> = {
  DescribeCertificate({ certificates }, _, { CertificateArn }) {
    const Certificate = certificates[String(CertificateArn)];
    if (!Certificate) throw new AwsError('ResourceNotFoundException', 'Could not find certificate');
    return { Certificate };
  },
  DescribeSecret({ secrets }, _, { SecretId }) {
    const secret = secrets[String(SecretId)];
    if (!secret) throw new AwsError('ResourceNotFoundException', 'Secrets Manager can’t find the specified secret.');
    return secret;
  },
  DescribeKey({ keys }, _, { KeyId }) {
    const KeyMetadata = keys[String(KeyId)];
    if (!KeyMetadata) throw new AwsError('NotFoundException', `Key '${KeyId}' does not exist`);
    return { KeyMetadata: { Arn: KeyId, ...KeyMetadata } };
  },
  GetKeyPolicy: ({ keyPolicies }, _, { KeyId }) => ({
    Policy: JSON.stringify(keyPolicies[String(KeyId)] ?? everything),
  }),
  GetSecretValue({ secrets }, _, { SecretId }) {
    return { SecretString: (secrets[String(SecretId)] as { value?: string }).value };
  },
  BatchGetImage({ manifests }, _, { repositoryName, imageIds }) {
    const [{ imageTag, imageDigest } = {}] = imageIds as { imageTag?: string; imageDigest?: string }[];
    const arm = { manifests: [{ platform: { os: 'linux', architecture: 'arm64' } }] };
    return {
      images: [{ imageManifest: manifests[`${repositoryName} ${imageTag ?? imageDigest}`] ?? JSON.stringify(arm) }],
    };
  },
  GetDownloadUrlForLayer: ({ layers }, _, { layerDigest }) => ({ downloadUrl: layers[String(layerDigest)] }),
  DescribeImages({ images }, _, { repositoryName, imageIds }) {
    const [{ imageTag, imageDigest } = {}] = imageIds as { imageTag?: string; imageDigest?: string }[];
    if (!images.some((one) => one.startsWith(`${repositoryName} `)))
      throw new AwsError('RepositoryNotFoundException', `The repository ${repositoryName} does not exist`);
    if (!images.includes(`${repositoryName} ${imageTag ?? imageDigest}`))
      throw new AwsError('ImageNotFoundException', 'The image does not exist');
    return { imageDetails: [{}] };
  },
  DescribeLogGroups({ logGroups }, place, { logGroupNamePrefix }) {
    const all = Object.entries(logGroups).flatMap(([key, retentionInDays]) => {
      const [region, logGroupName = ''] = key.split(' ');
      return region === place && logGroupName.startsWith(String(logGroupNamePrefix))
        ? [{ logGroupName, retentionInDays }]
        : [];
    });
    return { logGroups: all };
  },
  DescribeClusters: ({ clusters }, place, input) => ({
    clusters: (input.clusters as string[]).flatMap((name) =>
      clusters.includes(`${place} ${name}`) ? [{ clusterName: name, status: 'ACTIVE' }] : [],
    ),
  }),
  DescribeServices: ({ services }, _, input) => ({
    services: (input.services as string[]).flatMap((arn) => (services[arn] ? [services[arn]] : [])),
  }),
  GetServiceQuota({ quotas }, _, { QuotaCode }) {
    const Value = quotas[String(QuotaCode)];
    if (Value === undefined) throw new AwsError('NoSuchResourceException', 'no such quota');
    return { Quota: { Value } };
  },
  GetAWSDefaultServiceQuota: (_, __, { QuotaCode }) => ({ Quota: { Value: QuotaCode === 'L-3032A538' ? 6 : 5 } }),
};

function fileSystemAnswer({ accessPoints }: FakeAws, { searchParams }: URL): Answer {
  const id = searchParams.get('AccessPointId');
  const LifeCycleState = 'available';
  if (id !== null) {
    const found = accessPoints[id];
    if (!found) throw new AwsError('AccessPointNotFound', `Access point '${id}' does not exist.`);
    const answer = { AccessPoints: [{ AccessPointId: id, FileSystemId: found.fileSystem, LifeCycleState }] };
    return { type: 'application/json', body: JSON.stringify(answer) };
  }
  const of = Object.values(accessPoints).find(({ fileSystem }) => fileSystem === searchParams.get('FileSystemId'));
  const targets = of?.zones.map((zone) => ({ AvailabilityZoneName: zone, VpcId: of.vpc, LifeCycleState })) ?? [];
  return { type: 'application/json', body: JSON.stringify({ MountTargets: targets }) };
}

function restAnswer(fake: FakeAws, place: string, url: string): Answer {
  const [, , , name = ''] = url.split('/');
  if (url.includes('/functions/')) {
    if (fake.functions.includes(`${place} ${name}`))
      return { type: 'application/json', body: JSON.stringify({ FunctionName: name }) };
    throw new AwsError('ResourceNotFoundException', `Function not found: ${name}`);
  }
  if (/\/(access-points|mount-targets)\?/.test(url)) return fileSystemAnswer(fake, new URL(url, fake.endpoint));
  const zone = fake.zones[name];
  if (!zone) throw new AwsError('NoSuchHostedZone', `No hosted zone found with ID: ${name}`);
  if (!url.includes('/rrset')) {
    const config = element('Config', text('PrivateZone', String(zone.isPrivate ?? false)));
    return { body: element('GetHostedZoneResponse', element('HostedZone', text('Name', `${zone.name}.`) + config)) };
  }
  // From a name on, in pages of two; AWS sorts by name and type.
  const query = new URL(url, fake.endpoint).searchParams;
  const keyOf = ({ name, type, setIdentifier = '' }: FakeRecord) =>
    `${name.replace('*', '\\052')} ${type} ${setIdentifier}`;
  const from = `${query.get('name')?.replace('*', '\\052')}. ${query.get('type') ?? ''} ${query.get('identifier') ?? ''}`;
  const all = [...(zone.records ?? [])].sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
  const [first, second, next] = all.filter((one) => keyOf(one) >= from.trimEnd());
  const records = [first, second].flatMap((one) =>
    one === undefined
      ? []
      : element(
          'ResourceRecordSet',
          text('Name', one.name.replace('*', '\\052')) +
            text('Type', one.type) +
            text('SetIdentifier', one.setIdentifier) +
            text('Region', one.region) +
            element('AliasTarget', text('DNSName', one.target)),
        ),
  );
  const rest = next
    ? text('NextRecordName', next.name.replace('*', '\\052')) +
      text('NextRecordType', next.type) +
      text('NextRecordIdentifier', next.setIdentifier)
    : '';
  const list = element('ResourceRecordSets', records.join('')) + text('IsTruncated', String(next !== undefined));
  return { body: element('ListResourceRecordSetsResponse', list + rest) };
}
