import { Validations } from 'aws-cdk-lib';
import type { IConstruct } from 'constructs';
import type { EdgeStack } from './edge-stack.ts';
import type { RelayStack } from './relay-stack.ts';
import type { StageStacks } from './stage-stacks.ts';

/**
 * Findings of the CDK, AWS's validator and cdk-nag's AwsSolutions that we accept in a stage, with the reasons. What any app of the constructs
 * would have is accepted where it is made. A test fails on any other finding.
 */
export function acknowledgeFindings(stage: StageStacks): void {
  for (const relay of stage.relays) acknowledgeRelay(stage, relay);
  if (stage.edge) acknowledgeEdge(stage.edge);
}

function acknowledgeRelay({ config }: StageStacks, stack: RelayStack): void {
  const { relay } = stack;
  acknowledge(
    stack.network,
    'CloudFormation-Validate::W3010',
    'zones are named in the stage, so that synthesis needs no lookup in an account',
  );
  if (!config.production) {
    acknowledge(relay.cluster, 'AwsSolutions-ECS4', 'Container Insights are billed per metric: on in production only');
  }
  if (!config.relay.accessLogs && relay.internal) {
    acknowledge(relay, 'AwsSolutions-ELB2', 'access logs are switched off in the stage; relay.accessLogs enables them');
  }
}

function acknowledgeEdge(stack: EdgeStack): void {
  const { distribution } = stack;
  if (!distribution) return;
  acknowledge(distribution, 'AwsSolutions-CFR1', 'restricting countries is the decision of the site owner');
  acknowledge(distribution, 'AwsSolutions-CFR2', 'edge.webAclArn sets a web ACL for the site');
  acknowledge(
    distribution,
    'AwsSolutions-CFR3',
    "access logs contain viewers' addresses, so keeping them is the decision of the site owner",
  );
  if (!stack.hasOwnName) {
    acknowledge(
      distribution,
      'AwsSolutions-CFR4',
      "CloudFront's default domain has a certificate with a fixed TLS policy; edge.certificateArn replaces it",
    );
  }
}

function acknowledge(scope: IConstruct, id: string, reason: string): void {
  Validations.of(scope).acknowledge({ id, reason });
}
