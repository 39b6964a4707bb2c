import { CfnElement, RemovalPolicy, Validations } from 'aws-cdk-lib';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import { LogGroup, type RetentionDays } from 'aws-cdk-lib/aws-logs';
import { Construct } from 'constructs';
import { FUNCTION_ZONES } from './regions.ts';
import type { Network } from './stage.ts';
import type { ExistingVpc } from './stage-settings.ts';
import { zoneLetter, zoneSubnets } from './zone-subnets.ts';

export interface RelayNetworkProps {
  readonly network: Network;
  readonly logRetentionDays: RetentionDays;
}

/**
 * A relay's VPC and the purpose of its subnets. It belongs to the relay's stack: within one stack CloudFormation first makes what is
 * new, then moves the relay, then deletes what is not needed any more, and undoes all of it together if that fails.
 */
export class RelayNetwork extends Construct {
  readonly vpc: ec2.IVpc;
  readonly cidr: string;
  readonly taskSubnets: ec2.SubnetSelection;
  readonly internalSubnets: ec2.SubnetSelection;
  /**
   * Of functions: the first two zones of a new VPC. Lambda releases network interfaces late, and a subnet that has one cannot be deleted, so
   * that the other zones can be taken away.
   */
  readonly functionSubnets: ec2.SubnetSelection;
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
      this.vpc = existingVpc(this, 'Vpc', existing);
      this.functionSubnets = this.internalSubnets;
      return;
    }
    // In this order whatever the stage's is, so that a single NAT gateway stays where it is.
    const zones = [...network.zones].sort();
    const vpc = new ec2.Vpc(this, 'Vpc', {
      ipAddresses: addressesByZone(network.cidr),
      availabilityZones: zones,
      natGateways: nat === 'none' ? 0 : nat === 'one' ? 1 : zones.length,
      // Restricting the default security group needs a Lambda function that may change any group; nothing here uses it.
      restrictDefaultSecurityGroup: false,
      subnetConfiguration: [
        { name: 'Public', subnetType: ec2.SubnetType.PUBLIC, mapPublicIpOnLaunch: false },
        { name: 'Inside', subnetType: inside },
      ],
    });
    nameByZone(vpc.publicSubnets, `${id}Public`);
    nameByZone([...vpc.privateSubnets, ...vpc.isolatedSubnets], `${id}Inside`);
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
    this.functionSubnets = { subnets: vpc.selectSubnets(this.internalSubnets).subnets.slice(0, FUNCTION_ZONES) };
  }
}

export function existingVpc(scope: Construct, id: string, existing: ExistingVpc): ec2.IVpc {
  const vpc = ec2.Vpc.fromVpcAttributes(scope, id, {
    vpcId: existing.vpcId,
    vpcCidrBlock: existing.cidr,
    availabilityZones: [...existing.zones],
    privateSubnetIds: [...existing.privateSubnetIds],
    ...(existing.publicSubnetIds && { publicSubnetIds: [...existing.publicSubnetIds] }),
  });
  Validations.of(vpc).acknowledge({
    id: 'Annotation::@aws-cdk/aws-ec2:noSubnetRouteTableId',
    reason: 'route tables of a VPC that another stack or team owns are not changed',
  });
  return vpc;
}

/** The CDK's own ranges depend on the number of zones: with another zone, all of them would be others. */
function addressesByZone(cidr: string): ec2.IIpAddresses {
  return {
    allocateVpcCidr: () => ({ cidrBlock: cidr }),
    allocateSubnetsCidr: ({ requestedSubnets }) => ({
      allocatedSubnets: requestedSubnets.map(({ availabilityZone, configuration }) => {
        const { publicRange, insideRange } = zoneSubnets(cidr, availabilityZone);
        return { cidr: configuration.subnetType === ec2.SubnetType.PUBLIC ? publicRange : insideRange };
      }),
    }),
  };
}

/**
 * Logical IDs from the zone, such as NetworkInsideBSubnet. The CDK numbers subnets: without the first zone, all others would have to be
 * replaced, by subnets with the same addresses.
 */
function nameByZone(subnets: readonly ec2.ISubnet[], prefix: string): void {
  for (const { node, availabilityZone } of subnets) {
    for (const one of node.findAll()) {
      if (!CfnElement.isCfnElement(one)) continue;
      const kind = one.node.path.slice(node.path.length + 1).replace(/[^A-Za-z]/g, '');
      one.overrideLogicalId(`${prefix}${zoneLetter(availabilityZone).toUpperCase()}${kind}`);
    }
  }
}
