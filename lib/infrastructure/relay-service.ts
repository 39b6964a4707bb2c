import { Duration, RemovalPolicy, Stack } from 'aws-cdk-lib';
import { Metric, Stats } from 'aws-cdk-lib/aws-cloudwatch';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as ecs from 'aws-cdk-lib/aws-ecs';
import type { RetentionDays } from 'aws-cdk-lib/aws-logs';
import * as s3 from 'aws-cdk-lib/aws-s3';
import { Construct } from 'constructs';
import type { IFlagTable } from './flag-table.ts';
import { literalRegion } from './literal-region.ts';
import { fillRelay } from './parse-stage.ts';
import {
  clusterName,
  describeFargateProblem,
  metricsNamespace,
  SERVICE_NAME,
  STREAMS_METRIC,
} from './relay-contract.ts';
import { RelayLoadBalancer } from './relay-load-balancer.ts';
import { RelayTaskDefinition } from './relay-task-definition.ts';
import { RelayWebAcl } from './relay-web-acl.ts';
import type { RelaySettings } from './stage-settings.ts';

export interface RelayServiceProps
  extends Omit<RelaySettings, 'hostName' | 'certificates' | 'encryptionKeys' | 'publicAccess'> {
  /** Part of names, and of the path under which keys lie in SSM: `/edge-flag-relay/<stage>/environments/`. */
  readonly stage: string;
  /** In the home region of this table the relay writes; elsewhere it only reads. */
  readonly flagTable: IFlagTable;
  readonly vpc: ec2.IVpc;
  /** @default the VPC's private subnets with a way out */
  readonly taskSubnets?: ec2.SubnetSelection;
  /** @default the task subnets */
  readonly internalSubnets?: ec2.SubnetSelection;
  /** Needed where `taskSubnets` are public. @default false */
  readonly assignPublicIp?: boolean;
  /** Who may reach the internal load balancer. */
  readonly allowedCidrs: readonly string[];
  /** Of the internal load balancer. @default plain HTTP */
  readonly certificateArn?: string;
  /** A public load balancer for browsers and mobile devices. @default none */
  readonly publicAccess?: {
    readonly certificateArn: string;
    /** @default 3,000 */
    readonly requestsPerFiveMinutes?: number;
    /** Further path patterns. */
    readonly paths?: readonly string[];
  };
  /** The KMS key of this region's SSM parameters. @default AWS's own for SSM */
  readonly encryptionKeyArn?: string;
  /** A further store that a relay at home fills. */
  readonly redis?: { readonly url: string; readonly cluster: boolean };
  /** Sizes, protection and insights of a production. @default true */
  readonly production?: boolean;
  /** @default 90 */
  readonly logRetentionDays?: RetentionDays;
}

/**
 * The relay on Fargate, behind a load balancer fit for streams. Tasks are replaced one at a time and a deployment whose
 * tasks do not become healthy is rolled back. Throws an Error when a size is none of Fargate's, or timeouts contradict.
 */
export class RelayService extends Construct {
  readonly cluster: ecs.Cluster;
  readonly service: ecs.FargateService;
  readonly taskDefinition: RelayTaskDefinition;
  readonly internal: RelayLoadBalancer;
  readonly public?: RelayLoadBalancer;
  /** By how many tasks there are; add to it what else yours should grow with. */
  readonly scaling: ecs.ScalableTaskCount;
  /** Open streams of one task: what tasks are added for. */
  readonly streamsPerTask: Metric;

  constructor(scope: Construct, id: string, props: RelayServiceProps) {
    super(scope, id);
    const { stage, vpc, flagTable, production = true, logRetentionDays = 90, publicAccess, ...rest } = props;
    const relay = fillRelay(rest, production);
    const region = literalRegion(this, 'a relay');
    const size = describeFargateProblem(relay.cpu, relay.memoryMiB);
    if (size) throw new Error(`memoryMiB ${relay.memoryMiB} must be ${size}`);

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
      desiredCount: relay.tasks,
      minHealthyPercent: 100,
      // Room for one more than the least there are: one at a time, or a share of a fleet that has grown.
      maxHealthyPercent: Math.ceil(((relay.tasks + 1) / relay.tasks) * 100),
      availabilityZoneRebalancing: ecs.AvailabilityZoneRebalancing.ENABLED,
      circuitBreaker: { enable: true, rollback: true },
      // Above INIT_TIMEOUT, which is how long readiness waits for LaunchDarkly.
      healthCheckGracePeriod: Duration.seconds(60),
      propagateTags: ecs.PropagatedTagSource.SERVICE,
      enableECSManagedTags: true,
      ...(relay.redeploy && { forceNewDeployment: { enabled: true, nonce: relay.redeploy } }),
    });
    // A table of the same app has to be there first.
    if (Construct.isConstruct(flagTable) && Stack.of(flagTable) === Stack.of(this)) {
      this.service.node.addDependency(flagTable);
    }

    const accessLogs = relay.accessLogs ? this.accessLogBucket() : undefined;
    const shared = { vpc, relay, accessLogs, deletionProtection: production, allowedCidrs: props.allowedCidrs };
    this.internal = new RelayLoadBalancer(this, 'Internal', {
      ...shared,
      subnets: props.internalSubnets ?? taskSubnets,
      certificateArn: props.certificateArn,
    });
    if (publicAccess) {
      this.public = new RelayLoadBalancer(this, 'Public', {
        ...shared,
        subnets: { subnetType: ec2.SubnetType.PUBLIC },
        certificateArn: publicAccess.certificateArn,
        clientSide: { paths: publicAccess.paths ?? [] },
      });
      new RelayWebAcl(this, 'WebAcl', {
        stage,
        loadBalancerArn: this.public.loadBalancer.loadBalancerArn,
        requestsPerFiveMinutes: publicAccess.requestsPerFiveMinutes ?? 3_000,
      });
    }
    for (const { targetGroup } of [this.internal, ...(this.public ? [this.public] : [])]) {
      this.service.attachToApplicationTargetGroup(targetGroup);
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

  private scale(relay: { readonly cpuTargetPercent: number; readonly streamsPerTask: number }): void {
    // Whoever is scaled in loses a task's streams: seldom.
    const cooldowns = { scaleOutCooldown: Duration.minutes(1), scaleInCooldown: Duration.minutes(15) };
    this.scaling.scaleOnCpuUtilization('Cpu', { targetUtilizationPercent: relay.cpuTargetPercent, ...cooldowns });
    // CPU says little about streams that are idle, and every one of them may reconnect at once.
    this.scaling.scaleToTrackCustomMetric('Streams', {
      metric: this.streamsPerTask,
      targetValue: relay.streamsPerTask,
      ...cooldowns,
    });
  }

  /** Load balancers can write to a bucket with Amazon's own keys only. */
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
