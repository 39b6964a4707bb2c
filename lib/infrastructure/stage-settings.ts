import type { ReaderConfig } from '../../lambda/edge-reader/config.ts';
import type {
  ContextSettings,
  Origin,
  PreviewSettings,
  Rule,
  ShadowSettings,
  ViewerSettings,
} from '../../lambda/edge-router/config.ts';
import type { BehaviorSettings, ExposureSettings, PathBehaviorSettings } from './edge-settings.ts';
import type { Thresholds } from './observability/thresholds.ts';

/**
 * One deployment of the app, as a stage file describes it. Regions, zones and names are literals, so that synthesis needs no
 * account and no lookups. Keys are never in this file but in SSM (`npm run keys`).
 */
export interface StageSettings {
  /** The AWS account, twelve digits. Default: the account of the credentials used to deploy. */
  readonly account?: string;
  /** The region in which the relay writes. */
  readonly homeRegion: string;
  /** Regions of additional flag table replicas, without the home region. Add or remove one per deployment. */
  readonly replicaRegions: readonly string[];
  /** The flag table's name, the same in every region: edge functions contain it as a literal. */
  readonly tableName: string;
  /** `existing`: the table and its replicas already exist, for example from ld-relay. Default `new`. */
  readonly table?: 'new' | 'existing';
  /** Whether the table is retained when its stack is deleted, and sizes and limits are for production. */
  readonly production: boolean;
  /**
   * Whether stacks, load balancers and the table in the home region are protected from deletion. Set it after the first successful
   * deployment: a protected stack whose creation failed can be neither rolled back nor repeated. Default false; production warns.
   */
  readonly protected?: boolean;
  /** Names of the LaunchDarkly environments whose keys are in SSM; preflight checks them and alarms watch them. Default none. */
  readonly environments?: readonly string[];
  /** Replica regions with their own relay, close to their applications; it never writes. Default none. */
  readonly relayRegions?: readonly string[];
  /** By region: the home region and `relayRegions`. Default: a new VPC in each. */
  readonly networks?: Readonly<Record<string, NetworkSettings>>;
  readonly relay?: RelaySettings;
  /**
   * ARNs of KMS keys of yours, by region, for the table and its replicas, log groups, alarm topics, the cache, the spool of events, and SSM parameters: one for each
   * region of the stage. Their policies must allow it (docs/deploying.md). Default: AWS's keys.
   */
  readonly encryptionKeys?: Readonly<Record<string, string>>;
  /** An additional store that the relay in the home region fills. Default none. */
  readonly redis?: RedisSettings;
  /** The edge router and its distribution. Default none. */
  readonly edge?: EdgeSettings;
  /** Whether each region with a replica gets the reader as a Lambda layer. Default true. */
  readonly readerLayer?: boolean;
  readonly alarms?: AlarmSettings;
  /** Log retention in days, one of the values that CloudWatch Logs accepts. Default 90 in production, else 14. */
  readonly logRetentionDays?: number;
  /** Additional tags for all resources. */
  readonly tags?: Readonly<Record<string, string>>;
}

export interface NetworkSettings {
  /** Default: a new VPC. */
  readonly vpc?: ExistingVpc;
  /** The address range of a new VPC. Default 10.0.0.0/16. */
  readonly cidr?: string;
  /** Names of a new VPC's availability zones, at least two. Default: three zones of the region, or two where it has no more. */
  readonly zones?: readonly string[];
  /**
   * How tasks reach LaunchDarkly. `per-zone`: a NAT gateway in each zone; `one`: one for all; `none`: tasks are in public
   * subnets with public addresses, reachable only from the load balancer. Default `per-zone` in production, else `none`.
   */
  readonly nat?: 'per-zone' | 'one' | 'none';
}

/** An existing VPC, given literally: there is no lookup. Its private subnets need outbound access to LaunchDarkly. */
export interface ExistingVpc {
  readonly vpcId: string;
  readonly cidr: string;
  /** In the order of the subnets. */
  readonly zones: readonly string[];
  readonly privateSubnetIds: readonly string[];
  /** Only needed for `relay.publicAccess`. */
  readonly publicSubnetIds?: readonly string[];
}

export interface RelaySettings {
  /** Tasks that always run. Default 3; in production at least 3. */
  readonly tasks?: number;
  /** Default: four times `tasks`. */
  readonly maxTasks?: number;
  /** CPU units of a task, 1,024 per vCPU. Default 4,096 in production (as an m4.xlarge), else 256. */
  readonly cpu?: number;
  /** Default 16,384 in production, else 1,024. */
  readonly memoryMiB?: number;
  /** Default arm64. */
  readonly architecture?: 'arm64' | 'x86_64';
  /** The URI of a prebuilt image. Default: built from `relay-task/Dockerfile` during deployment. */
  readonly image?: string;
  /**
   * The relay's host name inside the VPC, the same in every region: the certificate contains it, and a DNS record, yours or that of
   * `hostedZone`, points it at the internal load balancer. The synthetic check uses it. Default: the check verifies the certificate's
   * issuer but not its name.
   */
  readonly hostName?: string;
  /** Where `hostName` gets its record and, in regions without one in `certificates`, its certificate. Default: you make both. */
  readonly hostedZone?: HostedZoneSettings;
  /**
   * `false`: no load balancer, for applications that only read stores (daemon mode) and the edge. No SDK can connect then, and the health of
   * a task is its readiness. Default true.
   */
  readonly loadBalancer?: boolean;
  /** ACM certificates of the internal load balancers, by region. Required in production; without one, plain HTTP. */
  readonly certificates?: Readonly<Record<string, string>>;
  /** Address ranges that may reach the internal load balancer. Default: the VPC's own. */
  readonly allowedCidrs?: readonly string[];
  /** How often an idle stream gets a heartbeat comment. Default 30. */
  readonly heartbeatSeconds?: number;
  /** The load balancers' idle timeout: more than two heartbeats, less than the relay's keep-alive of 4,010 s. Default 120. */
  readonly idleTimeoutSeconds?: number;
  /**
   * For how long a new task may fail the load balancers' health checks. 0 leaves it to ECS, which begins at once: needed in the deployment
   * that gives a relay without load balancer one (docs/deploying.md). Default 60.
   */
  readonly healthCheckGraceSeconds?: number;
  /**
   * `quick`: a replaced task keeps its streams for a minute, then they are cut and SDKs reconnect. `gentle`: streams last
   * 10 minutes at most, and a replaced task runs until its last stream has ended. Default quick.
   */
  readonly drain?: 'quick' | 'gentle';
  /** The total number of streams that you expect; tasks are provisioned for twice as many. */
  readonly expectedStreams?: number;
  /** Streams per task above which tasks are added. Default 5,000. */
  readonly streamsPerTask?: number;
  /** CPU utilisation above which tasks are added. Default 50. */
  readonly cpuTargetPercent?: number;
  /** Load balancer capacity reserved for traffic spikes, in LCU. Default none. */
  readonly reservedCapacityUnits?: number;
  /** Whether the load balancers write access logs to a bucket. Default: in production. */
  readonly accessLogs?: boolean;
  /** A public load balancer for browsers and mobile devices. Default none. */
  readonly publicAccess?: PublicAccessSettings;
  /** Default info. */
  readonly logLevel?: 'debug' | 'info' | 'warn' | 'error';
  /** Prometheus metrics of each task, at `GET /metrics` on a port of its own. Default none. */
  readonly prometheus?: PrometheusSettings;
  /** A metrics agent beside the relay in each task, which reads its Prometheus metrics and sends them on. Default none. */
  readonly agent?: AgentSettings;
  /**
   * A directory for events that outlives tasks, on EFS, so that what is accepted and not delivered survives them. Events are forwarded then.
   * Default none: they are in memory only.
   */
  readonly eventsSpool?: EventsSpoolSettings;
  /** Additional relay settings (docs/configuration.md) that are not secret. */
  readonly variables?: Readonly<Record<string, string>>;
  /** Additional secret settings, each with the name of its SSM SecureString, or the ARN of its secret in Secrets Manager. Read when a task starts. */
  readonly secrets?: Readonly<Record<string, string>>;
  /** KMS keys of SSM parameters that are not encrypted with the AWS managed key, by region. Default: `encryptionKeys` of the stage. */
  readonly encryptionKeys?: Readonly<Record<string, string>>;
  /** Change this string to replace all tasks, as a deployment does: in production, a third of them at a time. */
  readonly redeploy?: string;
}

export interface EventsSpoolSettings {
  /** How much each task may keep there, with what it takes over from tasks that have ended. Default 256. */
  readonly maxMiB?: number;
  /** By region, file systems of yours. Default: a new one in the VPC of each relay, which stays if `production` when it leaves its stack. */
  readonly existing?: Readonly<Record<string, ExistingFileSystem>>;
}

/** With a mount target in the zone of each task, which its security group lets tasks reach. */
export interface ExistingFileSystem {
  readonly fileSystemId: string;
  /** Its POSIX user must own its directory. */
  readonly accessPointId: string;
  /** Of its mount targets: gets a rule that lets tasks in. */
  readonly securityGroupId: string;
}

/** A Route 53 hosted zone in the stage's account, given literally: there is no lookup. */
export interface HostedZoneSettings {
  /** Such as Z0123456789ABCDEFGHIJ. */
  readonly id: string;
  /** The zone's domain name, without a dot at its end. */
  readonly name: string;
  /**
   * Whether it is a private zone, which you associate with the VPCs of your applications. ACM cannot validate names in it: certificates
   * are given. Default false.
   */
  readonly private?: boolean;
}

/** Its memory is part of the task's `memoryMiB`. */
export type AgentSettings<Secret = string> =
  | { readonly datadog: DatadogSettings<Secret> }
  | { readonly otel: OtelSettings<Secret> };

interface AgentContainerSettings {
  /** Default: a version of the agent that this project names, from Amazon's public registry. */
  readonly image?: string;
  /** Default 256. */
  readonly memoryMiB?: number;
}

/** A Datadog agent. */
export interface DatadogSettings<Secret = string> extends AgentContainerSettings {
  /** The API key: the name of an SSM SecureString, or the ARN of a secret in Secrets Manager, with `:<field>` if it is JSON. */
  readonly apiKey: Secret;
  /** Default datadoghq.com. */
  readonly site?: string;
  /** Additional tags, such as `team:platform`. Default none; `stage:<stage>` is always there. */
  readonly tags?: readonly string[];
}

/** AWS's distribution of the OpenTelemetry collector. It needs `endpoint` or `config`. */
export interface OtelSettings<Secret = string> extends AgentContainerSettings {
  /** Where OTLP over HTTP goes, without `/v1/metrics`. */
  readonly endpoint?: string;
  /** Headers for the endpoint, each with the SSM parameter or the secret that holds its value. Default none. */
  readonly headers?: Readonly<Record<string, Secret>>;
  /** The collector's whole configuration, YAML, instead of `endpoint`. The relay's metrics are at `localhost:8031/metrics`. */
  readonly config?: string;
  /** Variables for `config`, each with the SSM parameter or the secret that holds its value. Default none. */
  readonly secrets?: Readonly<Record<string, Secret>>;
}

export interface PrometheusSettings {
  /** Default 8031. */
  readonly port?: number;
  /** Address ranges that may reach that port of tasks. Default: the VPC's own. */
  readonly allowedCidrs?: readonly string[];
  /**
   * A private DNS namespace to create for the VPC, such as `flags.internal`: `relay.flags.internal` then resolves to the addresses of tasks,
   * for `dns_sd_configs`; DNS answers with at most eight of them at a time. Default none.
   */
  readonly namespace?: string;
}

/** Only accepts the paths of browser and mobile SDKs, behind a web ACL. */
export interface PublicAccessSettings {
  /** Its host name, the same in every region. Only needed for `hostedZone`. */
  readonly hostName?: string;
  /** Where `hostName` gets its record and, in regions without one in `certificates`, its certificate. Default: you make both. */
  readonly hostedZone?: HostedZoneSettings;
  /** ACM certificates by region. Default: those of the internal load balancers, or made in `hostedZone`. */
  readonly certificates?: Readonly<Record<string, string>>;
  /** Requests per address in five minutes. Default 3,000. */
  readonly requestsPerFiveMinutes?: number;
  /** Additional path patterns to accept. */
  readonly paths?: readonly string[];
}

/** ElastiCache Serverless (Valkey) in the relay's VPC, or an existing endpoint. */
export type RedisSettings =
  | { readonly serverless: { readonly maxStorageGb?: number; readonly maxEcpuPerSecond?: number } }
  | {
      readonly url: string;
      /** Whether it is a node of a Redis Cluster, or its configuration endpoint. Default false. */
      readonly cluster?: boolean;
    };

export interface EdgeSettings {
  /** The environment's prefix in the flag table. */
  readonly prefix: string;
  /** Flags for certain requests, and what their variations do, tried in order before `flagKey`. Default none. */
  readonly rules?: readonly Rule[];
  /** The flag whose value names the origin of requests for which no rule has chosen one. Default: none; there are rules then. */
  readonly flagKey?: string;
  /** The origins that flags can choose, by name: the variants. */
  readonly origins: Readonly<Record<string, Origin>>;
  /** The origin of requests for which nothing else has chosen one, and while the flag cannot be evaluated. */
  readonly defaultVariant: string;
  readonly variantHeader?: string;
  readonly cookieName?: string;
  readonly cookieMaxAgeSeconds?: number;
  readonly cookieDomain?: string;
  readonly cookiePath?: string;
  readonly cookieSameSite?: 'Lax' | 'Strict' | 'None';
  readonly cookieHttpOnly?: boolean;
  readonly cookieSecure?: boolean;
  /**
   * A JSON file with the environment's flags, as `GET /sdk/latest-all` of the relay gives them: from the directory of the app. The router is built with
   * its flags, and answers from them while it could not read any. Default: none, and viewers then get the default variant.
   */
  readonly bootstrapFile?: string;
  /** Which id decides, and what happens without one. Default: the id in the cookie, which new viewers get. */
  readonly viewer?: ViewerSettings;
  /** Signed links by which testers see values of flags of their choice. Default none. */
  readonly preview?: PreviewSettings;
  /** Which requests are shadow traffic, so that origins can tell and nothing counts them. Default none. */
  readonly shadow?: ShadowSettings;
  /** What flags see of requests besides the viewer's own attributes. Default none. */
  readonly attributes?: ContextSettings['attributes'];
  /** Contexts besides the viewer, by kind. Default none. */
  readonly contexts?: ContextSettings['contexts'];
  /** How fresh the edge is. */
  readonly reader?: Pick<ReaderConfig, 'refreshMs' | 'maxWaitMs' | 'coldDeadlineMs' | 'bigSegments'>;
  /** Origins of requests that the flag does not route, and fallbacks, by a name of your own. Default none. */
  readonly otherOrigins?: Readonly<Record<string, Origin>>;
  /**
   * The ID of a distribution that exists already: none is created, you attach the functions to it (docs/edge-router.md), and its
   * alarms are this stage's. Default: a new distribution.
   */
  readonly distributionId?: string;
  /** What the distribution does with requests that no path pattern matches. */
  readonly behavior?: BehaviorSettings;
  /** What it does with requests for certain paths; the first match counts. Default none. */
  readonly behaviors?: readonly PathBehaviorSettings[];
  /** What `/` answers with, such as index.html: for a bucket. Default none. */
  readonly defaultRootObject?: string;
  /** The site's own domain names, in addition to CloudFront's. */
  readonly domainNames?: readonly string[];
  /** The certificate for those names, in us-east-1. Default: made in `hostedZone`. */
  readonly certificateArn?: string;
  /** Where `domainNames` get their records and, without `certificateArn`, their certificate. Default: you make both. */
  readonly hostedZone?: HostedZoneSettings;
  /** Default all. */
  readonly priceClass?: '100' | '200' | 'all';
  /** The ARN of a web ACL with CloudFront scope. Default none. */
  readonly webAclArn?: string;
  /**
   * Regions in which the edge functions' errors and fallbacks have alarms, and their logs exposures; logs have a retention in every region. They are
   * of the 13 in which Lambda@Edge runs; `all`: all of these, each of which must be bootstrapped. Default: home, replicas and us-east-1.
   */
  readonly logRegions?: readonly string[] | 'all';
  /**
   * What the synthetic check requests once a minute: a path of the distribution, or an https address of the site. The origin must answer
   * below 400, since the router reports no decision otherwise. `false`: no check. Default `/`; none with `distributionId`.
   */
  readonly check?: string | false;
  /**
   * The environment's heartbeat flag (docs/propagation.md): how long its changes take to the edge is a metric with an alarm. Default: it is not
   * measured.
   */
  readonly heartbeatFlag?: string;
  /**
   * Tells LaunchDarkly what was decided, through the functions' logs and the relay, for experiments and flag statuses: in each of
   * `logRegions`. Default: it does not.
   */
  readonly exposures?: ExposureSettings;
}

export interface AlarmSettings {
  /** Who is notified of every alarm. SNS asks each of them to confirm, once per region with alarms. */
  readonly emails?: readonly string[];
  /** Who is paged. Default: `emails`. */
  readonly pageEmails?: readonly string[];
  /**
   * ARNs of existing SNS topics, of any account, that the alarms of their regions notify, in addition to the stage's own topics. Their policies
   * must let CloudWatch and EventBridge publish and, in another account, this account. Default none.
   */
  readonly topics?: readonly string[];
  /** The same for pages. Default: `topics`. */
  readonly pageTopics?: readonly string[];
  /** The https address of your page of runbooks, to which alarms link with their name as the anchor. Default: alarms link to the dashboard. */
  readonly runbooks?: string;
  /** Thresholds of alarms, by their names in docs/operations.md. */
  readonly thresholds?: Thresholds;
  /** The share of requests that succeed in 30 days, on whose error budget the burn-rate alarms are. Default 99.99. */
  readonly availabilityPercent?: number;
}
