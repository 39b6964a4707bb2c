import { Stack } from 'aws-cdk-lib';
import type { Metric, MetricOptions } from 'aws-cdk-lib/aws-cloudwatch';
import type * as ec2 from 'aws-cdk-lib/aws-ec2';
import { Grant, type IGrantable } from 'aws-cdk-lib/aws-iam';
import { Construct, type IConstruct } from 'constructs';
import type { RelayMetricName, Statistic } from '../monitoring/index.ts';
import type { IFlagTable } from './flag-table.ts';
import { relayMetricBy, serviceMetric } from './observability/metrics.ts';
import { type IObservedRelay, type Observed, type ObserveOptions, seenFrom } from './observability/observed.ts';
import { environmentsPath, metricsNamespace, STREAMS_METRIC } from './relay-contract.ts';

/** A relay of this app, or of another one in the same region. */
export interface IRelayService extends IConstruct, IObservedRelay, ec2.IConnectable {
  readonly stage: string;
  readonly flagTable: IFlagTable;
  readonly vpc: ec2.IVpc | undefined;
  /** Where its tasks run, and what calls it can. Undefined if only the relay's stage knows. */
  readonly taskSubnets: ec2.SubnetSelection | undefined;
  /** The relay's origin for SDKs in its VPC. Undefined without a load balancer. */
  readonly url: string | undefined;
  /** The name in its certificate. */
  readonly domainName: string | undefined;
  /**
   * Allows to read the keys of an environment, or of all, from SSM in the relay's region: with its SDK key an application connects. Keys that
   * are not encrypted with the AWS managed key for SSM need a grant of theirs.
   */
  grantReadKeys(grantee: IGrantable, options?: GrantKeysOptions): Grant;
  /** Allows to put, list and delete the keys and settings of environments, as `npm run keys` does. */
  grantManageKeys(grantee: IGrantable, options?: GrantKeysOptions): Grant;
  /**
   * A metric that relays report, of all tasks. `dimensionsMap` chooses a part of it, such as an `Environment`; an Error says by what relays
   * report it. @default the sum of a minute
   */
  metric(name: RelayMetricName, options?: MetricOptions): Metric;
  /** Open streams. @default the sum over all tasks */
  metricStreams(options?: MetricOptions): Metric;
  /** Requests that were answered. @default the sum of a minute */
  metricAnswers(options?: MetricOptions): Metric;
  /** Requests that were answered with 5xx. @default the sum of a minute */
  metricErrors(options?: MetricOptions): Metric;
  /** The age of the oldest data, in seconds. @default the minimum over all tasks */
  metricDataAge(options?: MetricOptions): Metric;
  /** @default the average of a minute over all tasks, in percent */
  metricCpuUtilization(options?: MetricOptions): Metric;
  /** @default the maximum of a minute over all tasks, in percent */
  metricMemoryUtilization(options?: MetricOptions): Metric;
}

export interface GrantKeysOptions {
  /** By its name below the stage's path in SSM. @default every environment of the stage */
  readonly environment?: string;
}

/** What the relay itself knows of what is watched. */
export type OwnObserved = Omit<Observed, 'environments' | 'otherEnvironments' | 'canary' | 'edge' | 'namespace'>;

export abstract class RelayServiceBase extends Construct implements IRelayService {
  abstract readonly stage: string;
  abstract readonly flagTable: IFlagTable;
  abstract readonly vpc: ec2.IVpc | undefined;
  abstract readonly taskSubnets: ec2.SubnetSelection | undefined;
  abstract readonly connections: ec2.Connections;
  abstract readonly url: string | undefined;
  abstract readonly domainName: string | undefined;

  protected abstract ownObserved(): OwnObserved;

  observed({ environments = [], otherEnvironments, canary }: ObserveOptions = {}): Observed {
    return {
      ...this.ownObserved(),
      namespace: metricsNamespace(this.stage),
      environments,
      // SSM may have more than those that are named here.
      otherEnvironments: otherEnvironments ?? true,
      canary: canary !== undefined,
      ...(canary?.every && { canaryEvery: canary.every }),
    };
  }

  grantReadKeys(grantee: IGrantable, options?: GrantKeysOptions): Grant {
    return this.grantKeys(grantee, ['ssm:GetParameter', 'ssm:GetParameters', 'ssm:GetParametersByPath'], options);
  }

  grantManageKeys(grantee: IGrantable, options?: GrantKeysOptions): Grant {
    const actions = ['ssm:GetParametersByPath', 'ssm:GetParameters', 'ssm:PutParameter', 'ssm:DeleteParameters'];
    return this.grantKeys(grantee, actions, options);
  }

  private grantKeys(grantee: IGrantable, actions: string[], { environment }: GrantKeysOptions = {}): Grant {
    const region = this.ownObserved().region ?? Stack.of(this).region;
    const name = `${environmentsPath(this.stage)}${environment ?? ''}`.replace(/^\/|\/$/g, '');
    const arn = Stack.of(this).formatArn({ service: 'ssm', region, resource: 'parameter', resourceName: name });
    return Grant.addToPrincipal({ grantee, actions, resourceArns: [arn, `${arn}/*`] });
  }

  metric(name: RelayMetricName, options?: MetricOptions): Metric {
    return this.reported(name, 'Sum', options);
  }

  metricStreams(options?: MetricOptions): Metric {
    return this.reported(STREAMS_METRIC, 'Sum', options);
  }

  metricAnswers(options?: MetricOptions): Metric {
    return this.reported('Answers', 'Sum', options);
  }

  metricErrors(options?: MetricOptions): Metric {
    return this.reported('Answers5xx', 'Sum', options);
  }

  metricDataAge(options?: MetricOptions): Metric {
    return this.reported('DataAge', 'Minimum', options);
  }

  metricCpuUtilization(options: MetricOptions = {}): Metric {
    return this.placed(serviceMetric(this.here(), 'CPUUtilization', 'Average'), options);
  }

  metricMemoryUtilization(options: MetricOptions = {}): Metric {
    return this.placed(serviceMetric(this.here(), 'MemoryUtilization', 'Maximum'), options);
  }

  private reported(
    name: RelayMetricName,
    statistic: Statistic,
    { dimensionsMap = {}, ...options }: MetricOptions = {},
  ): Metric {
    return this.placed(relayMetricBy(this.here(), name, statistic, dimensionsMap), options);
  }

  private here(): Observed {
    return seenFrom(this.observed(), Stack.of(this).region);
  }

  /** In a stack of another region it keeps its region: graphs read it there, and the CDK refuses an alarm on it. */
  private placed(metric: Metric, options: MetricOptions): Metric {
    return metric.attachTo(this).with(options);
  }
}
