import { Duration, RemovalPolicy, Stack, Validations } from 'aws-cdk-lib';
import type { ICertificate } from 'aws-cdk-lib/aws-certificatemanager';
import { type Alarm, Metric, Stats } from 'aws-cdk-lib/aws-cloudwatch';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as ecs from 'aws-cdk-lib/aws-ecs';
import type { Grant, IGrantable, IPrincipal, IRole } from 'aws-cdk-lib/aws-iam';
import type { IKey } from 'aws-cdk-lib/aws-kms';
import { RetentionDays } from 'aws-cdk-lib/aws-logs';
import { type IHostedZone, PrivateHostedZone } from 'aws-cdk-lib/aws-route53';
import { LoadBalancerTarget } from 'aws-cdk-lib/aws-route53-targets';
import * as s3 from 'aws-cdk-lib/aws-s3';
import { DnsRecordType, PrivateDnsNamespace } from 'aws-cdk-lib/aws-servicediscovery';
import { Construct } from 'constructs';
import { checkRelayService } from './check-relay-service.ts';
import type { IFlagTable } from './flag-table.ts';
import { literalRegion } from './literal-region.ts';
import { NamesInZone } from './names-in-zone.ts';
import { rollBackOnFailures } from './observability/deployment-alarm.ts';
import { heartbeatsOf, type ObservedLoadBalancer } from './observability/observed.ts';
import { fillRelay } from './parse-stage.ts';
import { type GrantKeysOptions, type IRelayService, type OwnObserved, RelayServiceBase } from './relay-base.ts';
import {
  checkStageName,
  maximumPercent,
  metricsNamespace,
  RELAY_PORT,
  type RelayNames,
  SERVICE_NAME,
  STREAMS_METRIC,
} from './relay-contract.ts';
import { type EventsSpool, RelayEventsSpool } from './relay-events-spool.ts';
import { type ExistingLoadBalancer, RelayLoadBalancer } from './relay-load-balancer.ts';
import { type RelayRedis, RelayTaskDefinition } from './relay-task-definition.ts';
import { RelayWebAcl } from './relay-web-acl.ts';
import type { Relay } from './stage.ts';
import { StageRelay, type StageRelayAttributes } from './stage-relay.ts';
import type { AgentSettings, RelaySettings } from './stage-settings.ts';
import { UpdatableService } from './updatable-service.ts';

/** The public load balancer. */
export interface PublicAccess {
  /** @default made in `domainZone`; that of the internal load balancer if there is no zone */
  readonly certificate?: ICertificate | undefined;
  /** Its name, to which a record in `domainZone` is added. @default none */
  readonly domainName?: string;
  readonly domainZone?: IHostedZone;
  /** @default 3,000 */
  readonly requestsPerFiveMinutes?: number;
  /** Additional path patterns. @default none */
  readonly paths?: readonly string[];
  /** One for each zone. @default the VPC's public subnets */
  readonly subnets?: ec2.SubnetSelection;
  /** A load balancer of yours, in public subnets: its web ACL is yours too. @default a new one, with a web ACL */
  readonly existingLoadBalancer?: ExistingLoadBalancer;
}

/** Settings that a construct takes in another form. */
type Converted =
  | 'hostName'
  | 'hostedZone'
  | 'certificates'
  | 'encryptionKeys'
  | 'publicAccess'
  | 'image'
  | 'agent'
  | 'eventsSpool'
  | 'secrets'
  | 'heartbeatSeconds'
  | 'idleTimeoutSeconds'
  | 'healthCheckGraceSeconds';

export interface RelayServiceProps extends Omit<RelaySettings, Converted>, RelayNames {
  /** Part of the SSM path of keys, `/edge-flag-relay/<stage>/environments/`, and of the namespace of metrics. */
  readonly stage: string;
  /** The relay writes in this table's home region and only reads elsewhere. */
  readonly flagTable: IFlagTable;
  /** @default the VPC of `cluster` */
  readonly vpc?: ec2.IVpc;
  /** @default a new one */
  readonly cluster?: ecs.ICluster;
  /** @default the VPC's private subnets with a way out */
  readonly taskSubnets?: ec2.SubnetSelection;
  /** @default the task subnets */
  readonly internalSubnets?: ec2.SubnetSelection;
  /** Required when `taskSubnets` are public. @default false */
  readonly assignPublicIp?: boolean;
  /** Of the tasks. @default a new one, which lets load balancers in */
  readonly securityGroups?: readonly ec2.ISecurityGroup[];
  /** Address ranges that may reach the internal load balancer. @default none: `relay.connections` lets others in */
  readonly allowedCidrs?: readonly string[];
  /** A load balancer of yours instead of a new internal one. @default a new one */
  readonly existingLoadBalancer?: ExistingLoadBalancer;
  /** Of the new internal load balancer. @default a new one */
  readonly loadBalancerSecurityGroup?: ec2.ISecurityGroup;
  /**
   * The internal load balancer's certificate. Required with an imported private zone, in which ACM cannot validate names.
   * @default made in `domainZone`; without a zone plain HTTP
   */
  readonly certificate?: ICertificate;
  /** The relay's name, which the certificate contains. @default none */
  readonly domainName?: string;
  /** Where `domainName` gets its record. @default none: you make it */
  readonly domainZone?: IHostedZone;
  /** A public load balancer for browsers and mobile devices. @default none */
  readonly publicAccess?: PublicAccess;
  /** Must fulfil the contract in docs/constructs.md. @default built from `relay-task/Dockerfile` during deployment */
  readonly image?: ecs.ContainerImage;
  /** Additional secret settings (docs/configuration.md), read when a task starts. @default none */
  readonly secrets?: Readonly<Record<string, ecs.Secret>>;
  /** The KMS key of this region's SSM parameters. @default the AWS managed key for SSM */
  readonly encryptionKey?: IKey;
  /** With which relays call AWS; its permissions are added. @default a new one */
  readonly taskRole?: IRole;
  /** With which ECS starts tasks; its permissions are added. @default a new one */
  readonly executionRole?: IRole;
  /** How often an idle stream gets a heartbeat comment, in whole seconds. @default 30 seconds */
  readonly heartbeat?: Duration;
  /** Of new load balancers: more than two heartbeats, less than the relay's keep-alive of 4,010 s. @default 2 minutes */
  readonly idleTimeout?: Duration;
  /**
   * For how long a new task may fail load balancers' health checks, in whole seconds. Zero leaves it to ECS: CloudFormation cannot give an
   * existing service its first load balancer and a grace period in one deployment. @default 1 minute
   */
  readonly healthCheckGrace?: Duration;
  /** An additional store that the relay in the home region fills; let `relay.service` reach it. @default none */
  readonly redis?: RelayRedis;
  /** A metrics agent beside the relay in each task. @default none */
  readonly agent?: AgentSettings<string | ecs.Secret>;
  /** A directory for events that outlives tasks, on EFS. Events are forwarded then. @default none: they are in memory only */
  readonly eventsSpool?: EventsSpool;
  /** The share of requests answered with 5xx above which ECS rolls a deployment back. @default 10 */
  readonly deploymentFailedPercent?: number | undefined;
  /** Production sizes, and Container Insights in a new cluster. @default true */
  readonly production?: boolean;
  /** Whether the cluster has Container Insights, the only source of task counts. @default `production` in a new cluster, else false */
  readonly containerInsights?: boolean;
  /**
   * Whether new load balancers are protected from deletion. Set it after the first successful deployment, which could not be rolled back
   * otherwise. @default false
   */
  readonly deletionProtection?: boolean;
  /** @default three months */
  readonly logRetention?: RetentionDays;
}

/**
 * The relay on Fargate, behind a load balancer configured for streams. A deployment replaces at most a third of the tasks at a
 * time and never stops one before its successor is healthy; if its tasks do not become healthy, it is rolled back. Throws an
 * Error for a size that Fargate does not offer or for conflicting timeouts.
 *
 * `connections` are those of the internal load balancer, or of the tasks if there is none.
 */
export class RelayService extends RelayServiceBase implements IGrantable {
  /** The relay of a stage that this project's app deployed in the same region. */
  static fromStage(scope: Construct, id: string, attributes: StageRelayAttributes): IRelayService {
    return new StageRelay(scope, id, attributes);
  }

  readonly stage: string;
  readonly flagTable: IFlagTable;
  readonly vpc: ec2.IVpc;
  readonly taskSubnets: ec2.SubnetSelection;
  readonly connections: ec2.Connections;
  /** The task role. */
  readonly grantPrincipal: IPrincipal;
  readonly domainName: string | undefined;
  readonly cluster: ecs.ICluster;
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
  private readonly own: Pick<OwnObserved, 'tasks' | 'containerInsights' | 'heartbeats'>;
  private readonly certificates: ICertificate[] = [];
  private readonly encryptionKey: IKey | undefined;

  constructor(scope: Construct, id: string, props: RelayServiceProps) {
    super(scope, id);
    const { stage, flagTable, production = true, cluster, vpc = cluster?.vpc, domainName } = props;
    const relay = relayOf(props, production);
    const region = literalRegion(this, 'a relay');
    const { path } = this.node;
    checkStageName(this, stage);
    checkRelayService(path, props, relay);
    if (!vpc) throw new Error(`${path}: vpc is missing: give vpc, or cluster, whose VPC is used then`);
    if (cluster && vpc !== cluster.vpc && vpc.vpcId !== cluster.vpc.vpcId) {
      throw new Error(`${path}: vpc is not that of cluster, in which tasks run: leave vpc out`);
    }
    this.stage = stage;
    this.flagTable = flagTable;
    this.vpc = vpc;
    this.domainName = domainName;
    const containerInsights = props.containerInsights ?? (cluster === undefined && production);
    this.own = { tasks: relay.tasks, containerInsights, heartbeats: heartbeatsOf(props) };

    const taskSubnets = props.taskSubnets ?? { subnetType: ec2.SubnetType.PRIVATE_WITH_EGRESS };
    this.taskSubnets = taskSubnets;
    const eventsSpool =
      props.eventsSpool &&
      new RelayEventsSpool(this, 'EventsSpool', {
        vpc,
        subnets: taskSubnets,
        retain: production,
        ...props.eventsSpool,
      });
    this.taskDefinition = new RelayTaskDefinition(this, 'Relay', {
      ...only(props, [
        'family',
        'logGroupName',
        'redis',
        'agent',
        'encryptionKey',
        'image',
        'taskRole',
        'executionRole',
      ]),
      ...{ stage, region, flagTable, relay, eventsSpool, secrets: props.secrets ?? {} },
      logRetention: props.logRetention ?? RetentionDays.THREE_MONTHS,
    });
    this.grantPrincipal = this.taskDefinition.grantPrincipal;
    this.cluster =
      cluster ??
      new ecs.Cluster(this, 'Cluster', {
        vpc,
        ...only(props, ['clusterName']),
        containerInsightsV2: containerInsights ? ecs.ContainerInsights.ENHANCED : ecs.ContainerInsights.DISABLED,
      });
    this.encryptionKey = props.encryptionKey;
    this.service = this.createService(relay, { ...props, production, taskSubnets });
    eventsSpool?.admit(this.service);
    // In a network of the same stack, tasks need the way out before they start, and for as long as they run.
    this.service.node.addDependency(vpc.selectSubnets(taskSubnets).internetConnectivityEstablished);
    // The permissions of both roles before tasks start: with those of the task role, which the CDK waits for by itself, those with which ECS
    // pulls the image and reads secrets. A role of another stack exists already, and may depend on this one.
    const executionRole = this.taskDefinition.task.obtainExecutionRole();
    if (Stack.of(executionRole) === Stack.of(this)) this.service.node.addDependency(executionRole);
    // A table in the same stack must be created first.
    if (Construct.isConstruct(flagTable) && Stack.of(flagTable) === Stack.of(this)) {
      this.service.node.addDependency(flagTable);
    }

    if (relay.prometheus) this.openMetrics(relay.prometheus);

    if (relay.loadBalancer) {
      const { internal, open } = this.loadBalancers(relay, { ...props, vpc, taskSubnets });
      this.internal = internal;
      if (open) this.public = open;
      this.deploymentAlarm = rollBackOnFailures(this, 'DeploymentAlarm', {
        alarmName: props.deploymentAlarmName,
        service: this.service,
        failedPercent: props.deploymentFailedPercent,
        loadBalancers: this.observedLoadBalancers(),
      });
    }
    const securityGroups = (this.internal?.loadBalancer ?? this.service).connections.securityGroups;
    const defaultPort = ec2.Port.tcp(this.internal?.port ?? RELAY_PORT);
    this.connections = new ec2.Connections({ securityGroups, defaultPort });

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

  override grantReadKeys(grantee: IGrantable, options?: GrantKeysOptions): Grant {
    const grant = super.grantReadKeys(grantee, options);
    return this.encryptionKey ? grant.combine(this.encryptionKey.grantDecrypt(grantee)) : grant;
  }

  override grantManageKeys(grantee: IGrantable, options?: GrantKeysOptions): Grant {
    const grant = super.grantManageKeys(grantee, options);
    return this.encryptionKey ? grant.combine(this.encryptionKey.grantEncryptDecrypt(grantee)) : grant;
  }

  get url(): string | undefined {
    return this.internal?.urlBy();
  }

  protected ownObserved(): OwnObserved {
    const { stage, flagTable } = this;
    const region = literalRegion(this, 'a relay');
    const writes = region === flagTable.homeRegion;
    return {
      ...{ stage, region, writes, ...this.own },
      clusterName: this.cluster.clusterName,
      serviceName: this.service.serviceName,
      logGroupName: this.taskDefinition.logGroup.logGroupName,
      loadBalancers: this.observedLoadBalancers(),
      tableName: flagTable.tableName,
      homeRegion: flagTable.homeRegion,
      // Replication latency is reported in the home region.
      replicaRegions: writes ? flagTable.replicaRegions : [],
      certificateArns: [...new Set(this.certificates.map(({ certificateArn }) => certificateArn))],
    };
  }

  private observedLoadBalancers(): ObservedLoadBalancer[] {
    return [
      ...(this.internal ? [this.internal.observed('internal')] : []),
      ...(this.public ? [this.public.observed('public')] : []),
    ];
  }

  private createService(
    relay: Relay,
    props: RelayServiceProps & { readonly production: boolean; readonly taskSubnets: ec2.SubnetSelection },
  ): ecs.FargateService {
    const { securityGroups, production } = props;
    return new UpdatableService(this, 'Service', {
      cluster: this.cluster,
      ...only(props, ['serviceName']),
      ...(securityGroups && { securityGroups: [...securityGroups] }),
      taskDefinition: this.taskDefinition.task,
      vpcSubnets: props.taskSubnets,
      assignPublicIp: props.assignPublicIp ?? false,
      // No desiredCount: every deployment would set it, and stop the tasks that were added since. A new service starts with one
      // task, which the scaling target's minimum raises as soon as it is created.
      minHealthyPercent: 100,
      maxHealthyPercent: maximumPercent(relay.tasks, production),
      availabilityZoneRebalancing: ecs.AvailabilityZoneRebalancing.ENABLED,
      circuitBreaker: { enable: true, rollback: true },
      ...(relay.loadBalancer && { healthCheckGracePeriod: Duration.seconds(relay.healthCheckGraceSeconds) }),
      propagateTags: ecs.PropagatedTagSource.SERVICE,
      enableECSManagedTags: true,
      ...(relay.redeploy && { forceNewDeployment: { enabled: true, nonce: relay.redeploy } }),
    });
  }

  private loadBalancers(
    relay: Relay,
    props: RelayServiceProps & { readonly vpc: ec2.IVpc; readonly taskSubnets: ec2.SubnetSelection },
  ): { readonly internal: RelayLoadBalancer; readonly open?: RelayLoadBalancer } {
    const { vpc, stage, publicAccess, taskSubnets, allowedCidrs = [], deletionProtection = false } = props;
    const ours = !props.existingLoadBalancer || (publicAccess && !publicAccess.existingLoadBalancer);
    const accessLogs = relay.accessLogs && ours ? this.accessLogBucket() : undefined;
    const shared = { vpc, relay, accessLogs, deletionProtection, allowedCidrs };
    const names = this.namesIn('Names', props);
    const certificate = props.certificate ?? names?.certificate;
    const internal = new RelayLoadBalancer(this, 'Internal', {
      ...shared,
      subnets: props.internalSubnets ?? taskSubnets,
      certificate,
      securityGroup: props.loadBalancerSecurityGroup,
      existing: props.existingLoadBalancer,
    });
    if (certificate) this.certificates.push(certificate);
    names?.leadTo(new LoadBalancerTarget(internal.loadBalancer, { evaluateTargetHealth: true }), { ipv6: false });
    this.service.attachToApplicationTargetGroup(internal.targetGroup);
    if (!publicAccess) return { internal };
    const publicNames = this.namesIn('PublicNames', publicAccess);
    const publicCertificate = publicAccess.certificate ?? publicNames?.certificate ?? certificate;
    const open = new RelayLoadBalancer(this, 'Public', {
      ...shared,
      subnets: publicAccess.subnets ?? { subnetType: ec2.SubnetType.PUBLIC },
      certificate: publicCertificate,
      clientSide: { paths: publicAccess.paths ?? [] },
      existing: publicAccess.existingLoadBalancer,
    });
    if (publicCertificate) this.certificates.push(publicCertificate);
    publicNames?.leadTo(new LoadBalancerTarget(open.loadBalancer, { evaluateTargetHealth: true }), { ipv6: false });
    this.service.attachToApplicationTargetGroup(open.targetGroup);
    // A load balancer has one web ACL at most.
    if (!publicAccess.existingLoadBalancer) {
      new RelayWebAcl(this, 'WebAcl', {
        stage,
        name: props.webAclName,
        loadBalancerArn: open.loadBalancer.loadBalancerArn,
        requestsPerFiveMinutes: publicAccess.requestsPerFiveMinutes ?? 3_000,
      });
    }
    return { internal, open };
  }

  private namesIn(
    id: string,
    { certificate, domainName, domainZone, existingLoadBalancer }: Partial<RelayServiceProps> & PublicAccess,
  ): NamesInZone | undefined {
    if (!domainZone) return undefined;
    if (domainName === undefined) {
      throw new Error(`${this.node.path}: domainName is missing: give the name that gets a record in domainZone`);
    }
    const needed = certificate === undefined && existingLoadBalancer?.listener === undefined;
    // ACM looks for its validation records in public DNS.
    const makes = needed && !(domainZone instanceof PrivateHostedZone);
    return new NamesInZone(this, id, { zone: domainZone, names: [domainName], certificate: makes });
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
    const bucket = new s3.Bucket(this, 'AccessLogs', {
      encryption: s3.BucketEncryption.S3_MANAGED,
      blockPublicAccess: s3.BlockPublicAccess.BLOCK_ALL,
      objectOwnership: s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
      enforceSSL: true,
      lifecycleRules: [{ expiration: Duration.days(30) }],
      removalPolicy: RemovalPolicy.RETAIN,
    });
    Validations.of(bucket).acknowledge({
      id: 'AwsSolutions-S1',
      reason: 'this bucket receives access logs; logging its own access needs another bucket',
    });
    return bucket;
  }
}

/** The settings with their defaults. */
function relayOf(props: RelayServiceProps, production: boolean): Relay {
  const {
    publicAccess: _,
    image: __,
    secrets: ___,
    agent: ____,
    eventsSpool,
    heartbeat,
    idleTimeout,
    healthCheckGrace,
    ...rest
  } = props;
  return fillRelay(
    {
      ...rest,
      ...(eventsSpool && { eventsSpool: {} }),
      ...(heartbeat && { heartbeatSeconds: heartbeat.toSeconds() }),
      ...(idleTimeout && { idleTimeoutSeconds: idleTimeout.toSeconds() }),
      ...(healthCheckGrace && { healthCheckGraceSeconds: healthCheckGrace.toSeconds() }),
    },
    production,
  );
}

/** Those of these properties that were given. */
function only<T extends object, K extends keyof T>(props: T, names: readonly K[]): Partial<Pick<T, K>> {
  const given = names.filter((name) => props[name] !== undefined).map((name) => [name, props[name]]);
  return Object.fromEntries(given) as Partial<Pick<T, K>>;
}
