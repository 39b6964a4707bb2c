import * as cloudfront from 'aws-cdk-lib/aws-cloudfront';
import { Version } from 'aws-cdk-lib/aws-lambda';
import { StringParameter } from 'aws-cdk-lib/aws-ssm';
import { Construct } from 'constructs';
import { type EdgeFlagFunction, eventTypes } from './edge-flag-function.ts';
import type { Policies } from './edge-policies.ts';
import { literalRegion } from './literal-region.ts';
import { EDGE_REGION } from './regions.ts';

/** What a distribution of another stack, or of another tool, needs of a router. */
export type EdgeParameter =
  | 'viewer-request-arn'
  | 'origin-request-arn'
  | 'viewer-response-arn'
  | 'cache-policy-id'
  | 'origin-request-policy-id';

/** The name of its SSM parameter, in us-east-1. ARNs have a version: each change of the router has another. */
export function edgeParameterName(stage: string, what: EdgeParameter): string {
  return `/edge-flag-relay/${stage}/edge/${what}`;
}

/** What others need, by the name of its parameter. */
export function routerValues(
  functions: readonly EdgeFlagFunction[],
  { cachePolicy, originRequestPolicy }: Policies,
): Readonly<Partial<Record<EdgeParameter, string>>> {
  return {
    ...Object.fromEntries(functions.map((one) => [`${one.eventType}-arn`, one.function.currentVersion.functionArn])),
    'cache-policy-id': cachePolicy.cachePolicyId,
    ...(originRequestPolicy && { 'origin-request-policy-id': originRequestPolicy.originRequestPolicyId }),
  };
}

/** Stores them in SSM, for stacks and tools that come later. An export would prevent replacing a version. */
export function publishRouter(scope: Construct, stage: string, values: ReturnType<typeof routerValues>): void {
  for (const [what, stringValue] of Object.entries(values)) {
    const parameterName = edgeParameterName(stage, what as EdgeParameter);
    const description = `The edge router: ${what}`;
    new StringParameter(scope, `Parameter-${what}`, { parameterName, stringValue, description });
  }
}

/** The functions of a router in another stack, in the versions that it published last. */
export function publishedFunctions(scope: Construct, stage: string): cloudfront.EdgeLambda[] {
  return (['viewer-request', 'origin-request', 'viewer-response'] as const).map((kind) => {
    const arn = StringParameter.valueForStringParameter(scope, edgeParameterName(stage, `${kind}-arn`));
    return { eventType: eventTypes[kind], functionVersion: Version.fromVersionArn(scope, kind, arn) };
  });
}

export interface PublishedRouterProps {
  /** The stage of the router. */
  readonly stage: string;
  /** Whether the router has an origin request policy: those with variants in a bucket have none. @default true */
  readonly originRequestPolicy?: boolean;
}

/**
 * A router that another app deployed, for a distribution of yours: `{ origin, ...router.behavior }`. Reads the router's
 * parameters in SSM when your stack is deployed, which must be in us-east-1. After a change of the router, deploy yours again.
 */
export class PublishedRouter extends Construct {
  readonly behavior: Pick<cloudfront.AddBehaviorOptions, 'edgeLambdas' | 'cachePolicy' | 'originRequestPolicy'>;

  constructor(scope: Construct, id: string, { stage, originRequestPolicy = true }: PublishedRouterProps) {
    super(scope, id);
    const region = literalRegion(this, 'a published router');
    if (region !== EDGE_REGION)
      throw new Error(`${this.node.path} is in ${region}: the router's parameters are in ${EDGE_REGION}`);
    const read = (what: EdgeParameter) => StringParameter.valueForStringParameter(this, edgeParameterName(stage, what));
    this.behavior = {
      edgeLambdas: publishedFunctions(this, stage),
      cachePolicy: cloudfront.CachePolicy.fromCachePolicyId(this, 'CachePolicy', read('cache-policy-id')),
      ...(originRequestPolicy && {
        originRequestPolicy: cloudfront.OriginRequestPolicy.fromOriginRequestPolicyId(
          this,
          'OriginRequestPolicy',
          read('origin-request-policy-id'),
        ),
      }),
    };
  }
}
