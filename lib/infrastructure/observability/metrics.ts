import { Duration } from 'aws-cdk-lib';
import { type IMetric, MathExpression, Metric } from 'aws-cdk-lib/aws-cloudwatch';
import { type Dimension, type RelayMetricName, relayMetrics, type Statistic } from '../../monitoring/index.ts';
import { canaryNamespace, edgeNamespace, type Observed, type ObservedLoadBalancer } from './observed.ts';

/** The metrics of the synthetic check, all without dimensions. */
export const canaryMetrics = [
  'Success',
  'StreamLatency',
  'TableLatency',
  'DifferingFlags',
  'EdgeSuccess',
  'EdgeLatency',
] as const;
export type CanaryMetricName = (typeof canaryMetrics)[number];

const MINUTE = Duration.minutes(1);

export interface MetricOptions {
  readonly label?: string;
  /** Default: the stack's region. */
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

/** A metric of the whole relay or of one environment. Every task reports it once a minute. */
export function relayMetric(
  { namespace, region }: Pick<Observed, 'namespace' | 'region'>,
  name: RelayMetricName,
  statistic: Statistic,
  { environment, ...options }: MetricOptions & { readonly environment?: string } = {},
): Metric {
  const dimensions = environment === undefined ? [] : ['Environment'];
  if (!relayMetrics[name].some((by) => by.join() === dimensions.join())) {
    throw new Error(`the relay does not report ${name} by ${dimensions.join() || 'nothing'}`);
  }
  const by: Record<string, string> = environment === undefined ? {} : { Environment: environment };
  return metric(namespace, name, statistic, by, placed(region, options));
}

/** A metric of the whole relay, or by what these dimensions name. Throws an Error for a combination that relays do not report. */
export function relayMetricBy(
  { namespace, region }: Pick<Observed, 'namespace' | 'region'>,
  name: RelayMetricName,
  statistic: Statistic,
  dimensions: Readonly<Record<string, string>>,
): Metric {
  const reported: readonly (readonly string[])[] = relayMetrics[name];
  const asked = Object.keys(dimensions).sort().join();
  if (!reported.some((by) => [...by].sort().join() === asked)) {
    const known = reported.map((by) => by.join(' and ') || 'nothing').join(', or by ');
    throw new Error(`dimensionsMap is invalid: relays report ${name} by ${known}, not by ${asked || 'nothing'}`);
  }
  return metric(namespace, name, statistic, { ...dimensions }, placed(region));
}

/** Metrics of another region than the stack's name theirs. */
function placed(region: string | undefined, options: MetricOptions = {}): MetricOptions {
  return region === undefined ? options : { region, ...options };
}

/** One line per value of a dimension: environments come and go without a deployment. */
export function relaySearch(
  { namespace, region }: Pick<Observed, 'namespace' | 'region'>,
  name: RelayMetricName,
  statistic: Statistic,
  by: Dimension,
): IMetric {
  if (!relayMetrics[name].some((dimensions) => dimensions.join() === by)) {
    throw new Error(`the relay does not report ${name} by ${by}`);
  }
  return new MathExpression({
    expression: `SEARCH('{"${namespace}",${by}} MetricName="${name}"', '${statistic}', 60)`,
    // Dynamic labels, AWS: "Use dynamic labels".
    label: `\${PROP('Dim.${by}')}`,
    period: MINUTE,
    ...(region !== undefined && { searchRegion: region }),
  });
}

export function canaryMetric(
  { stage, region }: Pick<Observed, 'stage' | 'region'>,
  name: CanaryMetricName,
  statistic: Statistic,
  options?: MetricOptions,
): Metric {
  return metric(canaryNamespace(stage), name, statistic, {}, placed(region, options));
}

/** A metric of a load balancer or its targets. Only those of targets have the target group dimension. */
export function loadBalancerMetric(
  { fullName, targetGroupFullName, region }: ObservedLoadBalancer,
  name: string,
  statistic: Statistic,
  options?: MetricOptions,
): Metric {
  const withTargets = /^(Un)?Healthy|^HTTPCode_Target|^Target|^RequestCount$/.test(name);
  const dimensions = { LoadBalancer: fullName, ...(withTargets && { TargetGroup: targetGroupFullName }) };
  return metric('AWS/ApplicationELB', name, statistic, dimensions, placed(region, options));
}

export function serviceMetric(
  { clusterName, serviceName, region }: Pick<Observed, 'clusterName' | 'serviceName' | 'region'>,
  name: 'CPUUtilization' | 'MemoryUtilization' | 'RunningTaskCount' | 'DesiredTaskCount' | 'NetworkTxBytes',
  statistic: Statistic,
  options?: MetricOptions,
): Metric {
  const namespace = name.endsWith('Utilization') ? 'AWS/ECS' : 'ECS/ContainerInsights';
  const dimensions = { ClusterName: clusterName, ServiceName: serviceName };
  return metric(namespace, name, statistic, dimensions, placed(region, options));
}

/** A metric of one replica, reported in its region; replication latency is reported in the writing region. */
export function tableMetric(
  { tableName, region }: Pick<Observed, 'tableName' | 'region'>,
  name: string,
  statistic: Statistic,
  { receivingRegion, ...options }: MetricOptions & { readonly receivingRegion?: string } = {},
): Metric {
  const dimensions = { TableName: tableName, ...(receivingRegion && { ReceivingRegion: receivingRegion }) };
  return metric('AWS/DynamoDB', name, statistic, dimensions, placed(region, options));
}

/** Edge functions report in the region where they ran, under a name that starts with their home region. */
export function edgeFunctionMetric(
  functionName: string,
  name: 'Errors' | 'Invocations' | 'Throttles' | 'Duration',
  statistic: Statistic,
  options?: MetricOptions,
): Metric {
  return metric('AWS/Lambda', name, statistic, { FunctionName: `us-east-1.${functionName}` }, options);
}

/** A function that runs in one region only. */
export function functionMetric(functionName: string, name: 'Errors', statistic: Statistic): Metric {
  return metric('AWS/Lambda', name, statistic, { FunctionName: functionName }, undefined);
}

/** What edge functions say of their decisions: `Decisions`, for example, or `<flag>=<variation>`. Reported where they run. */
export function decisionMetric(
  { stage }: Pick<Observed, 'stage'>,
  name: string,
  statistic: Statistic,
  options?: MetricOptions,
): Metric {
  return metric(edgeNamespace(stage), name, statistic, {}, options);
}

/** CloudFront reports in us-east-1 only. */
export function distributionMetric(
  distributionId: string,
  name: 'Requests' | '5xxErrorRate' | '4xxErrorRate',
  statistic: Statistic,
  options?: MetricOptions,
): Metric {
  const dimensions = { DistributionId: distributionId, Region: 'Global' };
  return metric('AWS/CloudFront', name, statistic, dimensions, options);
}

/** The same for every distribution of the account: synthesis in another region does not know the ID of a new one. */
export function distributionSearch(name: '5xxErrorRate' | '4xxErrorRate', label: string): IMetric {
  return new MathExpression({
    expression: `SEARCH('{AWS/CloudFront,DistributionId,Region} MetricName="${name}"', 'Average', 60)`,
    label: `${label} \${PROP('Dim.DistributionId')}`,
    searchRegion: 'us-east-1',
    period: MINUTE,
  });
}

/** ACM reports once or twice a day. */
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

export function expression(
  text: string,
  usingMetrics: Record<string, IMetric>,
  label: string,
  period: Duration = MINUTE,
): MathExpression {
  return new MathExpression({ expression: text, usingMetrics, label, period });
}
