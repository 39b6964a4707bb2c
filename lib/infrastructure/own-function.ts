import { RemovalPolicy, Validations } from 'aws-cdk-lib';
import { PolicyStatement, Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import { LogGroup, type RetentionDays } from 'aws-cdk-lib/aws-logs';
import type { Construct } from 'constructs';

export interface OwnFunctionProps
  extends Omit<lambda.FunctionProps, 'runtime' | 'handler' | 'code' | 'role' | 'logGroup'> {
  /** @default CloudFormation's */
  readonly functionName?: string;
  /** The directory of its bundle. */
  readonly directory: string;
  readonly logRetentionDays: RetentionDays;
}

/** A function of this project, with its own role and log group instead of those that Lambda would create. */
export function ownFunction(
  scope: Construct,
  { functionName, directory, logRetentionDays, ...props }: OwnFunctionProps,
): lambda.Function {
  const logGroup = new LogGroup(scope, 'Log', {
    ...(functionName !== undefined && { logGroupName: `/aws/lambda/${functionName}` }),
    retention: logRetentionDays,
    removalPolicy: RemovalPolicy.DESTROY,
  });
  const role = new Role(scope, 'Role', { assumedBy: new ServicePrincipal('lambda.amazonaws.com') });
  logGroup.grantWrite(role);
  return new lambda.Function(scope, 'Function', {
    ...props,
    ...(functionName !== undefined && { functionName }),
    runtime: lambda.Runtime.NODEJS_24_X,
    architecture: lambda.Architecture.ARM_64,
    handler: 'index.handler',
    code: lambda.Code.fromAsset(directory),
    role,
    logGroup,
  });
}

/** Lets a function of this construct run in a VPC. AWS: "Giving Lambda functions access to resources in an Amazon VPC", execution role. */
export function mayRunInVpc(scope: Construct, one: lambda.Function): void {
  one.addToRolePolicy(
    new PolicyStatement({
      actions: [
        'ec2:CreateNetworkInterface',
        'ec2:DescribeNetworkInterfaces',
        'ec2:DescribeSubnets',
        'ec2:DeleteNetworkInterface',
        'ec2:AssignPrivateIpAddresses',
        'ec2:UnassignPrivateIpAddresses',
      ],
      resources: ['*'],
    }),
  );
  Validations.of(scope).acknowledge({
    id: 'AwsSolutions-IAM5[Resource::*]',
    reason: 'these actions support no resource: Lambda creates network interfaces before they have a name',
  });
}
