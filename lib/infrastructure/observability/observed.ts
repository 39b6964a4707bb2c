/** What of one stage is looked at: names, as they stand in CloudWatch. Literals or tokens of the same region. */
export interface Observed {
  readonly stage: string;
  /** Of the relay's own metrics: its METRICS_NAMESPACE. */
  readonly namespace: string;
  /** Those that get alarms of their own; others, such as those of auto-configuration, count in the relay's as a whole. */
  readonly environments: readonly string[];
  readonly clusterName: string;
  readonly serviceName: string;
  readonly logGroupName: string;
  /** How many tasks always run. */
  readonly tasks: number;
  /** Whether the cluster has Container Insights, which alone tell how many tasks run. */
  readonly containerInsights: boolean;
  /** Internal first. None: everything about them is left out. */
  readonly loadBalancers: readonly ObservedLoadBalancer[];
  readonly tableName: string;
  readonly homeRegion: string;
  readonly replicaRegions: readonly string[];
  /** Of the relay's region. */
  readonly certificateArns: readonly string[];
  /** Whether these relays write the table: those at home. */
  readonly writes: boolean;
  /** Whether the synthetic check runs. */
  readonly canary: boolean;
  readonly edge?: ObservedEdge | undefined;
}

export interface ObservedLoadBalancer {
  readonly name: string;
  /** `app/<name>/<id>`. */
  readonly fullName: string;
  /** `targetgroup/<name>/<id>`. */
  readonly targetGroupFullName: string;
}

export interface ObservedEdge {
  readonly functionNames: readonly string[];
  /** Where they may run. */
  readonly regions: readonly string[];
  readonly distributionId?: string | undefined;
}

/** CloudWatch's name for what the synthetic check measures. */
export function canaryNamespace(stage: string): string {
  return `EdgeFlagRelayCanary/${stage}`;
}
