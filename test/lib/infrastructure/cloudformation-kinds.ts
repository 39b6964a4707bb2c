/**
 * What the simulation of CloudFormation knows of resource types: where a physical name stands, what it must be unique in, and when a
 * resource cannot be deleted.
 */

export type Properties = Readonly<Record<string, unknown>>;

/** A resource that exists in the simulated account. */
export interface Physical {
  readonly type: string;
  readonly region: string;
  /** What `Ref` gives. */
  readonly id: string;
  readonly properties: Properties;
  /** IDs of resources that the properties name. */
  readonly uses: ReadonlySet<string>;
  /** The stack that owns it, as `<region>/<name>`; undefined for what a stack has left behind. */
  readonly owner?: string | undefined;
}

/** What a resource may ask of the account when it is to be deleted. */
export interface Around {
  /** Whether a load balancer has written its test object into the bucket. */
  hasObjects(bucket: Physical): boolean;
  /** Whether CloudFront still has copies of the function or version. */
  isReplicated(edge: Physical): boolean;
}

export interface Kind {
  /** The path of the property that names it. Default: AWS generates a name. */
  readonly name?: string;
  /** A property within whose value the name is unique, such as a service's cluster. Default: the region. */
  readonly within?: string;
  /** Whether the name is unique in the account, not in the region. */
  readonly global?: true;
  /** Types that share their names. Default: the type. */
  readonly space?: string;
  /** Whether other resources that name it prevent its deletion. */
  readonly heldByUsers?: true;
  /** Why it cannot be deleted now. */
  readonly refusal?: (one: Physical, around: Around) => string | undefined;
  /** Why it cannot be updated to these properties. */
  readonly updateRefusal?: (one: Physical, next: Properties) => string | undefined;
}

interface Replica {
  readonly Region: string;
  readonly DeletionProtectionEnabled?: boolean;
}

const replicasOf = (properties: Properties) => properties.Replicas as readonly Replica[];

function tableUpdateRefusal({ properties }: Physical, next: Properties): string | undefined {
  const [before, after] = [replicasOf(properties), replicasOf(next)];
  const without = (some: readonly Replica[], others: readonly Replica[]) =>
    some.filter(({ Region }) => !others.some((other) => other.Region === Region));
  const [removed, added] = [without(before, after), without(after, before)];
  const kept = removed.find(({ DeletionProtectionEnabled }) => DeletionProtectionEnabled);
  if (kept) return `replica ${kept.Region} is protected against deletion`;
  return removed.length + added.length > 1 ? 'only one replica may be added or removed per update' : undefined;
}

/** aws-cloudformation/cloudformation-coverage-roadmap#1313. */
function serviceUpdateRefusal({ properties }: Physical, next: Properties): string | undefined {
  const balancers = ({ LoadBalancers: all = [] }: Properties) => (all as readonly unknown[]).length;
  const first = balancers(properties) === 0 && balancers(next) > 0;
  return first && next.HealthCheckGracePeriodSeconds !== undefined
    ? 'Health check grace period is only valid for services configured to use load balancers'
    : undefined;
}

const replicated: Kind['refusal'] = (one, around) =>
  around.isReplicated(one)
    ? 'it is a replicated function: try again when CloudFront has removed its copies'
    : undefined;

const attribute = ({ properties }: Physical, key: string) =>
  ((properties.LoadBalancerAttributes ?? []) as readonly { Key: string; Value: string }[]).find(
    ({ Key }) => Key === key,
  )?.Value;

/** The bucket into which a load balancer writes its log. */
export const logBucketOf = (balancer: Physical): string | undefined => attribute(balancer, 'access_logs.s3.bucket');

/** Sources: AWS CloudFormation template reference ("Return values", names), and each service's rules for deletion. */
export const kinds: Readonly<Record<string, Kind>> = {
  'AWS::ApplicationAutoScaling::ScalableTarget': { name: 'ResourceId', within: 'ScalableDimension' },
  'AWS::ApplicationAutoScaling::ScalingPolicy': { name: 'PolicyName', within: 'ScalingTargetId' },
  'AWS::CertificateManager::Certificate': { heldByUsers: true },
  'AWS::CloudFront::CachePolicy': { name: 'CachePolicyConfig.Name', global: true, heldByUsers: true },
  'AWS::CloudFront::Distribution': {},
  'AWS::CloudFront::OriginAccessControl': { name: 'OriginAccessControlConfig.Name', global: true, heldByUsers: true },
  'AWS::CloudFront::OriginRequestPolicy': { name: 'OriginRequestPolicyConfig.Name', global: true, heldByUsers: true },
  'AWS::CloudWatch::Alarm': { name: 'AlarmName', space: 'alarm' },
  'AWS::CloudWatch::CompositeAlarm': { name: 'AlarmName', space: 'alarm' },
  'AWS::CloudWatch::Dashboard': { name: 'DashboardName', global: true },
  'AWS::DynamoDB::GlobalTable': {
    name: 'TableName',
    refusal: ({ properties }) =>
      replicasOf(properties).some(({ DeletionProtectionEnabled }) => DeletionProtectionEnabled)
        ? 'it is protected against deletion'
        : undefined,
    updateRefusal: tableUpdateRefusal,
  },
  'AWS::EC2::EIP': {},
  'AWS::EC2::FlowLog': {},
  'AWS::EC2::InternetGateway': {},
  'AWS::EC2::NatGateway': {},
  'AWS::EC2::Route': {},
  'AWS::EC2::RouteTable': { heldByUsers: true },
  'AWS::EC2::SecurityGroup': { name: 'GroupName', within: 'VpcId', heldByUsers: true },
  'AWS::EC2::SecurityGroupEgress': {},
  'AWS::EC2::SecurityGroupIngress': {},
  'AWS::EC2::Subnet': { heldByUsers: true },
  'AWS::EC2::SubnetRouteTableAssociation': {},
  'AWS::EC2::VPC': { heldByUsers: true },
  'AWS::EC2::VPCEndpoint': {},
  'AWS::EC2::VPCGatewayAttachment': {},
  'AWS::ECS::Cluster': { name: 'ClusterName', heldByUsers: true },
  'AWS::ECS::Service': { name: 'ServiceName', within: 'Cluster', updateRefusal: serviceUpdateRefusal },
  // A family has revisions.
  'AWS::ECS::TaskDefinition': {},
  'AWS::EFS::AccessPoint': {},
  // Mount targets must go first.
  'AWS::EFS::FileSystem': { heldByUsers: true },
  // One in each zone, in which the stages here have one subnet.
  'AWS::EFS::MountTarget': { name: 'SubnetId', within: 'FileSystemId' },
  'AWS::ElastiCache::ServerlessCache': { name: 'ServerlessCacheName' },
  'AWS::ElasticLoadBalancingV2::Listener': {},
  'AWS::ElasticLoadBalancingV2::ListenerCertificate': {},
  'AWS::ElasticLoadBalancingV2::ListenerRule': { name: 'Priority', within: 'ListenerArn' },
  'AWS::ElasticLoadBalancingV2::LoadBalancer': {
    name: 'Name',
    refusal: (one) =>
      attribute(one, 'deletion_protection.enabled') === 'true' ? 'deletion protection is enabled' : undefined,
  },
  'AWS::ElasticLoadBalancingV2::TargetGroup': { name: 'Name', heldByUsers: true },
  'AWS::Events::Rule': { name: 'Name' },
  'AWS::IAM::ManagedPolicy': { name: 'ManagedPolicyName', global: true },
  // In the role.
  'AWS::IAM::Policy': {},
  'AWS::IAM::Role': { name: 'RoleName', global: true },
  'AWS::KMS::Alias': { name: 'AliasName' },
  'AWS::KMS::Key': {},
  'AWS::Lambda::EventInvokeConfig': { name: 'Qualifier', within: 'FunctionName' },
  'AWS::Lambda::Function': { name: 'FunctionName', refusal: replicated },
  'AWS::Lambda::LayerVersion': {},
  'AWS::Lambda::Permission': {},
  'AWS::Lambda::Version': { refusal: replicated },
  'AWS::Logs::LogGroup': { name: 'LogGroupName' },
  'AWS::Logs::MetricFilter': { name: 'FilterName', within: 'LogGroupName' },
  'AWS::Logs::QueryDefinition': { name: 'Name' },
  'AWS::Logs::SubscriptionFilter': { name: 'FilterName', within: 'LogGroupName' },
  'AWS::Route53::RecordSet': { name: 'Name', within: 'Type', global: true },
  'AWS::S3::Bucket': {
    name: 'BucketName',
    global: true,
    refusal: (one, around) => (around.hasObjects(one) ? 'the bucket is not empty' : undefined),
  },
  'AWS::S3::BucketPolicy': {},
  'AWS::SNS::Subscription': {},
  'AWS::SNS::Topic': { name: 'TopicName' },
  'AWS::SNS::TopicPolicy': {},
  'AWS::SSM::Parameter': { name: 'Name' },
  'AWS::WAFv2::WebACL': { name: 'Name', within: 'Scope', heldByUsers: true },
  'AWS::WAFv2::WebACLAssociation': { name: 'ResourceArn' },
  'Custom::EdgeLogGroups': {},
};

/** Throws an Error for a type of which the simulation knows nothing. */
export function kindOf(type: string): Kind {
  const kind = kinds[type];
  if (!kind) throw new Error(`the simulation does not know ${type}: say in cloudformation-kinds.ts how it is named`);
  return kind;
}

/** The name that a resource is given, and what it must be unique in; undefined if AWS generates one. */
export function givenName(type: string, region: string, properties: Properties): string | undefined {
  const { name, within, global, space = type } = kindOf(type);
  if (name === undefined) return undefined;
  let value: unknown = properties;
  for (const part of name.split('.')) value = (value as Properties | undefined)?.[part];
  if (value === undefined) return undefined;
  const places = [space, global ? 'global' : region, ...(within === undefined ? [] : [String(properties[within])])];
  return [...places, String(value)].join(' ');
}
