import { RemovalPolicy, Stack } from 'aws-cdk-lib';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import { LogGroup, type RetentionDays } from 'aws-cdk-lib/aws-logs';
import { Construct } from 'constructs';
import type { Network } from './stage.ts';

export interface RelayNetworkProps {
  readonly network: Network;
  readonly logRetentionDays: RetentionDays;
}

/** A relay's VPC and the purpose of its subnets. */
export class RelayNetwork extends Construct {
  readonly vpc: ec2.IVpc;
  readonly cidr: string;
  readonly taskSubnets: ec2.SubnetSelection;
  readonly internalSubnets: ec2.SubnetSelection;
  /** Whether tasks need a public address to reach LaunchDarkly. */
  readonly assignPublicIp: boolean;

  constructor(scope: Construct, id: string, { network, logRetentionDays }: RelayNetworkProps) {
    super(scope, id);
    const { vpc: existing, nat } = network;
    this.assignPublicIp = !existing && nat === 'none';
    const inside = existing || nat !== 'none' ? ec2.SubnetType.PRIVATE_WITH_EGRESS : ec2.SubnetType.PRIVATE_ISOLATED;
    this.internalSubnets = { subnetType: inside };
    this.taskSubnets = this.assignPublicIp ? { subnetType: ec2.SubnetType.PUBLIC } : this.internalSubnets;
    this.cidr = existing?.cidr ?? network.cidr;
    if (existing) {
      this.vpc = ec2.Vpc.fromVpcAttributes(this, 'Vpc', {
        vpcId: existing.vpcId,
        vpcCidrBlock: existing.cidr,
        availabilityZones: [...existing.zones],
        privateSubnetIds: [...existing.privateSubnetIds],
        ...(existing.publicSubnetIds && { publicSubnetIds: [...existing.publicSubnetIds] }),
      });
      return;
    }
    const vpc = new ec2.Vpc(this, 'Vpc', {
      ipAddresses: ec2.IpAddresses.cidr(network.cidr),
      availabilityZones: [...network.zones],
      natGateways: nat === 'none' ? 0 : nat === 'one' ? 1 : network.zones.length,
      // Restricting the default security group needs a Lambda function that may change any group; nothing here uses it.
      restrictDefaultSecurityGroup: false,
      subnetConfiguration: [
        { name: 'Public', subnetType: ec2.SubnetType.PUBLIC, mapPublicIpOnLaunch: false },
        { name: 'Inside', subnetType: inside },
      ],
    });
    // Free, and they keep table and image traffic off the NAT gateways.
    vpc.addGatewayEndpoint('DynamoDb', { service: ec2.GatewayVpcEndpointAwsService.DYNAMODB });
    vpc.addGatewayEndpoint('S3', { service: ec2.GatewayVpcEndpointAwsService.S3 });
    const logGroup = new LogGroup(this, 'FlowLogs', {
      retention: logRetentionDays,
      removalPolicy: RemovalPolicy.DESTROY,
    });
    vpc.addFlowLog('Rejected', {
      destination: ec2.FlowLogDestination.toCloudWatchLogs(logGroup),
      trafficType: ec2.FlowLogTrafficType.REJECT,
    });
    this.vpc = vpc;
  }
}

/** A stack with given zones: looking them up would need an account at synthesis. */
export class ZonedStack extends Stack {
  zones: readonly string[] = [];

  override get availabilityZones(): string[] {
    return [...this.zones];
  }
}
