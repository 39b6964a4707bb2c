import { Validations } from 'aws-cdk-lib';
import type { IConstruct } from 'constructs';
import type { EdgeStack } from './edge-stack.ts';
import type { RelayStack } from './relay-stack.ts';
import type { StageStacks } from './stage-stacks.ts';

/**
 * Findings of the CDK, AWS's validator and cdk-nag's AwsSolutions that we accept, with the reasons. A test fails on any other
 * finding.
 */
export function acknowledgeFindings(stage: StageStacks): void {
  for (const relay of stage.relays) acknowledgeRelay(stage, relay);
  if (stage.edge) acknowledgeEdge(stage.edge);
}

function acknowledgeRelay({ config }: StageStacks, stack: RelayStack): void {
  const { relay, region } = stack;
  acknowledge(
    stack.network,
    'CloudFormation-Validate::W3010',
    'zones are named in the stage, so that synthesis needs no lookup in an account',
  );
  acknowledge(
    relay.taskDefinition,
    'AwsSolutions-ECS2',
    'only settings that are not secret are in the task definition; the relay reads keys from SSM itself',
  );
  acknowledge(
    relay.taskDefinition,
    `AwsSolutions-IAM5[Resource::arn:<AWS::Partition>:ssm:${region}:<AWS::AccountId>:parameter/edge-flag-relay/${config.name}/environments/*]`,
    "the relay serves every environment below its stage's path, including those added later",
  );
  if (!config.relay.image || /\.dkr\.ecr\./.test(config.relay.image)) {
    acknowledge(
      relay.taskDefinition,
      'AwsSolutions-IAM5[Resource::*]',
      'ecr:GetAuthorizationToken does not support resources; pulling is granted on one repository only',
    );
  }
  if (!config.production) {
    acknowledge(relay.cluster, 'AwsSolutions-ECS4', 'Container Insights are billed per metric: on in production only');
  }
  if (config.relay.accessLogs) {
    acknowledge(
      relay,
      'AwsSolutions-S1',
      'this bucket receives access logs; logging its own access needs another bucket',
    );
  } else if (relay.internal) {
    acknowledge(relay, 'AwsSolutions-ELB2', 'access logs are switched off in the stage; relay.accessLogs enables them');
  }
  if (relay.public) {
    acknowledge(
      relay.public,
      'AwsSolutions-EC23',
      'browsers and mobile devices connect from any address; only their paths are accepted, behind a web ACL',
    );
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
