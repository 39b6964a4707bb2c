import type { Stack } from 'aws-cdk-lib';
import { Port } from 'aws-cdk-lib/aws-ec2';
import { StringParameter } from 'aws-cdk-lib/aws-ssm';
import type { Construct } from 'constructs';
import type { RelayLoadBalancer } from './relay-load-balancer.ts';

export type LoadBalancerName = 'internal' | 'public';

/** What other stacks need to know about a load balancer: CloudFormation tokens. */
export interface LoadBalancerAddress {
  readonly dnsName: string;
  /** `app/<name>/<id>`. */
  readonly fullName: string;
  /** `targetgroup/<name>/<id>`. */
  readonly targetGroupFullName: string;
  readonly securityGroupId: string;
}

/** The port of an origin such as `https://…` or `http://…:8030`. */
export function portOf(url: string): Port {
  if (!/^https?:\/\//.test(url))
    throw new Error(`relayUrl=${url} is invalid: expected http:// or https://, and a host`);
  const given = /:(\d+)\/?$/.exec(url)?.[1];
  return Port.tcp(Number(given ?? (url.startsWith('https:') ? 443 : 80)));
}

const suffixes: Readonly<Record<keyof LoadBalancerAddress, string>> = {
  dnsName: 'dns-name',
  fullName: 'full-name',
  targetGroupFullName: 'target-group',
  securityGroupId: 'security-group',
};

/** The name of its SSM parameter, in the relay's region. */
export function addressParameterName(stage: string, one: LoadBalancerName, what: keyof LoadBalancerAddress): string {
  return `/edge-flag-relay/${stage}/load-balancers/${one}/${suffixes[what]}`;
}

export function addressOf(one: RelayLoadBalancer): LoadBalancerAddress {
  const { loadBalancer } = one;
  const { fullName, targetGroupFullName } = one.observed('');
  return {
    dnsName: loadBalancer.loadBalancerDnsName,
    fullName,
    targetGroupFullName,
    securityGroupId: loadBalancer.connections.securityGroups[0]!.securityGroupId,
  };
}

/**
 * Stores a load balancer's names in SSM, for stacks deployed later. A reference between stacks would prevent replacing or
 * removing the load balancer.
 */
export function publishAddress(stack: Stack, stage: string, name: LoadBalancerName, one: RelayLoadBalancer): void {
  const address = addressOf(one);
  for (const what of Object.keys(suffixes) as (keyof LoadBalancerAddress)[]) {
    new StringParameter(stack, `Address-${name}-${suffixes[what]}`, {
      parameterName: addressParameterName(stage, name, what),
      description: `The relay's ${name} load balancer: ${suffixes[what]}`,
      stringValue: address[what],
    });
  }
}

function certificateParameterName(stage: string, one: LoadBalancerName): string {
  return `/edge-flag-relay/${stage}/load-balancers/${one}/certificate`;
}

/** Stores the ARN of a certificate that the relay's stack made, as `publishAddress` does. */
export function publishCertificate(stack: Stack, stage: string, name: LoadBalancerName, stringValue: string): void {
  new StringParameter(stack, `Address-${name}-certificate`, {
    parameterName: certificateParameterName(stage, name),
    description: `The relay's ${name} load balancer: certificate`,
    stringValue,
  });
}

export function publishedCertificate(scope: Construct, stage: string, name: LoadBalancerName): string {
  return StringParameter.valueForStringParameter(scope, certificateParameterName(stage, name));
}

/** What `publishAddress` stored in the same region. CloudFormation reads it again on every deployment. */
export function publishedAddress(scope: Construct, stage: string, name: LoadBalancerName): LoadBalancerAddress {
  const read = (what: keyof LoadBalancerAddress) =>
    StringParameter.valueForStringParameter(scope, addressParameterName(stage, name, what));
  // Getters, so that the template only has the parameters that are used.
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
