import type { ReaderConfig } from '../../lambda/edge-reader/config.ts';
import type { Origin } from '../../lambda/edge-router/config.ts';

/**
 * One deployment of the app: what a stage file says. Regions, zones and names are literals, so that synthesis needs no
 * account and no look-up. Keys never stand here: they lie in SSM (`npm run keys`).
 */
export interface StageSettings {
  /** The AWS account, twelve digits; absent: the account of whoever deploys. */
  readonly account?: string;
  /** Where the relay writes. */
  readonly homeRegion: string;
  /** Where further replicas of the flag table are kept; never the home region. One may be added or removed per deployment. */
  readonly replicaRegions: readonly string[];
  /** The flag table's name, the same in every region: edge functions carry it as a literal. */
  readonly tableName: string;
  /** `existing`: the table and its replicas were made elsewhere, such as by ld-relay's users. Default `new`. */
  readonly table?: 'new' | 'existing';
  /** Whether what holds data outlives its stack, deletion is refused, and sizes and limits are a production's. */
  readonly production: boolean;
  /** Names of the LaunchDarkly environments whose keys lie in SSM: what preflight looks for and alarms watch. Default none. */
  readonly environments?: readonly string[];
  /** Replica regions that get a relay of their own, beside their applications; it never writes. Default none. */
  readonly relayRegions?: readonly string[];
  /** By region: home and `relayRegions`. Default: a new VPC in each. */
  readonly networks?: Readonly<Record<string, NetworkSettings>>;
  readonly relay?: RelaySettings;
  /** A further store that the home relay fills beside the table. Default none. */
  readonly redis?: RedisSettings;
  /** The edge router and its distribution. Absent: none. */
  readonly edge?: EdgeSettings;
  /** Whether each region with a replica gets the reader as a Lambda layer. Default true. */
  readonly readerLayer?: boolean;
  readonly alarms?: AlarmSettings;
  /** How long logs are kept: a number of days that CloudWatch Logs knows. Default 90 in production, else 14. */
  readonly logRetentionDays?: number;
  /** Further tags of everything. */
  readonly tags?: Readonly<Record<string, string>>;
}

export interface NetworkSettings {
  /** Default: a new one. */
  readonly vpc?: ExistingVpc;
  /** Of a new VPC. Default 10.0.0.0/16. */
  readonly cidr?: string;
  /** Availability zones of a new VPC, by name. Default: three of the region. */
  readonly zones?: readonly string[];
  /**
   * How tasks reach LaunchDarkly. `per-zone`: a NAT gateway in each zone; `one`: one for all; `none`: tasks stand in
   * public subnets with public addresses, reachable from the load balancer only. Default `per-zone` in production, else `none`.
   */
  readonly nat?: 'per-zone' | 'one' | 'none';
}

/** A VPC that is there already, given literally: no look-up is made. Its private subnets need a way out to LaunchDarkly. */
export interface ExistingVpc {
  readonly vpcId: string;
  readonly cidr: string;
  /** In the order of the subnets. */
  readonly zones: readonly string[];
  readonly privateSubnetIds: readonly string[];
  /** Needed for `relay.publicAccess` only. */
  readonly publicSubnetIds?: readonly string[];
}

export interface RelaySettings {
  /** Tasks that always run. Default 3; in production at least 3. */
  readonly tasks?: number;
  /** Default: four times as many. */
  readonly maxTasks?: number;
  /** CPU units of a task, 1,024 each vCPU. Default 4,096 in production (as an m4.xlarge), else 256. */
  readonly cpu?: number;
  /** Default 16,384 in production, else 1,024. */
  readonly memoryMiB?: number;
  /** Default arm64. */
  readonly architecture?: 'arm64' | 'x86_64';
  /** A prebuilt image, by URI. Default: built from `relay-task/Dockerfile` when deploying. */
  readonly image?: string;
  /**
   * The relay's name inside the VPC, which a DNS record of yours leads to the internal load balancer and the certificate
   * holds: the synthetic check asks for it. Default: it checks who issued the certificate, and no name.
   */
  readonly hostName?: string;
  /** ACM certificates of the internal load balancers, by region. Required in production; without one, plain HTTP. */
  readonly certificates?: Readonly<Record<string, string>>;
  /** Who may reach the internal load balancer. Default: the VPC's own addresses. */
  readonly allowedCidrs?: readonly string[];
  /** How often an idle stream carries a comment. Default 30. */
  readonly heartbeatSeconds?: number;
  /** The load balancers' idle timeout: above two heartbeats, below the relay's keep-alive of 4,010 s. Default 120. */
  readonly idleTimeoutSeconds?: number;
  /**
   * `quick`: a task that is replaced keeps its streams for a minute, then they are cut and SDKs reconnect. `gentle`:
   * streams live 10 minutes at most, and a task is kept until its last one has ended by itself. Default quick.
   */
  readonly drain?: 'quick' | 'gentle';
  /** Streams that are expected in all; tasks are provisioned for twice as many. */
  readonly expectedStreams?: number;
  /** What one task is to carry before others are added. Default 5,000. */
  readonly streamsPerTask?: number;
  /** CPU at which tasks are added. Default 50. */
  readonly cpuTargetPercent?: number;
  /** Load balancer capacity reserved ahead of a known rush, in LCU. Default none. */
  readonly reservedCapacityUnits?: number;
  /** Whether the load balancers write access logs to a bucket. Default: in production. */
  readonly accessLogs?: boolean;
  /** A public load balancer for browsers and mobile devices. Default none. */
  readonly publicAccess?: PublicAccessSettings;
  /** Default info. */
  readonly logLevel?: 'debug' | 'info' | 'warn' | 'error';
  /** Further settings of the relay (docs/configuration.md) that are no secrets. */
  readonly variables?: Readonly<Record<string, string>>;
  /** Further settings that are secrets, each by the name of the SSM SecureString that holds it. Read when a task starts. */
  readonly secrets?: Readonly<Record<string, string>>;
  /** KMS keys of SSM parameters that are not encrypted with AWS's own key for SSM, by region. */
  readonly encryptionKeys?: Readonly<Record<string, string>>;
  /** Any new text here replaces all tasks, one at a time. */
  readonly redeploy?: string;
}

/** Only the paths of browser and mobile SDKs are let through, behind a web ACL. */
export interface PublicAccessSettings {
  /** ACM certificates by region. Default: those of the internal load balancers. */
  readonly certificates?: Readonly<Record<string, string>>;
  /** What one address may ask in five minutes. Default 3,000. */
  readonly requestsPerFiveMinutes?: number;
  /** Further path patterns to let through. */
  readonly paths?: readonly string[];
}

/** Either ElastiCache Serverless (Valkey) in the relay's VPC, or an endpoint that is there already. */
export type RedisSettings =
  | { readonly serverless: { readonly maxStorageGb?: number; readonly maxEcpuPerSecond?: number } }
  | { readonly url: string };

export interface EdgeSettings {
  /** The environment's prefix in the flag table. */
  readonly prefix: string;
  /** The flag whose value names a variant. */
  readonly flagKey: string;
  /** Variant to origin. */
  readonly origins: Readonly<Record<string, Origin>>;
  readonly defaultVariant: string;
  readonly variantHeader?: string;
  readonly cookieName?: string;
  readonly cookieMaxAgeSeconds?: number;
  /** How fresh the edge is. */
  readonly reader?: Pick<ReaderConfig, 'refreshMs' | 'staleMs' | 'staleWaitMs' | 'coldDeadlineMs' | 'bigSegments'>;
  /** Names of the site besides CloudFront's own. */
  readonly domainNames?: readonly string[];
  /** Of those names, in us-east-1. */
  readonly certificateArn?: string;
  /** Default all. */
  readonly priceClass?: '100' | '200' | 'all';
  /** A web ACL of CloudFront's scope, by ARN. Default none. */
  readonly webAclArn?: string;
  /** Regions whose edge logs get a retention. Default: home, replicas and us-east-1; elsewhere edge logs never expire. */
  readonly logRegions?: readonly string[];
}

export interface AlarmSettings {
  /** Who hears of every alarm. */
  readonly emails?: readonly string[];
  /** Who is woken. Default: the same. */
  readonly pageEmails?: readonly string[];
}
