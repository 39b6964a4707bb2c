import { Aws, Duration, RemovalPolicy, Stack, Validations } from 'aws-cdk-lib';
import { type EdgeLambda, LambdaEdgeEventType } from 'aws-cdk-lib/aws-cloudfront';
import type { Metric, MetricOptions } from 'aws-cdk-lib/aws-cloudwatch';
import {
  CompositePrincipal,
  type IGrantable,
  type IPrincipal,
  PolicyStatement,
  Role,
  ServicePrincipal,
} from 'aws-cdk-lib/aws-iam';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import { Construct } from 'constructs';
import { inLines } from '../../lambda/edge-router/check-config.ts';
import type {
  OriginRequestConfig,
  ViewerRequestConfig,
  ViewerResponseConfig,
} from '../../lambda/edge-router/config.ts';
import { bundledOnce } from './bundle-cache.ts';
import { buildEdge, buildOwnEdge } from './edge-bundle.ts';
import { describeEdgeProblems, type EdgeEventType, type EdgeFunctionProperties } from './edge-restrictions.ts';
import type { IFlagTable } from './flag-table.ts';
import { literalRegion } from './literal-region.ts';
import { edgeFunctionMetric } from './observability/metrics.ts';
import { setRetained } from './retained.ts';

/** One of our three router functions, or your own module that exports `handler` and reads `__EDGE_CONFIG__`. */
export type EdgeCode =
  | { readonly router: 'viewer-request'; readonly config: ViewerRequestConfig }
  | { readonly router: 'origin-request'; readonly config: OriginRequestConfig }
  | { readonly router: 'viewer-response'; readonly config: ViewerResponseConfig }
  | { readonly entryFile: string; readonly eventType: EdgeEventType; readonly config: unknown };

export interface EdgeFlagFunctionProps {
  readonly code: EdgeCode;
  /** A literal, since it is part of the function's log group names in every region. */
  readonly functionName: string;
  /** The table from which the function reads. @default none */
  readonly flagTable?: IFlagTable;
  /** Limits reads to the items of this environment. @default every environment */
  readonly prefix?: string;
  /** @default 5 s for viewer events, 30 s for origin events */
  readonly timeout?: Duration;
  /** @default 128 */
  readonly memorySize?: number;
  /**
   * Whether the function is retained when its stack is deleted: AWS removes replicas only hours after their last use. When the first
   * deployment fails it is deleted, so that the next one can use its name. Versions are always retained by updates. @default true
   */
  readonly retain?: boolean;
}

/**
 * A Lambda@Edge function with its configuration baked in. Throws an Error for anything that Lambda@Edge does not allow, and
 * fails synthesis if something like that is added later.
 */
export class EdgeFlagFunction extends Construct implements IGrantable {
  readonly grantPrincipal: IPrincipal;
  readonly functionName: string;
  readonly function: lambda.Function;
  readonly eventType: EdgeEventType;
  /** For a distribution's behavior: `edgeLambdas: [edgeFlagFunction.association]`. */
  readonly association: EdgeLambda;

  constructor(scope: Construct, id: string, props: EdgeFlagFunctionProps) {
    super(scope, id);
    const { code, functionName, retain = true } = props;
    this.functionName = functionName;
    this.eventType = 'router' in code ? code.router : code.eventType;
    const region = literalRegion(this, 'an edge function');
    // The managed log group would be in one region only, under a name that edge functions do not use.
    this.node.setContext('@aws-cdk/aws-lambda:useCdkManagedLogGroup', false);

    const role = new Role(this, 'Role', {
      assumedBy: new CompositePrincipal(
        new ServicePrincipal('lambda.amazonaws.com'),
        new ServicePrincipal('edgelambda.amazonaws.com'),
      ),
    });
    role.addToPolicy(
      new PolicyStatement({
        actions: ['logs:CreateLogGroup', 'logs:CreateLogStream', 'logs:PutLogEvents'],
        resources: [`arn:${Aws.PARTITION}:logs:*:${Aws.ACCOUNT_ID}:log-group:${edgeLogGroupName(functionName)}:*`],
      }),
    );
    Validations.of(this).acknowledge({
      id: `AwsSolutions-IAM5[Resource::arn:<AWS::Partition>:logs:*:<AWS::AccountId>:log-group:${edgeLogGroupName(functionName)}:*]`,
      reason: 'edge functions log in every region where they run, each to its own log group',
    });
    props.flagTable?.grantRead(role, props.prefix === undefined ? {} : { prefix: props.prefix });

    this.function = new lambda.Function(this, 'Function', {
      functionName,
      runtime: lambda.Runtime.NODEJS_24_X,
      architecture: lambda.Architecture.X86_64,
      handler: 'index.handler',
      code: lambda.Code.fromAsset(bundled(code)),
      role,
      timeout: props.timeout ?? Duration.seconds(this.eventType.startsWith('viewer-') ? 5 : 30),
      memorySize: props.memorySize ?? 128,
      // A distribution uses the previous version until it is updated. Deleting the function deletes its versions.
      currentVersionOptions: { removalPolicy: RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE },
    });
    setRetained(this.function, retain);
    const problems = this.problems(region);
    if (problems.length > 0) throw new Error(inLines(problems.map((message) => ({ message }))));
    this.node.addValidation({ validate: () => this.problems(region) });
    this.grantPrincipal = this.function.grantPrincipal;
    this.association = { functionVersion: this.function.currentVersion, eventType: eventTypes[this.eventType] };
  }

  /** Failed invocations in the region that `options` name: functions report where they ran. @default the sum of a minute in us-east-1 */
  metricErrors(options: MetricOptions = {}): Metric {
    return edgeFunctionMetric(this.functionName, 'Errors', 'Sum').with(options);
  }

  /** Invocations, by region as `metricErrors`. @default the sum of a minute in us-east-1 */
  metricInvocations(options: MetricOptions = {}): Metric {
    return edgeFunctionMetric(this.functionName, 'Invocations', 'Sum').with(options);
  }

  private problems(region: string): string[] {
    const cfnFunction = this.function.node.defaultChild as lambda.CfnFunction;
    const rendered = Stack.of(this).resolve(cfnFunction._toCloudFormation());
    const [resource] = Object.values(rendered.Resources) as { Properties: EdgeFunctionProperties }[];
    return describeEdgeProblems(resource!.Properties, { eventType: this.eventType, region }).map(
      (problem) => `edge function ${this.node.path} ${problem}`,
    );
  }
}

export const eventTypes: Readonly<Record<EdgeEventType, LambdaEdgeEventType>> = {
  'viewer-request': LambdaEdgeEventType.VIEWER_REQUEST,
  'origin-request': LambdaEdgeEventType.ORIGIN_REQUEST,
  'origin-response': LambdaEdgeEventType.ORIGIN_RESPONSE,
  'viewer-response': LambdaEdgeEventType.VIEWER_RESPONSE,
};

/** The log group of an edge function, in each region where it runs. AWS: "Test and debug Lambda@Edge functions". */
export function edgeLogGroupName(functionName: string): string {
  return `/aws/lambda/us-east-1.${functionName}`;
}

function bundled(code: EdgeCode): string {
  if ('entryFile' in code) {
    const { entryFile, config } = code;
    return bundledOnce({ entryFile, config }, (outdir) => buildOwnEdge({ entryFile, config, outdir }));
  }
  const { router: entry, config } = code;
  return bundledOnce({ entry, config }, (outdir) => buildEdge({ entry, config, outdir }));
}
