import { Validations } from 'aws-cdk-lib';
import type { IConstruct } from 'constructs';
import { edgeLogGroupName } from './edge-flag-function.ts';
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

function acknowledgeRelay({ config, node }: StageStacks, stack: RelayStack): void {
  const { relay, region } = stack;
  const network = node.tryFindChild(stack.node.id.replace('Relay', 'Network')) ?? stack;
  acknowledge(
    network,
    'CloudFormation-Validate::W3010',
    'zones are named in the stage, so that synthesis asks no account for them',
  );
  if (config.networks[region]?.vpc) {
    acknowledge(
      network,
      'Annotation::@aws-cdk/aws-ec2:noSubnetRouteTableId',
      'nothing here touches the route tables of a VPC that was there already',
    );
  }
  acknowledge(
    relay.taskDefinition,
    'AwsSolutions-ECS2',
    'settings that are no secrets are to be seen in the task definition; keys are read from SSM by the relay itself',
  );
  acknowledge(
    relay.taskDefinition,
    `AwsSolutions-IAM5[Resource::arn:<AWS::Partition>:ssm:${region}:<AWS::AccountId>:parameter/edge-flag-relay/${config.name}/environments/*]`,
    "the relay serves every environment below its stage's own path, those that are added later too",
  );
  if (!config.relay.image || /\.dkr\.ecr\./.test(config.relay.image)) {
    acknowledge(
      relay.taskDefinition,
      'AwsSolutions-IAM5[Resource::*]',
      'ecr:GetAuthorizationToken knows no resource; pulling is granted on the one repository',
    );
  }
  if (!config.production) {
    acknowledge(relay.cluster, 'AwsSolutions-ECS4', 'container insights are priced per metric: in production only');
  }
  if (config.relay.accessLogs) {
    acknowledge(relay, 'AwsSolutions-S1', 'this bucket is where access logs go; its own would need a further one');
  } else {
    acknowledge(relay, 'AwsSolutions-ELB2', 'the stage switches access logs off; relay.accessLogs switches them on');
  }
  if (relay.public) {
    acknowledge(
      relay.public,
      'AwsSolutions-EC23',
      'browsers and mobile devices come from everywhere; only their paths are let through, behind a web ACL',
    );
  }
}

function acknowledgeEdge(stack: EdgeStack): void {
  const { router, distribution } = stack;
  for (const one of [router.viewerRequest, router.originRequest, router.viewerResponse]) {
    acknowledge(
      one,
      `AwsSolutions-IAM5[Resource::arn:<AWS::Partition>:logs:*:<AWS::AccountId>:log-group:${edgeLogGroupName(one.functionName)}:*]`,
      'edge functions log wherever they run, each into its own log group',
    );
  }
  acknowledge(distribution, 'AwsSolutions-CFR1', 'who may see the site is the matter of its owner');
  acknowledge(distribution, 'AwsSolutions-CFR2', 'a web ACL of the site is set by edge.webAclArn');
  acknowledge(
    distribution,
    'AwsSolutions-CFR3',
    "logs of a site hold its viewers' addresses: whether to keep them is the matter of its owner",
  );
  if (!stack.hasOwnName) {
    acknowledge(
      distribution,
      'AwsSolutions-CFR4',
      "CloudFront's own name has CloudFront's certificate, whose TLS policy is fixed; edge.certificateArn sets ours",
    );
  }
}

function acknowledge(scope: IConstruct, id: string, reason: string): void {
  Validations.of(scope).acknowledge({ id, reason });
}
