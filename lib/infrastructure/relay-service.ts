import { Duration, RemovalPolicy, Stack } from 'aws-cdk-lib';
import { type Alarm, Metric, Stats } from 'aws-cdk-lib/aws-cloudwatch';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as ecs from 'aws-cdk-lib/aws-ecs';
import type { RetentionDays } from 'aws-cdk-lib/aws-logs';
import * as s3 from 'aws-cdk-lib/aws-s3';
import { DnsRecordType, PrivateDnsNamespace } from 'aws-cdk-lib/aws-servicediscovery';
import { Construct } from 'constructs';
import type { IFlagTable } from './flag-table.ts';
import { literalRegion } from './literal-region.ts';
import { rollBackOnFailures } from './observability/deployment-alarm.ts';
import { fillRelay } from './parse-stage.ts';
import { addressOf } from './relay-addresses.ts';
import {
  clusterName,
  describeAgentProblem,
  describeFargateProblem,
  maximumPercent,
  metricsNamespace,
  SERVICE_NAME,
  STREAMS_METRIC,
} from './relay-contract.ts';
import { RelayLoadBalancer } from './relay-load-balancer.ts';
import { RelayTaskDefinition } from './relay-task-definition.ts';
import { RelayWebAcl } from './relay-web-acl.ts';
import type { Relay } from './stage.ts';
import type { RelaySettings } from './stage-settings.ts';

export interface RelayServiceProps
  extends Omit<RelaySettings, 'hostName' | 'hostedZone' | 'certificates' | 'encryptionKeys' | 'publicAccess'> {
  /** Part of resource names and of the SSM path of keys: `/edge-flag-relay/<stage>/environments/`. */
  readonly stage: string;
  /** The relay writes in this table's home region and only reads elsewhere. */
  readonly flagTable: IFlagTable;
  readonly vpc: ec2.IVpc;
  /** @default the VPC's private subnets with a way out */
  readonly taskSubnets?: ec2.SubnetSelection;
  /** @default the task subnets */
  readonly internalSubnets?: ec2.SubnetSelection;
  /** Required when `taskSubnets` are public. @default false */
  readonly assignPublicIp?: boolean;
  /** Who may reach the internal load balancer. */
  readonly allowedCidrs: readonly string[];
  /** The internal load balancer's certificate. @default plain HTTP */
  readonly certificateArn?: string;
  /** A public load balancer for browsers and mobile devices. @default none */
  readonly publicAccess?: {
    readonly certificateArn: string;
    /** @default 3,000 */
    readonly requestsPerFiveMinutes?: number;
    /** Additional path patterns. */
    readonly paths?: readonly string[];
  };
  /** The KMS key of this region's SSM parameters. @default the AWS managed key for SSM */
  readonly encryptionKeyArn?: string;
  /** An additional store that the relay in the home region fills. */
  readonly redis?: { readonly url: string; readonly cluster: boolean };
  /** The share of requests answered with 5xx above which ECS rolls a deployment back. @default 10 */
  readonly deploymentFailedPercent?: number | undefined;
  /** Production sizes and Container Insights. @default true */
  readonly production?: boolean;
  /**
   * Whether load balancers are protected from deletion. Set it after the first successful deployment, which could not be rolled back
   * otherwise. @default false
   */
  readonly deletionProtection?: boolean;
  /** @default 90 */
  readonly logRetentionDays?: RetentionDays;
}

/**
 * The relay on Fargate, behind a load balancer configured for streams. A deployment replaces at most a third of the tasks at a
 * time and never stops one before its successor is healthy; if its tasks do not become healthy, it is rolled back. Throws an
 * Error for a size that Fargate does not offer or for conflicting timeouts.
 */
export class RelayService extends Construct {
  readonly cluster: ecs.Cluster;
  readonly service: ecs.FargateService;
  readonly taskDefinition: RelayTaskDefinition;
  /** Undefined with `loadBalancer: false`, as is what depends on it. */
  readonly internal?: RelayLoadBalancer;
  readonly public?: RelayLoadBalancer;
  /** Scales the number of tasks; add your own scaling policies here. */
  readonly scaling: ecs.ScalableTaskCount;
  /** While it is on, ECS rolls a deployment back. */
  readonly deploymentAlarm?: Alarm;
  /** Open streams per task, on which the service scales. */
  readonly streamsPerTask: Metric;

  constructor(scope: Construct, id: string, props: RelayServiceProps) {
    super(scope, id);
    const { stage, vpc, flagTable, production = true, logRetentionDays = 90, publicAccess: _, ...rest } = props;
    const relay = fillRelay(rest, production);
    const region = literalRegion(this, 'a relay');
    const size = describeFargateProblem(relay.cpu, relay.memoryMiB) ?? describeAgentProblem(relay);
    if (size !== undefined) throw new Error(`memoryMiB=${relay.memoryMiB} is invalid: expected ${size}`);

    const { redis, encryptionKeyArn } = props;
    this.taskDefinition = new RelayTaskDefinition(this, 'Relay', {
      stage,
      region,
      flagTable,
      relay,
      redis,
      encryptionKeyArn,
      logRetentionDays,
    });
    this.cluster = new ecs.Cluster(this, 'Cluster', {
      vpc,
      clusterName: clusterName(stage),
      containerInsightsV2: production ? ecs.ContainerInsights.ENHANCED : ecs.ContainerInsights.DISABLED,
    });
    const taskSubnets = props.taskSubnets ?? { subnetType: ec2.SubnetType.PRIVATE_WITH_EGRESS };
    this.service = new ecs.FargateService(this, 'Service', {
      cluster: this.cluster,
      serviceName: SERVICE_NAME,
      taskDefinition: this.taskDefinition.task,
      vpcSubnets: taskSubnets,
      assignPublicIp: props.assignPublicIp ?? false,
      // No desiredCount: every deployment would set it, and stop the tasks that were added since. A new service starts with one
      // task, which the scaling target's minimum raises as soon as it is created.
      minHealthyPercent: 100,
      maxHealthyPercent: maximumPercent(relay.tasks, production),
      availabilityZoneRebalancing: ecs.AvailabilityZoneRebalancing.ENABLED,
      circuitBreaker: { enable: true, rollback: true },
      // Longer than INIT_TIMEOUT, for which readiness waits for LaunchDarkly.
      ...(relay.loadBalancer && { healthCheckGracePeriod: Duration.seconds(60) }),
      propagateTags: ecs.PropagatedTagSource.SERVICE,
      enableECSManagedTags: true,
      ...(relay.redeploy && { forceNewDeployment: { enabled: true, nonce: relay.redeploy } }),
    });
    // In a network of the same stack, tasks need the way out before they start, and for as long as they run.
    this.service.node.addDependency(vpc.selectSubnets(taskSubnets).internetConnectivityEstablished);
    // A table in the same stack must be created first.
    if (Construct.isConstruct(flagTable) && Stack.of(flagTable) === Stack.of(this)) {
      this.service.node.addDependency(flagTable);
    }

    if (relay.prometheus) this.openMetrics(relay.prometheus);

    if (relay.loadBalancer) {
      const { internal, open } = this.loadBalancers(relay, { ...props, taskSubnets });
      this.internal = internal;
      if (open) this.public = open;
      this.deploymentAlarm = rollBackOnFailures(this, 'DeploymentAlarm', {
        stage,
        service: this.service,
        failedPercent: props.deploymentFailedPercent,
        loadBalancers: [
          { name: 'internal', ...addressOf(internal) },
          ...(open ? [{ name: 'public', ...addressOf(open) }] : []),
        ],
      });
    }

    this.streamsPerTask = new Metric({
      namespace: metricsNamespace(stage),
      metricName: STREAMS_METRIC,
      statistic: Stats.AVERAGE,
      period: Duration.minutes(1),
      region,
    });
    this.scaling = this.service.autoScaleTaskCount({ minCapacity: relay.tasks, maxCapacity: relay.maxTasks });
    this.scale(relay);
  }

  private loadBalancers(
    relay: Relay,
    props: RelayServiceProps & { readonly taskSubnets: ec2.SubnetSelection },
  ): { readonly internal: RelayLoadBalancer; readonly open?: RelayLoadBalancer } {
    const { vpc, stage, publicAccess, taskSubnets, allowedCidrs, deletionProtection = false } = props;
    const accessLogs = relay.accessLogs ? this.accessLogBucket() : undefined;
    const shared = { vpc, relay, accessLogs, deletionProtection, allowedCidrs };
    const internal = new RelayLoadBalancer(this, 'Internal', {
      ...shared,
      subnets: props.internalSubnets ?? taskSubnets,
      certificateArn: props.certificateArn,
    });
    this.service.attachToApplicationTargetGroup(internal.targetGroup);
    if (!publicAccess) return { internal };
    const open = new RelayLoadBalancer(this, 'Public', {
      ...shared,
      subnets: { subnetType: ec2.SubnetType.PUBLIC },
      certificateArn: publicAccess.certificateArn,
      clientSide: { paths: publicAccess.paths ?? [] },
    });
    this.service.attachToApplicationTargetGroup(open.targetGroup);
    new RelayWebAcl(this, 'WebAcl', {
      stage,
      loadBalancerArn: open.loadBalancer.loadBalancerArn,
      requestsPerFiveMinutes: publicAccess.requestsPerFiveMinutes ?? 3_000,
    });
    return { internal, open };
  }

  private scale(relay: { readonly cpuTargetPercent: number; readonly streamsPerTask: number }): void {
    // Scaling in disconnects a task's streams, so do it rarely.
    const cooldowns = { scaleOutCooldown: Duration.minutes(1), scaleInCooldown: Duration.minutes(15) };
    this.scaling.scaleOnCpuUtilization('Cpu', { targetUtilizationPercent: relay.cpuTargetPercent, ...cooldowns });
    // Idle streams use little CPU, but all of them may reconnect at once.
    this.scaling.scaleToTrackCustomMetric('Streams', {
      metric: this.streamsPerTask,
      targetValue: relay.streamsPerTask,
      ...cooldowns,
    });
  }

  /** Lets a Prometheus reach every task, and find them by name if there is a namespace. */
  private openMetrics({ port, allowedCidrs = [], namespace }: NonNullable<Relay['prometheus']>): void {
    for (const cidr of allowedCidrs) {
      this.service.connections.allowFrom(ec2.Peer.ipv4(cidr), ec2.Port.tcp(port), 'Prometheus');
    }
    if (namespace === undefined) return;
    this.service.enableCloudMap({
      cloudMapNamespace: new PrivateDnsNamespace(this, 'Namespace', { vpc: this.cluster.vpc, name: namespace }),
      name: SERVICE_NAME,
      dnsRecordType: DnsRecordType.A,
      dnsTtl: Duration.seconds(10),
    });
  }

  /**
   * Load balancers can only write to buckets encrypted with Amazon S3 managed keys. They write a test object at once, so that a deployment
   * that fails could not delete the bucket: it is always retained, and its name is not fixed.
   */
  private accessLogBucket(): s3.Bucket {
    return new s3.Bucket(this, 'AccessLogs', {
      encryption: s3.BucketEncryption.S3_MANAGED,
      blockPublicAccess: s3.BlockPublicAccess.BLOCK_ALL,
      objectOwnership: s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
      enforceSSL: true,
      lifecycleRules: [{ expiration: Duration.days(30) }],
      removalPolicy: RemovalPolicy.RETAIN,
    });
  }
}
