import { Duration } from 'aws-cdk-lib';
import * as cloudfront from 'aws-cdk-lib/aws-cloudfront';
import { Construct } from 'constructs';
import type { ReaderConfig } from '../../lambda/edge-reader/config.ts';
import { EdgeFlagFunction } from './edge-flag-function.ts';
import type { IFlagTable } from './flag-table.ts';
import { edgeNamespace } from './observability/observed.ts';
import { nearestReplicas } from './regions.ts';
import type { EdgeSettings } from './stage-settings.ts';

export interface EdgeRouterProps {
  readonly stage: string;
  readonly flagTable: IFlagTable;
  readonly edge: EdgeSettings;
  readonly retain?: boolean;
}

/** Names of a stage's edge functions; log groups in every region use them. */
export function edgeFunctionNames(stage: string): string[] {
  return ['viewer-request', 'origin-request', 'viewer-response'].map((kind) => `edge-flag-relay-${stage}-${kind}`);
}

/**
 * The three functions that route viewers by a flag, and their cache policy. Use `edgeLambdas` and `cachePolicy` in a behavior
 * of any distribution in this stack.
 */
export class EdgeRouter extends Construct {
  readonly viewerRequest: EdgeFlagFunction;
  readonly originRequest: EdgeFlagFunction;
  readonly viewerResponse: EdgeFlagFunction;
  readonly edgeLambdas: cloudfront.EdgeLambda[];
  readonly cachePolicy: cloudfront.CachePolicy;

  constructor(scope: Construct, id: string, { stage, flagTable, edge, retain }: EdgeRouterProps) {
    super(scope, id);
    const { flagKey, origins, defaultVariant, variantHeader, cookieName, cookieMaxAgeSeconds, prefix } = edge;
    const { tableName, homeRegion, replicaRegions } = flagTable;
    const reader: ReaderConfig = {
      tableName,
      prefix,
      replicas: nearestReplicas(homeRegion, replicaRegions),
      ...edge.reader,
    };
    const named = { ...(variantHeader && { variantHeader }) };
    const cookie = { ...(cookieName && { cookieName }) };
    const variants = Object.keys(origins);
    const [viewerRequest, originRequest, viewerResponse] = edgeFunctionNames(stage) as [string, string, string];

    this.viewerRequest = new EdgeFlagFunction(this, 'ViewerRequest', {
      functionName: viewerRequest,
      code: {
        router: 'viewer-request',
        config: {
          reader,
          flagKey,
          variants,
          defaultVariant,
          metricsNamespace: edgeNamespace(stage),
          ...named,
          ...cookie,
        },
      },
      flagTable,
      prefix,
      retain,
    });
    this.originRequest = new EdgeFlagFunction(this, 'OriginRequest', {
      functionName: originRequest,
      code: { router: 'origin-request', config: { origins, defaultVariant, ...named } },
      retain,
    });
    this.viewerResponse = new EdgeFlagFunction(this, 'ViewerResponse', {
      functionName: viewerResponse,
      code: {
        router: 'viewer-response',
        config: { ...cookie, ...(cookieMaxAgeSeconds && { cookieMaxAgeSeconds }) },
      },
      retain,
    });
    this.edgeLambdas = [this.viewerRequest, this.originRequest, this.viewerResponse].map((one) => one.association);

    // The variant is the only viewer data in the cache key: anything else could show one viewer's page to another.
    this.cachePolicy = new cloudfront.CachePolicy(this, 'CachePolicy', {
      cachePolicyName: `edge-flag-relay-${stage}`,
      comment: 'by variant',
      headerBehavior: cloudfront.CacheHeaderBehavior.allowList(variantHeader ?? 'x-flag-variant'),
      cookieBehavior: cloudfront.CacheCookieBehavior.none(),
      queryStringBehavior: cloudfront.CacheQueryStringBehavior.all(),
      minTtl: Duration.seconds(0),
      defaultTtl: Duration.minutes(1),
      maxTtl: Duration.days(365),
      enableAcceptEncodingGzip: true,
      enableAcceptEncodingBrotli: true,
    });
  }
}
