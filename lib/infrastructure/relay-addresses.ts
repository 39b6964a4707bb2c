import type { Stack } from 'aws-cdk-lib';
import { StringParameter } from 'aws-cdk-lib/aws-ssm';
import type { Construct } from 'constructs';
import type { RelayLoadBalancer } from './relay-load-balancer.ts';

export type LoadBalancerName = 'internal' | 'public';

/** What other stacks want to know of a load balancer. Tokens of CloudFormation. */
export interface LoadBalancerAddress {
  readonly dnsName: string;
  /** `app/<name>/<id>`. */
  readonly fullName: string;
  /** `targetgroup/<name>/<id>`. */
  readonly targetGroupFullName: string;
  readonly securityGroupId: string;
}

const lastWords: Readonly<Record<keyof LoadBalancerAddress, string>> = {
  dnsName: 'dns-name',
  fullName: 'full-name',
  targetGroupFullName: 'target-group',
  securityGroupId: 'security-group',
};

/** Where it stands in SSM, in the relay's region. */
export function addressParameterName(stage: string, one: LoadBalancerName, what: keyof LoadBalancerAddress): string {
  return `/edge-flag-relay/${stage}/load-balancers/${one}/${lastWords[what]}`;
}

export function addressOf({ loadBalancer, targetGroup }: RelayLoadBalancer): LoadBalancerAddress {
  return {
    dnsName: loadBalancer.loadBalancerDnsName,
    fullName: loadBalancer.loadBalancerFullName,
    targetGroupFullName: targetGroup.targetGroupFullName,
    securityGroupId: loadBalancer.connections.securityGroups[0]!.securityGroupId,
  };
}

/**
 * Puts a load balancer's names into SSM, for stacks that come after. A reference between stacks would forbid to replace or
 * remove the load balancer for as long as they hold it.
 */
export function publishAddress(stack: Stack, stage: string, name: LoadBalancerName, one: RelayLoadBalancer): void {
  const address = addressOf(one);
  for (const what of Object.keys(lastWords) as (keyof LoadBalancerAddress)[]) {
    new StringParameter(stack, `Address-${name}-${lastWords[what]}`, {
      parameterName: addressParameterName(stage, name, what),
      description: `The relay's ${name} load balancer: ${lastWords[what]}`,
      stringValue: address[what],
    });
  }
}

/** What was published in the same region. CloudFormation reads it anew with every deployment. */
export function publishedAddress(scope: Construct, stage: string, name: LoadBalancerName): LoadBalancerAddress {
  const read = (what: keyof LoadBalancerAddress) =>
    StringParameter.valueForStringParameter(scope, addressParameterName(stage, name, what));
  // Parameters are made when they are asked for: those that nobody reads should not be there.
  return {
    get dnsName() {
      return read('dnsName');
    },
    get fullName() {
      return read('fullName');
    },
    get targetGroupFullName() {
      return read('targetGroupFullName');
    },
    get securityGroupId() {
      return read('securityGroupId');
    },
  };
}
