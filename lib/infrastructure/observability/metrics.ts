import { Duration } from 'aws-cdk-lib';
import { type IMetric, MathExpression, Metric } from 'aws-cdk-lib/aws-cloudwatch';
import { canaryNamespace, type Observed, type ObservedLoadBalancer } from './observed.ts';

/**
 * What is asked of the relay's own metrics, and by which dimensions. A metric that nobody tells is no error to CloudWatch,
 * only silence: a test holds this against the table of what the relay tells.
 */
export const relayMetrics = {
  StreamsOpen: [[], ['Environment'], ['Kind']],
  StreamsOpened: [[]],
  StreamsClosed: [['Reason']],
  StreamsRefused: [[]],
  Answers: [[]],
  Answers5xx: [[]],
  Requests: [['Environment']],
  UpstreamDisconnected: [[], ['Environment']],
  UpstreamRefused: [['Environment']],
  DataAge: [[], ['Environment']],
  EnvironmentsWithoutData: [[]],
  UnreadableItems: [['Environment']],
  PropagationToStreams: [[]],
  PropagationToTable: [[]],
  StoreDown: [[]],
  StoreWriteErrors: [[]],
  ReplicaStoreErrors: [[], ['Database']],
  PropagationToReplicas: [[]],
  StoreRetries: [[]],
  StoreDifferingItems: [[]],
  StoreOversizedItems: [[]],
  SnapshotBytes: [[]],
  LeasesHeld: [[]],
  KeyProblems: [[], ['Environment']],
  KeySourceDown: [[]],
  BigSegmentsStale: [['Environment']],
  EventsReceived: [[]],
  EventsForwarded: [[]],
  EventsDropped: [[], ['Reason']],
  EventLoopDelay: [[]],
  MemoryBytes: [[]],
  Up: [[]],
} as const satisfies Readonly<Record<string, readonly (readonly string[])[]>>;

export type RelayMetricName = keyof typeof relayMetrics;

/** What the synthetic check tells, all without dimensions. */
export const canaryMetrics = ['Success', 'StreamLatency', 'TableLatency', 'DifferingFlags'] as const;
export type CanaryMetricName = (typeof canaryMetrics)[number];

export type Statistic = 'Sum' | 'Average' | 'Minimum' | 'Maximum' | 'SampleCount' | 'p50' | 'p95' | 'p99';

const MINUTE = Duration.minutes(1);

export interface MetricOptions {
  readonly label?: string;
  /** Default: the stack's own. */
  readonly region?: string;
  readonly period?: Duration;
}

function metric(
  namespace: string,
  metricName: string,
  statistic: Statistic,
  dimensionsMap: Record<string, string> = {},
  { label, region, period = MINUTE }: MetricOptions = {},
): Metric {
  const more = { ...(label !== undefined && { label }), ...(region !== undefined && { region }) };
  return new Metric({ namespace, metricName, statistic, dimensionsMap, period, ...more });
}

/** One of the relay's, as a whole or of one environment. Every task tells each once a minute. */
export function relayMetric(
  { namespace }: Pick<Observed, 'namespace'>,
  name: RelayMetricName,
  statistic: Statistic,
  { environment, ...options }: MetricOptions & { readonly environment?: string } = {},
): Metric {
  const dimensions = environment === undefined ? [] : ['Environment'];
  if (!relayMetrics[name].some((by) => by.join() === dimensions.join())) {
    throw new Error(`the relay does not tell ${name} by ${dimensions.join() || 'nothing'}`);
  }
  return metric(namespace, name, statistic, environment === undefined ? {} : { Environment: environment }, options);
}

/** One line for each value of a dimension that there is: environments come and go without a deployment. */
export function relaySearch(
  { namespace }: Pick<Observed, 'namespace'>,
  name: RelayMetricName,
  statistic: Statistic,
  by: 'Environment' | 'Kind' | 'Reason' | 'Database',
): IMetric {
  if (!relayMetrics[name].some((dimensions) => dimensions.join() === by)) {
    throw new Error(`the relay does not tell ${name} by ${by}`);
  }
  return new MathExpression({
    expression: `SEARCH('{"${namespace}",${by}} MetricName="${name}"', '${statistic}', 60)`,
    // Dynamic labels, AWS: "Use dynamic labels".
    label: `\${PROP('Dim.${by}')}`,
    period: MINUTE,
  });
}

export function canaryMetric(
  { stage }: Pick<Observed, 'stage'>,
  name: CanaryMetricName,
  statistic: Statistic,
  options?: MetricOptions,
): Metric {
  return metric(canaryNamespace(stage), name, statistic, {}, options);
}

/** Of a load balancer and its targets. Those of its own side alone know no target group. */
export function loadBalancerMetric(
  { fullName, targetGroupFullName }: ObservedLoadBalancer,
  name: string,
  statistic: Statistic,
  options?: MetricOptions,
): Metric {
  const withTargets = /^(Un)?Healthy|^HTTPCode_Target|^Target|^RequestCount$/.test(name);
  const dimensions = { LoadBalancer: fullName, ...(withTargets && { TargetGroup: targetGroupFullName }) };
  return metric('AWS/ApplicationELB', name, statistic, dimensions, options);
}

export function serviceMetric(
  { clusterName, serviceName }: Pick<Observed, 'clusterName' | 'serviceName'>,
  name: 'CPUUtilization' | 'MemoryUtilization' | 'RunningTaskCount' | 'DesiredTaskCount',
  statistic: Statistic,
  options?: MetricOptions,
): Metric {
  const namespace = name.endsWith('TaskCount') ? 'ECS/ContainerInsights' : 'AWS/ECS';
  return metric(namespace, name, statistic, { ClusterName: clusterName, ServiceName: serviceName }, options);
}

/** Of one replica, told in its own region; replication's latency in the region that writes. */
export function tableMetric(
  { tableName }: Pick<Observed, 'tableName'>,
  name: string,
  statistic: Statistic,
  { receivingRegion, ...options }: MetricOptions & { readonly receivingRegion?: string } = {},
): Metric {
  const dimensions = { TableName: tableName, ...(receivingRegion && { ReceivingRegion: receivingRegion }) };
  return metric('AWS/DynamoDB', name, statistic, dimensions, options);
}

/** Edge functions report where they ran, under a name that begins with where they come from. */
export function edgeFunctionMetric(
  functionName: string,
  name: 'Errors' | 'Invocations' | 'Throttles' | 'Duration',
  statistic: Statistic,
  options?: MetricOptions,
): Metric {
  return metric('AWS/Lambda', name, statistic, { FunctionName: `us-east-1.${functionName}` }, options);
}

/** CloudFront tells in us-east-1 only. */
export function distributionMetric(
  distributionId: string,
  name: 'Requests' | '5xxErrorRate' | '4xxErrorRate',
  statistic: Statistic,
  options?: MetricOptions,
): Metric {
  const dimensions = { DistributionId: distributionId, Region: 'Global' };
  return metric('AWS/CloudFront', name, statistic, dimensions, options);
}

/** The same of every distribution of the account: the id of one made in us-east-1 is not known elsewhere when synthesised. */
export function distributionSearch(name: '5xxErrorRate' | '4xxErrorRate', label: string): IMetric {
  return new MathExpression({
    expression: `SEARCH('{AWS/CloudFront,DistributionId,Region} MetricName="${name}"', 'Average', 60)`,
    label: `${label} \${PROP('Dim.DistributionId')}`,
    searchRegion: 'us-east-1',
    period: MINUTE,
  });
}

/** ACM tells once or twice a day. */
export function certificateMetric(certificateArn: string): Metric {
  const period = Duration.days(1);
  return metric(
    'AWS/CertificateManager',
    'DaysToExpiry',
    'Minimum',
    { CertificateArn: certificateArn },
    { period, label: 'days left' },
  );
}

export function expression(text: string, usingMetrics: Record<string, IMetric>, label: string): MathExpression {
  return new MathExpression({ expression: text, usingMetrics, label, period: MINUTE });
}

/** The relay's own metrics, each with its name in the legend. */
export function relayOf(observed: Pick<Observed, 'namespace'>) {
  return (name: RelayMetricName, statistic: Statistic, label: string, options: MetricOptions = {}) =>
    relayMetric(observed, name, statistic, { label, ...options });
}
