import { join } from 'node:path';
import { Aws, Duration, RemovalPolicy, Size, Validations } from 'aws-cdk-lib';
import { Platform } from 'aws-cdk-lib/aws-ecr-assets';
import * as ecs from 'aws-cdk-lib/aws-ecs';
import { type IGrantable, type IPrincipal, type IRole, PolicyStatement } from 'aws-cdk-lib/aws-iam';
import type { IKey } from 'aws-cdk-lib/aws-kms';
import { LogGroup, type RetentionDays } from 'aws-cdk-lib/aws-logs';
import { Construct } from 'constructs';
import type { IFlagTable } from './flag-table.ts';
import { prebuilt } from './prebuilt.ts';
import { RelayAgent, type SecretSource } from './relay-agent.ts';
import {
  DRAIN_WINDOW_SECONDS,
  drains,
  environmentsPath,
  METRICS_PORT,
  metricsNamespace,
  otherSources,
  RELAY_PORT,
  RELAY_USER,
  type RelayNames,
  relayMemoryMiB,
  SHUTDOWN_SECONDS,
  STOP_TIMEOUT_SECONDS,
} from './relay-contract.ts';
import { type RelayEventsSpool, SPOOL_DIRECTORY } from './relay-events-spool.ts';
import type { Relay } from './stage.ts';
import type { AgentSettings } from './stage-settings.ts';

/** ElastiCache or any other Redis. */
export interface RelayRedis {
  /** `redis://…` or `rediss://…`; a secret, if a password is in it. */
  readonly url: string | ecs.Secret;
  /** Whether it is a node of a Redis Cluster, or its configuration endpoint. @default false */
  readonly cluster?: boolean;
}

export interface RelayTaskDefinitionProps extends Pick<RelayNames, 'family' | 'logGroupName'> {
  readonly stage: string;
  readonly region: string;
  readonly flagTable: IFlagTable;
  readonly relay: Omit<Relay, 'agent'>;
  readonly redis?: RelayRedis | undefined;
  readonly agent?: AgentSettings<SecretSource> | undefined;
  readonly eventsSpool?: RelayEventsSpool | undefined;
  /** @default built from the relay's Dockerfile */
  readonly image?: ecs.ContainerImage | undefined;
  /** Variables whose values are secret. */
  readonly secrets: Readonly<Record<string, ecs.Secret>>;
  readonly encryptionKey?: IKey | undefined;
  readonly logRetention: RetentionDays;
  /** @default new ones */
  readonly taskRole?: IRole | undefined;
  readonly executionRole?: IRole | undefined;
}

/** The relay's arguments. */
const COMMAND = ['--from-env'];

/** What the image is built from: in a clone the sources, in the published package the built relay. */
const BUILT_IMAGE = prebuilt('image');
const IMAGE =
  BUILT_IMAGE === undefined
    ? { directory: join(import.meta.dirname, '../..'), file: 'relay-task/Dockerfile' }
    : { directory: BUILT_IMAGE, file: 'Dockerfile' };

/** One relay: container, settings, permissions and log. */
export class RelayTaskDefinition extends Construct implements IGrantable {
  readonly task: ecs.FargateTaskDefinition;
  /** The role with which relays call AWS. */
  readonly grantPrincipal: IPrincipal;
  readonly logGroup: LogGroup;

  constructor(scope: Construct, id: string, props: RelayTaskDefinitionProps) {
    super(scope, id);
    const { relay, stage, flagTable, region, agent, redis } = props;
    const arm = relay.architecture === 'arm64';
    const home = region === flagTable.homeRegion;
    this.logGroup = new LogGroup(this, 'Log', {
      ...(props.logGroupName !== undefined && { logGroupName: props.logGroupName }),
      retention: props.logRetention,
      removalPolicy: RemovalPolicy.DESTROY,
    });
    this.task = new ecs.FargateTaskDefinition(this, 'Task', {
      ...(props.family !== undefined && { family: props.family }),
      ...(props.taskRole && { taskRole: props.taskRole }),
      ...(props.executionRole && { executionRole: props.executionRole }),
      cpu: relay.cpu,
      memoryLimitMiB: relay.memoryMiB,
      runtimePlatform: {
        cpuArchitecture: arm ? ecs.CpuArchitecture.ARM64 : ecs.CpuArchitecture.X86_64,
        operatingSystemFamily: ecs.OperatingSystemFamily.LINUX,
      },
    });
    const linuxParameters = new ecs.LinuxParameters(this, 'Linux');
    linuxParameters.dropCapabilities(ecs.Capability.ALL);
    const metricsPort = metricsPortOf(props);
    const container = this.task.addContainer('relay', {
      containerName: 'relay',
      image:
        props.image ??
        ecs.ContainerImage.fromAsset(IMAGE.directory, {
          file: IMAGE.file,
          platform: arm ? Platform.LINUX_ARM64 : Platform.LINUX_AMD64,
          displayName: 'relay',
        }),
      command: [...COMMAND],
      environment: variables(props, home),
      secrets: { ...props.secrets, ...(home && typeof redis?.url === 'object' && { REDIS_URL: redis.url }) },
      portMappings: [
        { containerPort: RELAY_PORT, name: 'http' },
        ...(relay.prometheus ? [{ containerPort: relay.prometheus.port, name: 'metrics' }] : []),
      ],
      user: RELAY_USER,
      readonlyRootFilesystem: true,
      linuxParameters,
      ulimits: [{ name: ecs.UlimitName.NOFILE, softLimit: 1_048_576, hardLimit: 1_048_576 }],
      stopTimeout: Duration.seconds(STOP_TIMEOUT_SECONDS),
      ...(agent && { memoryLimitMiB: memoryMiBOf(props) }),
      healthCheck: {
        // The image has no shell and no curl, so the relay's own command asks the relay. Without a load balancer nobody else
        // asks for readiness, and ECS must not take a task for healthy that has no flags.
        command: ['CMD', 'ld-relay', relay.loadBalancer ? '--healthcheck' : '--readycheck', ...COMMAND],
        interval: Duration.seconds(30),
        timeout: Duration.seconds(10),
        retries: 3,
        // At most 300 s. LaunchDarkly may be slow to answer.
        startPeriod: Duration.seconds(relay.loadBalancer ? 60 : 300),
      },
      logging: ecs.LogDrivers.awsLogs({
        logGroup: this.logGroup,
        streamPrefix: 'relay',
        mode: ecs.AwsLogDriverMode.NON_BLOCKING,
        maxBufferSize: Size.mebibytes(25),
      }),
    });
    if (agent && metricsPort !== undefined) {
      new RelayAgent(this, 'Agent', {
        ...{ agent, stage, metricsPort, task: this.task, relay: container, logGroup: this.logGroup },
      });
    }
    props.eventsSpool?.addTo(this.task, container);
    if (home) flagTable.grantWrite(this.task.taskRole);
    // The relay asks them for heartbeats.
    if (home && relay.variables?.HEARTBEAT_REPLICAS !== undefined && flagTable.replicaRegions.length > 0) {
      flagTable.grantRead(this.task.taskRole, { regions: flagTable.replicaRegions });
    }
    if (!home) flagTable.grantRead(this.task.taskRole, { regions: [region] });
    this.task.taskRole.addToPrincipalPolicy(
      new PolicyStatement({
        actions: ['ssm:GetParameters', 'ssm:GetParametersByPath'],
        // GetParametersByPath is authorised on the path without its trailing slash, GetParameters on the names below it.
        resources: ['', '/*'].map((rest) => `${parameterArn(environmentsPath(stage).slice(1, -1), region)}${rest}`),
      }),
    );
    for (const role of [this.task.taskRole, this.task.obtainExecutionRole()]) props.encryptionKey?.grantDecrypt(role);
    this.grantPrincipal = this.task.taskRole;
    this.acknowledgeFindings(props);
  }

  /** Those of cdk-nag's AwsSolutions that are meant. On a role of yours only what is the relay's own. */
  private acknowledgeFindings({ stage, region, executionRole }: RelayTaskDefinitionProps): void {
    Validations.of(this.task).acknowledge({
      id: 'AwsSolutions-ECS2',
      reason: 'only settings that are not secret are in the task definition; the relay reads keys from SSM itself',
    });
    const path = `${environmentsPath(stage).slice(1)}*`;
    Validations.of(this.task.taskRole).acknowledge({
      id: `AwsSolutions-IAM5[Resource::arn:<AWS::Partition>:ssm:${region}:<AWS::AccountId>:parameter/${path}]`,
      reason: "the relay serves every environment below its stage's path, including those added later",
    });
    if (executionRole) return;
    Validations.of(this.task.obtainExecutionRole()).acknowledge({
      id: 'AwsSolutions-IAM5[Resource::*]',
      reason: 'ecr:GetAuthorizationToken does not support resources; pulling is granted on one repository only',
    });
  }
}

function parameterArn(name: string, region: string): string {
  return `arn:${Aws.PARTITION}:ssm:${region}:${Aws.ACCOUNT_ID}:parameter/${name}`;
}

/** Where the relay serves Prometheus metrics; undefined: nobody asks for them. */
function metricsPortOf({ relay, agent }: Pick<RelayTaskDefinitionProps, 'relay' | 'agent'>): number | undefined {
  return relay.prometheus?.port ?? (agent && METRICS_PORT);
}

function memoryMiBOf({ relay, agent }: Pick<RelayTaskDefinitionProps, 'relay' | 'agent'>): number {
  return relayMemoryMiB({ memoryMiB: relay.memoryMiB, agent });
}

/** The relay's settings, named as in `docs/configuration.md`. */
function variables(props: RelayTaskDefinitionProps, home: boolean): Record<string, string> {
  const { stage, region, flagTable, relay, redis, secrets, eventsSpool } = props;
  const { connectionSeconds } = drains[relay.drain];
  const metricsPort = metricsPortOf(props);
  const named = { ...secrets, ...relay.variables };
  const fromSsm = !otherSources.some((name) => Object.hasOwn(named, name));
  return {
    // Environments that only LaunchDarkly knows are apart in the table by their client-side IDs.
    ...(!fromSsm && { ENV_DATASTORE_PREFIX: '$CID' }),
    ...relay.variables,
    PORT: String(RELAY_PORT),
    HEARTBEAT_INTERVAL: `${relay.heartbeatSeconds}s`,
    ...(connectionSeconds > 0 && { MAX_CLIENT_CONNECTION_TIME: `${connectionSeconds}s` }),
    ...(fromSsm && { KEYS_FROM_SSM: environmentsPath(stage) }),
    USE_DYNAMODB: 'true',
    DYNAMODB_TABLE: flagTable.tableName,
    AWS_REGION: region,
    // Conditional writes are only reliable within one region, so only one region writes.
    STORE_WRITER: home ? 'auto' : 'never',
    DRAIN_WINDOW: `${DRAIN_WINDOW_SECONDS}s`,
    GRACEFUL_SHUTDOWN_TIMEOUT: `${SHUTDOWN_SECONDS}s`,
    LOG_LEVEL: relay.logLevel,
    METRICS_EMF: 'true',
    METRICS_NAMESPACE: metricsNamespace(stage),
    ...(metricsPort !== undefined && { USE_PROMETHEUS: 'true', PROMETHEUS_PORT: String(metricsPort) }),
    ...(redis && home && { USE_REDIS: 'true', ...(redis.cluster && { REDIS_CLUSTER: 'true' }) }),
    ...(home && typeof redis?.url === 'string' && { REDIS_URL: redis.url }),
    ...(eventsSpool && { EVENTS_SPOOL_DIR: SPOOL_DIRECTORY, EVENTS_SPOOL_MAX_BYTES: `${eventsSpool.maxMiB}MiB` }),
    // The user is not in the image's user list, and the AWS SDK needs a home directory.
    HOME: '/',
    // By default Node.js stops at 4 GB and leaves the rest of a large task unused.
    NODE_OPTIONS: `--max-old-space-size=${Math.floor(memoryMiBOf(props) * 0.75)}`,
  };
}
