/**
 * The contract between the relay's image and the infrastructure. Setting names are those of `docs/configuration.md`; a test
 * compares them with the relay's own table.
 */
import type { IConstruct } from 'constructs';
import type { AgentSettings } from './stage-settings.ts';

/** The port on which every relay image listens. */
export const RELAY_PORT = 8030;

/** Numeric, since an image may have no user list. Distroless images call this user nonroot. */
export const RELAY_USER = '65532:65532';

/** How long the relay keeps an idle connection open; a load balancer must close it sooner, or clients get 502s. */
export const KEEP_ALIVE_SECONDS = 4_010;

/** Fargate's longest time between SIGTERM and SIGKILL. AWS: ContainerDefinition, stopTimeout. */
export const STOP_TIMEOUT_SECONDS = 120;

/** The part of that time over which streams are closed; the rest is for pending writes. */
export const DRAIN_WINDOW_SECONDS = 60;

/** When the relay gives up and logs it, instead of being killed silently. */
export const SHUTDOWN_SECONDS = 110;

/**
 * `quick`: the load balancer cuts streams when the delay ends, before SIGTERM.
 * `gentle`: the delay is longer than any stream lives, so none is cut.
 */
export const drains = {
  quick: { deregistrationSeconds: 60, connectionSeconds: 0 },
  gentle: { deregistrationSeconds: 660, connectionSeconds: 600 },
} as const;

/** The fewest tasks of a production relay. LaunchDarkly: at least three instances, in at least two zones. */
export const LEAST_TASKS = 3;

/**
 * ECS's maximumPercent: how many tasks, old and new, a deployment may run at a time. It replaces what is above 100 %, rounded down.
 *
 * - It must let even the smallest fleet start a task, or the deployment would wait for ever; and that fleet may still have the
 *   size from before the deployment, since the scaling target is updated after the service. So it does not depend on the size.
 * - A large fleet must not take longer than CloudFormation waits, three hours, however gently its tasks drain.
 *
 * In production, with three tasks or more, a fleet is replaced by a quarter to a third at a time, and three tasks one by one. Elsewhere
 * fleets may have one task, so all of them are replaced at once.
 */
export function maximumPercent(tasks: number, production: boolean): number {
  return production && tasks >= LEAST_TASKS ? Math.ceil((100 * (LEAST_TASKS + 1)) / LEAST_TASKS) : 200;
}

/** What is wrong with a stage's name, as the end of a sentence, else undefined. Names of resources, metrics and parameters contain it. */
export function describeStageName(name: string): string | undefined {
  if (!/^[a-z][a-z0-9-]{0,23}$/.test(name)) {
    return 'must be 1 to 24 characters from a-z 0-9 -, starting with a letter: resource names contain it';
  }
  return name.endsWith('-edge')
    ? `must not end with -edge: alarms of the edge of stage ${name.slice(0, -5)} have the same names`
    : undefined;
}

/** Throws an Error if a construct's stage cannot be one. */
export function checkStageName({ node }: IConstruct, stage: string): void {
  const problem = describeStageName(stage);
  if (problem !== undefined) throw new Error(`${node.path}: stage ${JSON.stringify(stage)} ${problem}`);
}

/** The SSM path of the keys and settings of a stage's environments. */
export function environmentsPath(stage: string): string {
  return `/edge-flag-relay/${stage}/environments/`;
}

/** Physical names of a relay's resources. */
export interface RelayNames {
  /** @default CloudFormation's, as for all of these */
  readonly clusterName?: string;
  readonly serviceName?: string;
  /** The family of the task definition. */
  readonly family?: string;
  readonly logGroupName?: string;
  readonly webAclName?: string;
  readonly deploymentAlarmName?: string;
}

/** Those of a stage, whose stacks and commands know each other's resources by name. */
export function relayNames(stage: string): Required<RelayNames> {
  return {
    clusterName: clusterName(stage),
    serviceName: SERVICE_NAME,
    family: `edge-flag-relay-${stage}`,
    logGroupName: relayLogGroupName(stage),
    webAclName: `edge-flag-relay-${stage}`,
    deploymentAlarmName: `edge-flag-relay-${stage}-deployment-5xx`,
  };
}

export function clusterName(stage: string): string {
  return `edge-flag-relay-${stage}`;
}

export const SERVICE_NAME = 'relay';

export function relayLogGroupName(stage: string): string {
  return `/edge-flag-relay/${stage}/relay`;
}

/** The CloudWatch namespace of a stage's relay metrics. */
export function metricsNamespace(stage: string): string {
  return `EdgeFlagRelay/${stage}`;
}

/** Each task reports its open streams once a minute under this name, without dimensions. */
export const STREAMS_METRIC = 'StreamsOpen';

/** The port for Prometheus metrics, unless the stage has another. */
export const METRICS_PORT = 8031;

/** Settings that the construct controls, since overriding them would break what it guarantees; each with what to do instead. */
export const managedVariables: Readonly<Record<string, string>> = {
  PORT: `load balancer and health check use ${RELAY_PORT}`,
  LISTEN_HOST: 'load balancer and health check use any address of the task',
  TLS_ENABLED: 'set relay.certificates: TLS ends at the load balancer',
  HEARTBEAT_INTERVAL: 'set relay.heartbeatSeconds',
  MAX_CLIENT_CONNECTION_TIME: 'set relay.drain',
  KEYS_FROM_SSM:
    'the path contains the name of the stage; relay.secrets.AUTO_CONFIG_KEY is another source of environments',
  USE_DYNAMODB: 'every relay fills or reads the flag table',
  DYNAMODB_TABLE: 'set tableName',
  AWS_REGION: 'set homeRegion and relayRegions',
  STORE_WRITER: 'set homeRegion: only its relay writes',
  DRAIN_WINDOW: `it fits the ${STOP_TIMEOUT_SECONDS} s that Fargate gives a task`,
  GRACEFUL_SHUTDOWN_TIMEOUT: `it fits the ${STOP_TIMEOUT_SECONDS} s that Fargate gives a task`,
  LOG_LEVEL: 'set relay.logLevel',
  METRICS_EMF: 'scaling and alarms need these metrics',
  METRICS_NAMESPACE: 'scaling, alarms and the dashboard read it by the name of the stage',
  USE_PROMETHEUS: 'set relay.prometheus',
  PROMETHEUS_PORT: 'set relay.prometheus.port',
  REDIS_URL: 'set redis',
  HOME: 'the AWS SDK needs it, and the user of the image has none',
  NODE_OPTIONS: 'set relay.memoryMiB, which the size of the heap follows',
};

/** Settings that `redis` decides in a stage that has it. Without it they are free, for Sentinels for example. */
export const redisVariables: readonly string[] = [
  'USE_REDIS',
  'REDIS_CLUSTER',
  'REDIS_HOST',
  'REDIS_PORT',
  'REDIS_SENTINELS',
];

/** Settings that `eventsSpool` decides where it is. */
export const spoolVariables: readonly string[] = ['EVENTS_SPOOL_DIR', 'EVENTS_SPOOL_MAX_BYTES'];

/** Settings of a relay whose events matter: it forwards them, and queues as many at once as one of LaunchDarkly's SDKs. */
export const eventVariables: Readonly<Record<string, string>> = { USE_EVENTS: 'true', EVENTS_CAPACITY: '10000' };

/** Whether a relay with these variables forwards events. */
export function forwardsEvents({ USE_EVENTS: value = '' }: Readonly<Record<string, string>>): boolean {
  return /^(true|1|yes|on)$/i.test(value);
}

/** Settings that name another source of environments than SSM. */
export const otherSources: readonly string[] = ['AUTO_CONFIG_KEY', 'FILE_DATA_SOURCE'];

/** The images of agents, by tag; renovate.json has the update bot keep them current. */
export const agentImages = {
  datadog: 'public.ecr.aws/datadog/agent:7.63.3',
  otel: 'public.ecr.aws/aws-observability/aws-otel-collector:v0.46.0',
} as const;

/** What every agent has, with its defaults. */
export function agentOf(agent: AgentSettings<unknown>): { readonly memoryMiB: number } {
  const { memoryMiB = 256 } = 'datadog' in agent ? agent.datadog : agent.otel;
  return { memoryMiB };
}

/** What a task of this size leaves to the relay's own container. */
export function relayMemoryMiB({
  memoryMiB,
  agent,
}: {
  readonly memoryMiB: number;
  readonly agent?: AgentSettings<unknown> | undefined;
}): number {
  return agent ? memoryMiB - agentOf(agent).memoryMiB : memoryMiB;
}

/** The least memory with which the relay is used here: Fargate's smallest task. */
const LEAST_MEMORY_MIB = 512;

/** Which memory is needed if an agent leaves the relay too little, else undefined. */
export function describeAgentProblem(size: {
  readonly memoryMiB: number;
  readonly agent?: AgentSettings<unknown> | undefined;
}): string | undefined {
  const { agent } = size;
  if (!agent || relayMemoryMiB(size) >= LEAST_MEMORY_MIB) return undefined;
  const { memoryMiB } = agentOf(agent);
  return `at least ${LEAST_MEMORY_MIB + memoryMiB}: ${memoryMiB} for the agent and ${LEAST_MEMORY_MIB} for the relay`;
}

/** Which sizes Fargate offers if this is not one of them, else undefined. AWS: Amazon ECS task definition parameters for Fargate, task size. */
export function describeFargateProblem(cpu: number, memoryMiB: number): string | undefined {
  const gib = (from: number, to: number, step = 1) =>
    Array.from({ length: (to - from) / step + 1 }, (_, index) => (from + index * step) * 1024);
  const sizes: Record<number, number[]> = {
    256: [512, 1024, 2048],
    512: gib(1, 4),
    1024: gib(2, 8),
    2048: gib(4, 16),
    4096: gib(8, 30),
    8192: gib(16, 60, 4),
    16384: gib(32, 120, 8),
    32768: [60, 120, 244].map((size) => size * 1024),
  };
  const possible = sizes[cpu];
  if (!possible) return `a CPU of ${Object.keys(sizes).join(', ')}, not ${cpu}`;
  if (possible.includes(memoryMiB)) return undefined;
  const [first, second] = possible;
  const step = second! - first!;
  const even = possible.every((size, index) => size === first! + index * step);
  return even
    ? `from ${first} to ${possible.at(-1)} in steps of ${step} with a CPU of ${cpu}`
    : `${possible.join(', ')} with a CPU of ${cpu}`;
}

/** Which idle timeouts are allowed if this one would cut streams or answers, else undefined. */
export function describeTimeoutProblem(timeouts: {
  readonly idleTimeoutSeconds: number;
  readonly heartbeatSeconds: number;
}): string | undefined {
  const { idleTimeoutSeconds: idle, heartbeatSeconds: beat } = timeouts;
  // A stream must survive one lost or late heartbeat.
  if (idle > 2 * beat && idle < KEEP_ALIVE_SECONDS) return undefined;
  return `more than two heartbeats of ${beat} s and less than the relay's keep-alive of ${KEEP_ALIVE_SECONDS} s`;
}
