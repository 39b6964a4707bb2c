import { Fn, type Stack } from 'aws-cdk-lib';
import type * as ec2 from 'aws-cdk-lib/aws-ec2';
import { SubnetType } from 'aws-cdk-lib/aws-ec2';
import { StringListParameter, StringParameter } from 'aws-cdk-lib/aws-ssm';
import type { Construct } from 'constructs';
import { FUNCTION_ZONES } from './regions.ts';
import { existingVpc, type RelayNetwork } from './relay-network.ts';
import type { Network } from './stage.ts';

/** The names of its SSM parameters, in the relay's region. */
export function networkParameterName(stage: string, what: 'vpc-id' | 'subnet-ids'): string {
  return `/edge-flag-relay/${stage}/network/${what}`;
}

/** Stores a new network's IDs in SSM, for stacks deployed later: an export would keep its subnets from being removed. */
export function publishNetwork(stack: Stack, stage: string, { vpc, internalSubnets }: RelayNetwork): void {
  new StringParameter(stack, 'Network-vpc-id', {
    parameterName: networkParameterName(stage, 'vpc-id'),
    description: "The relay's VPC",
    stringValue: vpc.vpcId,
  });
  new StringListParameter(stack, 'Network-subnet-ids', {
    parameterName: networkParameterName(stage, 'subnet-ids'),
    description: "The subnets of the relay's internal load balancer",
    stringListValue: vpc.selectSubnets(internalSubnets).subnetIds,
  });
}

/**
 * The network of a relay and the subnets of functions in it, for a stack in its region that is deployed after it: an existing one, or what
 * `publishNetwork` stored.
 */
export function publishedNetwork(
  scope: Construct,
  stage: string,
  network: Network,
): { readonly vpc: ec2.IVpc; readonly subnets: ec2.SubnetSelection } {
  const subnets = { subnetType: SubnetType.PRIVATE_WITH_EGRESS };
  if (network.vpc) return { vpc: existingVpc(scope, 'Vpc', network.vpc), subnets };
  const ids = StringListParameter.valueForTypedListParameter(scope, networkParameterName(stage, 'subnet-ids'));
  // In the order in which the relay's stack has made and stored its subnets.
  const zones = [...network.zones].sort().slice(0, FUNCTION_ZONES);
  const vpc = existingVpc(scope, 'Vpc', {
    vpcId: StringParameter.valueForStringParameter(scope, networkParameterName(stage, 'vpc-id')),
    cidr: network.cidr,
    zones,
    privateSubnetIds: zones.map((_, index) => Fn.select(index, ids)),
  });
  return { vpc, subnets };
}
