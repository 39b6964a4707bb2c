/**
 * What the relay's image and the infrastructure agree on. Names of settings are those of `docs/configuration.md`; a test
 * holds them against the relay's own table.
 */

/** Where the relay listens, whatever the image. */
export const RELAY_PORT = 8030;

/** Not a name: whoever runs as nobody owns nothing. Distroless images call it nonroot. */
export const RELAY_USER = '65532:65532';

/** How long the relay keeps an idle connection open; a load balancer has to give up earlier, or answers become 502s. */
export const KEEP_ALIVE_SECONDS = 4_010;

/** Fargate's longest time between SIGTERM and SIGKILL. AWS: ContainerDefinition, stopTimeout. */
export const STOP_TIMEOUT_SECONDS = 120;

/** Of that, what streams are closed over; the rest is for what waits to be written. */
export const DRAIN_WINDOW_SECONDS = 60;

/** When the relay gives up by itself and says so, rather than be killed in silence. */
export const SHUTDOWN_SECONDS = 110;

/**
 * `quick`: streams are cut by the load balancer when the delay is over, before SIGTERM.
 * `gentle`: the delay outlasts the longest life of a stream, so that there is nothing left to cut.
 */
export const drains = {
  quick: { deregistrationSeconds: 60, connectionSeconds: 0 },
  gentle: { deregistrationSeconds: 660, connectionSeconds: 600 },
} as const;

/** Where keys and settings of a stage's environments lie in SSM. */
export function environmentsPath(stage: string): string {
  return `/edge-flag-relay/${stage}/environments/`;
}

export function clusterName(stage: string): string {
  return `edge-flag-relay-${stage}`;
}

export const SERVICE_NAME = 'relay';

export function relayLogGroupName(stage: string): string {
  return `/edge-flag-relay/${stage}/relay`;
}

/** CloudWatch's name for everything that a stage's relays measure. */
export function metricsNamespace(stage: string): string {
  return `EdgeFlagRelay/${stage}`;
}

/** What a task says about its open streams once a minute, without a dimension: one value per task. */
export const STREAMS_METRIC = 'StreamsOpen';

/** Settings that the construct decides; whoever sets them otherwise would break what it promises. */
export const managedVariables: readonly string[] = [
  'PORT',
  'HEARTBEAT_INTERVAL',
  'MAX_CLIENT_CONNECTION_TIME',
  'KEYS_FROM_SSM',
  'USE_DYNAMODB',
  'DYNAMODB_TABLE',
  'AWS_REGION',
  'STORE_WRITER',
  'DRAIN_WINDOW',
  'GRACEFUL_SHUTDOWN_TIMEOUT',
  'LOG_LEVEL',
  'METRICS_EMF',
  'METRICS_NAMESPACE',
  'USE_PROMETHEUS',
  'USE_REDIS',
  'REDIS_URL',
  'REDIS_CLUSTER',
];

/** Why a size is none of Fargate's; undefined if it is one. AWS: Amazon ECS task definition parameters for Fargate, task size. */
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
  if (!possible) return `for a CPU of ${Object.keys(sizes).join(', ')}, not ${cpu}`;
  if (possible.includes(memoryMiB)) return undefined;
  const [first, second] = possible;
  const step = second! - first!;
  const even = possible.every((size, index) => size === first! + index * step);
  return even
    ? `from ${first} to ${possible.at(-1)} in steps of ${step} with a CPU of ${cpu}`
    : `${possible.join(', ')} with a CPU of ${cpu}`;
}

/** Why an idle timeout would cut streams or answers; undefined if it would not. */
export function describeTimeoutProblem(timeouts: {
  readonly idleTimeoutSeconds: number;
  readonly heartbeatSeconds: number;
}): string | undefined {
  const { idleTimeoutSeconds: idle, heartbeatSeconds: beat } = timeouts;
  // One comment may be lost or late and the stream still lives.
  if (idle > 2 * beat && idle < KEEP_ALIVE_SECONDS) return undefined;
  return `above two heartbeats of ${beat} s and below the relay's keep-alive of ${KEEP_ALIVE_SECONDS} s`;
}
