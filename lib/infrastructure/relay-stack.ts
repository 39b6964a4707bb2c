import { CfnOutput, Duration, Stack, type StackProps } from 'aws-cdk-lib';
import { Certificate, type ICertificate } from 'aws-cdk-lib/aws-certificatemanager';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import { CfnServerlessCache } from 'aws-cdk-lib/aws-elasticache';
import { Key } from 'aws-cdk-lib/aws-kms';
import { LoadBalancerTarget } from 'aws-cdk-lib/aws-route53-targets';
import type { Construct } from 'constructs';
import { imageFrom } from './container-image.ts';
import type { IFlagTable } from './flag-table.ts';
import { certifies } from './hosted-zone.ts';
import { NamesInZone, zoneFrom } from './names-in-zone.ts';
import { publishNetwork } from './published-network.ts';
import { type LoadBalancerName, publishAddress, publishCertificate } from './relay-addresses.ts';
import { secretFrom } from './relay-agent.ts';
import { relayNames } from './relay-contract.ts';
import { type EventsSpool, existingAccessPoint } from './relay-events-spool.ts';
import type { RelayLoadBalancer } from './relay-load-balancer.ts';
import { RelayNetwork } from './relay-network.ts';
import { RelayService } from './relay-service.ts';
import { shortHash } from './short-hash.ts';
import type { Relay, Stage } from './stage.ts';
import type { EventsSpoolSettings, RedisSettings, RelaySettings } from './stage-settings.ts';

export interface RelayStackProps extends StackProps {
  readonly stage: Stage;
  readonly flagTable: IFlagTable;
}

const REDIS_PORT = 6379;

/** A relay, its network and, in the home region, the Redis that it fills if the stage has one. One per home and relay region. */
export class RelayStack extends Stack {
  readonly relay: RelayService;
  readonly network: RelayNetwork;
  readonly cache?: CfnServerlessCache;
  /** ARNs of the certificates that this stack made in a hosted zone. */
  readonly madeCertificates: Readonly<Partial<Record<LoadBalancerName, string>>>;
  private readonly zones: readonly string[];

  constructor(scope: Construct, id: string, { stage, flagTable, ...props }: RelayStackProps) {
    super(scope, id, props);
    const { region } = this;
    const place = stage.networks[region]!;
    this.zones = place.vpc?.zones ?? place.zones;
    const network = new RelayNetwork(this, 'Network', { network: place, logRetentionDays: stage.logRetentionDays });
    this.network = network;
    const { vpc, cidr } = network;
    const home = region === stage.homeRegion;
    const { hostName, hostedZone, certificates, encryptionKeys, publicAccess, eventsSpool, ...settings } = stage.relay;
    const internalNames = this.namesFor('Names', { hostName, hostedZone }, certificates[region]);
    const publicNames = publicAccess && this.namesFor('PublicNames', publicAccess, publicAccess.certificates[region]);
    const certificate = this.certificateOf('Certificate', certificates[region]) ?? internalNames?.certificate;
    this.madeCertificates = {
      ...(internalNames?.certificate && { internal: internalNames.certificate.certificateArn }),
      ...(publicNames?.certificate && { public: publicNames.certificate.certificateArn }),
    };

    const key = encryptionKeys[region];
    const redis = home ? stage.redis : undefined;
    const cacheGroup = redis && 'serverless' in redis ? this.cacheGroup(vpc) : undefined;
    if (redis && 'serverless' in redis && cacheGroup) {
      this.cache = this.serverlessCache(stage, redis.serverless, network, cacheGroup);
    }
    this.relay = new RelayService(this, 'Relay', {
      ...constructsOf(this, settings),
      ...relayNames(stage.name),
      stage: stage.name,
      production: stage.production,
      deletionProtection: stage.protected,
      logRetention: stage.logRetentionDays,
      deploymentFailedPercent: stage.alarms.thresholds['deployment-5xx'],
      flagTable,
      vpc,
      taskSubnets: network.taskSubnets,
      internalSubnets: network.internalSubnets,
      assignPublicIp: network.assignPublicIp,
      allowedCidrs: settings.allowedCidrs ?? [cidr],
      ...(settings.prometheus && { prometheus: { allowedCidrs: [cidr], ...settings.prometheus } }),
      ...(certificate && { certificate }),
      ...(key !== undefined && { encryptionKey: Key.fromKeyArn(this, 'ParametersKey', key) }),
      ...(publicAccess && {
        publicAccess: {
          certificate:
            this.certificateOf('PublicCertificate', publicAccess.certificates[region]) ??
            publicNames?.certificate ??
            certificate,
          requestsPerFiveMinutes: publicAccess.requestsPerFiveMinutes,
          paths: publicAccess.paths,
        },
      }),
      ...(redis && { redis: this.redisOf(redis) }),
      ...(eventsSpool && { eventsSpool: this.spoolOf(eventsSpool, stage) }),
    });
    const leadTo = (names: NamesInZone | undefined, { loadBalancer }: RelayLoadBalancer) =>
      names?.leadTo(new LoadBalancerTarget(loadBalancer, { evaluateTargetHealth: true }), { region, ipv6: false });
    if (this.relay.internal) leadTo(internalNames, this.relay.internal);
    if (this.relay.public) leadTo(publicNames, this.relay.public);
    cacheGroup?.connections.allowFrom(this.relay.service, ec2.Port.tcp(REDIS_PORT), 'the relay');

    if (!place.vpc) publishNetwork(this, stage.name, network);
    if (this.relay.internal) publishAddress(this, stage.name, 'internal', this.relay.internal);
    if (this.relay.public) publishAddress(this, stage.name, 'public', this.relay.public);
    for (const [name, arn] of Object.entries(this.madeCertificates)) {
      publishCertificate(this, stage.name, name as LoadBalancerName, arn);
    }
    if (this.relay.internal) {
      new CfnOutput(this, 'InternalAddress', { value: this.relay.internal.loadBalancer.loadBalancerDnsName });
    }
    if (this.relay.public) {
      new CfnOutput(this, 'PublicAddress', { value: this.relay.public.loadBalancer.loadBalancerDnsName });
    }
    if (this.cache) new CfnOutput(this, 'RedisAddress', { value: this.cache.attrEndpointAddress });
  }

  /** Looking them up would need an account at synthesis. */
  override get availabilityZones(): string[] {
    return [...this.zones];
  }

  private certificateOf(id: string, arn: string | undefined): ICertificate | undefined {
    return arn === undefined ? undefined : Certificate.fromCertificateArn(this, id, arn);
  }

  private namesFor(
    id: string,
    { hostName, hostedZone }: Pick<RelaySettings, 'hostName' | 'hostedZone'>,
    given: string | undefined,
  ): NamesInZone | undefined {
    if (!hostedZone || hostName === undefined) return undefined;
    const certificate = given === undefined && certifies(hostedZone);
    return new NamesInZone(this, id, { zone: zoneFrom(this, `${id}Zone`, hostedZone), names: [hostName], certificate });
  }

  private redisOf(redis: RedisSettings): { url: string; cluster: boolean } {
    if ('url' in redis) return { url: redis.url, cluster: redis.cluster ?? false };
    // Serverless caches always use TLS and cluster mode.
    return { url: `rediss://${this.cache?.attrEndpointAddress}:${REDIS_PORT}`, cluster: true };
  }

  private spoolOf({ maxMiB, existing }: EventsSpoolSettings, { encryptionKeys }: Stage): EventsSpool {
    const own = existing?.[this.region];
    const key = encryptionKeys?.[this.region];
    return {
      ...(maxMiB !== undefined && { maxMiB }),
      ...(own && { accessPoint: existingAccessPoint(this, 'ExistingSpool', own) }),
      ...(key !== undefined && { encryptionKey: Key.fromKeyArn(this, 'SpoolKey', key) }),
    };
  }

  private cacheGroup(vpc: ec2.IVpc): ec2.SecurityGroup {
    return new ec2.SecurityGroup(this, 'CacheSecurityGroup', {
      vpc,
      allowAllOutbound: false,
      description: 'Who may reach the cache',
    });
  }

  private serverlessCache(
    stage: Stage,
    { maxStorageGb, maxEcpuPerSecond }: { maxStorageGb?: number; maxEcpuPerSecond?: number },
    { vpc, internalSubnets }: RelayNetwork,
    group: ec2.SecurityGroup,
  ): CfnServerlessCache {
    const key = stage.encryptionKeys?.[this.region];
    return new CfnServerlessCache(this, 'Cache', {
      // A cache gets another key by replacement, which needs another name.
      serverlessCacheName: key ? `efr-${stage.name}-${shortHash(key)}` : `edge-flag-relay-${stage.name}`,
      ...(key !== undefined && { kmsKeyId: key }),
      description: 'LaunchDarkly flags, filled by the relay',
      engine: 'valkey',
      majorEngineVersion: '8',
      securityGroupIds: [group.securityGroupId],
      // A cache cannot change its subnets. Two are enough, and so more zones can come and go.
      subnetIds: vpc.selectSubnets(internalSubnets).subnetIds.slice(0, 2),
      cacheUsageLimits: {
        dataStorage: { unit: 'GB', maximum: maxStorageGb ?? 1 },
        ecpuPerSecond: { maximum: maxEcpuPerSecond ?? 5_000 },
      },
    });
  }
}

/** The settings of a stage file as the construct takes them. */
function constructsOf(
  scope: Stack,
  settings: Omit<Relay, 'hostName' | 'hostedZone' | 'certificates' | 'encryptionKeys' | 'publicAccess' | 'eventsSpool'>,
) {
  const { image, secrets, heartbeatSeconds, idleTimeoutSeconds, healthCheckGraceSeconds, ...same } = settings;
  return {
    ...same,
    heartbeat: Duration.seconds(heartbeatSeconds),
    idleTimeout: Duration.seconds(idleTimeoutSeconds),
    healthCheckGrace: Duration.seconds(healthCheckGraceSeconds),
    ...(image !== undefined && { image: imageFrom(scope, image) }),
    secrets: Object.fromEntries(
      Object.entries(secrets).map(([variable, source]) => [variable, secretFrom(scope, variable, source)]),
    ),
  };
}
