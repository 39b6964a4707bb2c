import { RemovalPolicy } from 'aws-cdk-lib';
import { Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import { LogGroup, type RetentionDays } from 'aws-cdk-lib/aws-logs';
import { Construct } from 'constructs';
import { bundledOnce } from '../bundle-cache.ts';
import { buildCanary, type CanaryEntry } from './canary-bundle.ts';

export interface CanaryFunctionProps
  extends Omit<lambda.FunctionProps, 'runtime' | 'handler' | 'code' | 'role' | 'logGroup'> {
  readonly stage: string;
  readonly logRetentionDays: RetentionDays;
}

const IDS: Readonly<Record<CanaryEntry, string>> = { caller: 'Caller', reader: 'Reader', edge: 'Edge' };

/** A function of the synthetic checks, with its own role and log group instead of those that Lambda would create. */
export function canaryFunction(
  parent: Construct,
  kind: CanaryEntry,
  { stage, logRetentionDays, ...props }: CanaryFunctionProps,
): lambda.Function {
  const scope = new Construct(parent, IDS[kind]);
  const functionName = `edge-flag-relay-${stage}-canary-${kind}`;
  const logGroup = new LogGroup(scope, 'Log', {
    logGroupName: `/aws/lambda/${functionName}`,
    retention: logRetentionDays,
    removalPolicy: RemovalPolicy.DESTROY,
  });
  const role = new Role(scope, 'Role', { assumedBy: new ServicePrincipal('lambda.amazonaws.com') });
  logGroup.grantWrite(role);
  return new lambda.Function(scope, 'Function', {
    ...props,
    functionName,
    description: `edge-flag-relay: synthetic check of stage ${stage}, ${kind}`,
    runtime: lambda.Runtime.NODEJS_24_X,
    architecture: lambda.Architecture.ARM_64,
    handler: 'index.handler',
    code: lambda.Code.fromAsset(bundledOnce(`canary ${kind}`, (outdir) => buildCanary(kind, outdir))),
    role,
    logGroup,
    retryAttempts: 0,
  });
}
