import { Aws, CustomResource, Duration, Validations } from 'aws-cdk-lib';
import { Rule, RuleTargetInput, Schedule } from 'aws-cdk-lib/aws-events';
import { LambdaFunction } from 'aws-cdk-lib/aws-events-targets';
import { PolicyStatement } from 'aws-cdk-lib/aws-iam';
import type { RetentionDays } from 'aws-cdk-lib/aws-logs';
import { Construct } from 'constructs';
import type { KeysByRegion } from './customer-keys.ts';
import { edgeLogGroupName } from './edge-flag-function.ts';
import { bundleDirectory } from './own-bundles.ts';
import { ownFunction } from './own-function.ts';
import { EDGE_EXECUTION_REGIONS } from './regions.ts';

export interface EdgeLogGroupsProps {
  readonly stage: string;
  /** Names of the edge functions. */
  readonly functionNames: readonly string[];
  /** Regions that need the groups for alarms or subscriptions: the deployment fails if they cannot be created there. */
  readonly requiredRegions: readonly string[];
  readonly logRetentionDays: RetentionDays;
  /** The KMS keys of the groups, by region. Default: CloudWatch's own. */
  readonly encryptionKeys?: KeysByRegion | undefined;
}

/**
 * The log groups of edge functions, with a retention, in all regions in which Lambda@Edge runs. Functions create their groups themselves, without
 * a retention; CloudFormation could neither own a group that exists nor create one in a region without a stack. So a custom
 * resource does it, and its function once a day. The groups stay when it is deleted, and their events expire.
 */
export class EdgeLogGroups extends Construct {
  constructor(scope: Construct, id: string, props: EdgeLogGroupsProps) {
    super(scope, id);
    const { stage, functionNames, requiredRegions, logRetentionDays, encryptionKeys } = props;
    const names = functionNames.map(edgeLogGroupName);
    const one = ownFunction(this, {
      functionName: `edge-flag-relay-${stage}-edge-logs`,
      directory: bundleDirectory('edge-logs'),
      description: `edge-flag-relay: retention of the edge logs of stage ${stage}`,
      logRetentionDays,
      timeout: Duration.minutes(5),
      memorySize: 256,
    });
    const resources = names.map((name) => `arn:${Aws.PARTITION}:logs:*:${Aws.ACCOUNT_ID}:log-group:${name}:*`);
    one.addToRolePolicy(
      new PolicyStatement({
        actions: [
          'logs:CreateLogGroup',
          'logs:PutRetentionPolicy',
          ...(encryptionKeys ? ['logs:AssociateKmsKey'] : []),
          // Always: without keys in the stage, groups may have one that has just left it.
          'logs:DisassociateKmsKey',
        ],
        resources,
      }),
    );
    for (const name of names) {
      Validations.of(this).acknowledge({
        id: `AwsSolutions-IAM5[Resource::arn:<AWS::Partition>:logs:*:<AWS::AccountId>:log-group:${name}:*]`,
        reason: 'the group of each edge function in every region where it runs; no other group has this name',
      });
    }
    const properties = {
      LogGroupNames: names,
      RetentionInDays: logRetentionDays,
      Regions: [...new Set([...EDGE_EXECUTION_REGIONS, ...requiredRegions])],
      RequiredRegions: requiredRegions,
      ...(encryptionKeys && { KeysByRegion: encryptionKeys }),
    };
    new CustomResource(this, 'Groups', {
      resourceType: 'Custom::EdgeLogGroups',
      serviceToken: one.functionArn,
      serviceTimeout: Duration.minutes(10),
      properties,
    });
    // CloudFormation asks only when the properties change, and a group that is deleted by hand comes back with a function's next line.
    new Rule(this, 'Daily', {
      description: `edge-flag-relay: retention of edge logs of stage ${stage} that somebody deleted`,
      schedule: Schedule.rate(Duration.days(1)),
      targets: [
        new LambdaFunction(one, {
          event: RuleTargetInput.fromObject({ RequestType: 'Daily', ResourceProperties: properties }),
        }),
      ],
    });
  }
}
