import type { Duration } from 'aws-cdk-lib';
import type { IConstruct } from 'constructs';
import { DEFAULT_REFRESH_MS } from '../../../lambda/edge-reader/config.ts';
import { promises } from '../../monitoring/index.ts';
import type { EdgeSettings } from '../stage-settings.ts';

/** The monitored parts of one stage, by their CloudWatch names. Literals or tokens of the same region. */
export interface Observed {
  readonly stage: string;
  /** The namespace of the relay's own metrics: its METRICS_NAMESPACE. */
  readonly namespace: string;
  /** Environments with their own alarms. */
  readonly environments: readonly string[];
  /** Whether relays may serve others too, which have alarms together. @default false */
  readonly otherEnvironments?: boolean;
  /** Where these relays run. @default the region of the stack */
  readonly region?: string;
  readonly clusterName: string;
  readonly serviceName: string;
  readonly logGroupName: string;
  /** The minimum number of tasks. */
  readonly tasks: number;
  /** Whether the cluster has Container Insights, the only source of task counts. */
  readonly containerInsights: boolean;
  /** The internal one first. If empty, their alarms and widgets are left out. */
  readonly loadBalancers: readonly ObservedLoadBalancer[];
  readonly tableName: string;
  readonly homeRegion: string;
  readonly replicaRegions: readonly string[];
  /** Certificates in the relay's region. */
  readonly certificateArns: readonly string[];
  /** Whether these relays write to the table, as those in the home region do. */
  readonly writes: boolean;
  /** Whether the synthetic check runs. */
  readonly canary: boolean;
  /** Heartbeat flags, as far as is known here. @default none */
  readonly heartbeats?: ObservedHeartbeats | undefined;
  /** How often it runs. @default once a minute */
  readonly canaryEvery?: Duration;
  readonly edge?: ObservedEdge | undefined;
}

/** Flags that are named only in SSM are not known when alarms are made. */
export interface ObservedHeartbeats {
  /** Whether relays look for them in replicas of the table. */
  readonly replicas: boolean;
}

/** The relay's settings of heartbeat flags; `HEARTBEAT_INTERVAL` is about comments on streams. */
const HEARTBEAT_VARIABLE = /^(LD_)?HEARTBEAT_(FLAG|PROJECT|API_|REPLICAS)/;

/** Variables and secrets of a relay by which heartbeats are switched on. `edgeFlag`: the flag of a router that measures them. */
export function heartbeatsOf(
  relay: Readonly<Partial<Record<'variables' | 'secrets', Readonly<Record<string, unknown>>>>>,
  edgeFlag?: string,
): ObservedHeartbeats | undefined {
  const given = { ...relay.variables, ...relay.secrets };
  const known = Object.keys(given).some((name) => HEARTBEAT_VARIABLE.test(name));
  return known || edgeFlag !== undefined ? { replicas: Object.hasOwn(given, 'HEARTBEAT_REPLICAS') } : undefined;
}

/** What of a relay is watched besides itself. */
export interface ObserveOptions {
  /** Environments with their own alarms. @default none: alarms are on all together */
  readonly environments?: readonly string[] | undefined;
  /** Whether relays may serve others too: those in SSM or of auto-configuration that are not named here. @default true */
  readonly otherEnvironments?: boolean | undefined;
  /** The synthetic check, a `RelayCanary`. @default none */
  readonly canary?: (IConstruct & { readonly every?: Duration }) | undefined;
}

/** What alarms and the dashboard watch: a `RelayService`, or one of another app. */
export interface IObservedRelay {
  observed(options?: ObserveOptions): Observed;
}

export interface ObservedLoadBalancer {
  readonly name: string;
  /** `app/<name>/<id>`. */
  readonly fullName: string;
  /** `targetgroup/<name>/<id>`. */
  readonly targetGroupFullName: string;
  /** Whether other services use it too: what it answers by itself may be theirs. @default false */
  readonly shared?: boolean;
  /** @default the region of the stack */
  readonly region?: string;
}

/** The same for a stack in this region: only what is elsewhere has a region, which metrics then name. */
export function seenFrom({ region, ...observed }: Observed, here: string): Observed {
  if (region === undefined || region === here) return observed;
  return { ...observed, region, loadBalancers: observed.loadBalancers.map((one) => ({ ...one, region })) };
}

export interface ObservedEdge {
  readonly functionNames: readonly string[];
  /** Regions in which they may run. */
  readonly regions: readonly string[];
  readonly distributionId?: string | undefined;
  /** The metrics that count decisions by variation. */
  readonly decisions: readonly string[];
  /** Whether the synthetic check asks the distribution. */
  readonly checked: boolean;
  /** With a heartbeat flag: how many seconds a change may take from LaunchDarkly to the edge. @default it is not measured */
  readonly heartbeatSeconds?: number | undefined;
  /** Whether exposures are collected in these regions. @default false */
  readonly exposures?: boolean;
}

/** What is promised of a router with a heartbeat flag. */
export function heartbeatSecondsOf({
  heartbeatFlag,
  reader,
}: Pick<EdgeSettings, 'heartbeatFlag' | 'reader'>): number | undefined {
  if (heartbeatFlag === undefined) return undefined;
  return promises.edge + (reader?.refreshMs ?? DEFAULT_REFRESH_MS) / 1_000;
}

/** The CloudWatch namespace of what edge functions say of their decisions, in each region where they run. */
export function edgeNamespace(stage: string): string {
  return `EdgeFlagRelayEdge/${stage}`;
}

/** The CloudWatch namespace of the synthetic check. */
export function canaryNamespace(stage: string): string {
  return `EdgeFlagRelayCanary/${stage}`;
}
