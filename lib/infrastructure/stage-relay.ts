import type { ICertificate } from 'aws-cdk-lib/aws-certificatemanager';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import type { Construct } from 'constructs';
import type { IFlagTable } from './flag-table.ts';
import { literalRegion } from './literal-region.ts';
import { type LoadBalancerName, publishedAddress } from './relay-addresses.ts';
import { type OwnObserved, RelayServiceBase } from './relay-base.ts';
import { checkStageName, clusterName, LEAST_TASKS, relayLogGroupName, SERVICE_NAME } from './relay-contract.ts';

export interface StageRelayAttributes {
  /** The name of the stage. */
  readonly stage: string;
  readonly flagTable: IFlagTable;
  /** Where it runs; of a relay in another region no load balancer is known. @default the region of the stack */
  readonly region?: string;
  /** For the synthetic check. @default unknown */
  readonly vpc?: ec2.IVpc;
  /** Where the relay can be reached from. @default its private subnets with a way out */
  readonly taskSubnets?: ec2.SubnetSelection;
  /** Those that the stage has. @default the internal one */
  readonly loadBalancers?: readonly LoadBalancerName[];
  /** Whether the internal load balancer uses TLS. @default true */
  readonly tls?: boolean;
  /** The name in the internal load balancer's certificate: `relay.hostName` of the stage. @default none */
  readonly domainName?: string;
  /** Tasks that always run. @default 3 */
  readonly tasks?: number;
  /** Whether the stage is a production stage, whose cluster has Container Insights. @default true */
  readonly production?: boolean;
  /** Whether its environments have heartbeat flags, so that there is an alarm on their absence. @default false */
  readonly heartbeats?: boolean;
  /** Certificates to watch, in the relay's region. @default none: the stage watches its own */
  readonly certificates?: readonly ICertificate[];
}

/**
 * The relay of a stage that was deployed by this project's app, in the region of this stack. What is not known by name is read from SSM
 * when the stack is deployed.
 */
export class StageRelay extends RelayServiceBase {
  readonly stage: string;
  readonly flagTable: IFlagTable;
  readonly vpc: ec2.IVpc | undefined;
  readonly taskSubnets: ec2.SubnetSelection | undefined;
  readonly domainName: string | undefined;
  private readonly attributes: StageRelayAttributes;
  private readonly region: string;
  private made: ec2.Connections | undefined;
  private readonly balancers: readonly LoadBalancerName[];

  constructor(scope: Construct, id: string, attributes: StageRelayAttributes) {
    super(scope, id);
    checkStageName(this, attributes.stage);
    this.attributes = attributes;
    this.stage = attributes.stage;
    this.flagTable = attributes.flagTable;
    this.vpc = attributes.vpc;
    this.taskSubnets = attributes.taskSubnets;
    this.domainName = attributes.domainName;
    this.region = attributes.region ?? literalRegion(this, 'a relay');
    const isHere = this.region === literalRegion(this, 'a relay');
    this.balancers = isHere ? (attributes.loadBalancers ?? ['internal']) : [];
  }

  /** Those of the internal load balancer. Made when they are used, so that the template has no parameter that is not. */
  get connections(): ec2.Connections {
    this.made ??= this.connect();
    return this.made;
  }

  private connect(): ec2.Connections {
    const securityGroups = this.balancers.includes('internal')
      ? [
          ec2.SecurityGroup.fromSecurityGroupId(
            this,
            'LoadBalancer',
            publishedAddress(this, this.stage, 'internal').securityGroupId,
          ),
        ]
      : [];
    return new ec2.Connections({ securityGroups, defaultPort: ec2.Port.tcp(this.usesTls ? 443 : 80) });
  }

  get url(): string | undefined {
    if (!this.balancers.includes('internal')) return undefined;
    return `${this.usesTls ? 'https' : 'http'}://${publishedAddress(this, this.stage, 'internal').dnsName}`;
  }

  private get usesTls(): boolean {
    return this.attributes.tls ?? true;
  }

  protected ownObserved(): OwnObserved {
    const { stage, flagTable, attributes, region } = this;
    const writes = region === flagTable.homeRegion;
    return {
      ...{ stage, region, writes },
      clusterName: clusterName(stage),
      serviceName: SERVICE_NAME,
      logGroupName: relayLogGroupName(stage),
      tasks: attributes.tasks ?? LEAST_TASKS,
      containerInsights: attributes.production ?? true,
      heartbeats: attributes.heartbeats ? { replicas: false } : undefined,
      loadBalancers: this.balancers.map((name) => {
        const { fullName, targetGroupFullName } = publishedAddress(this, stage, name);
        return { name, fullName, targetGroupFullName };
      }),
      tableName: flagTable.tableName,
      homeRegion: flagTable.homeRegion,
      // Replication latency is reported in the home region.
      replicaRegions: writes ? flagTable.replicaRegions : [],
      certificateArns: (attributes.certificates ?? []).map(({ certificateArn }) => certificateArn),
    };
  }
}
