import type * as cloudfront from 'aws-cdk-lib/aws-cloudfront';
import { Construct } from 'constructs';
import type { ReaderConfig } from '../../lambda/edge-reader/config.ts';
import { inLines } from '../../lambda/edge-router/check-config.ts';
import { flagKeysOf } from '../../lambda/edge-router/config.ts';
import { edgeProblems } from './check-edge.ts';
import { behaviorOf } from './edge-behavior.ts';
import { readBootstrap } from './edge-bootstrap.ts';
import { decisionMetricNames, routedBehaviors, routerConfigs } from './edge-configs.ts';
import { EdgeFlagFunction } from './edge-flag-function.ts';
import { destinationOf, type Forwarding, forwardingOf } from './edge-forwarding.ts';
import { EdgeMonitoring, type EdgeMonitoringOptions } from './edge-monitoring.ts';
import { publishRouter, routerValues } from './edge-parameters.ts';
import { EdgePolicies } from './edge-policies.ts';
import { type BehaviorSettings, exposuresOptions } from './edge-settings.ts';
import type { IFlagTable } from './flag-table.ts';
import { edgeNamespace, heartbeatSecondsOf } from './observability/observed.ts';
import { nearestReplicas } from './regions.ts';
import { checkStageName } from './relay-contract.ts';
import type { EdgeSettings } from './stage-settings.ts';

/** What a stage file says of a distribution, of its names and of what watches it. Here these are your own constructs, and `monitoring`. */
type OfDistribution =
  | 'distributionId'
  | 'defaultRootObject'
  | 'domainNames'
  | 'certificateArn'
  | 'hostedZone'
  | 'priceClass'
  | 'webAclArn'
  | 'logRegions'
  | 'check';

/** `edge` of a stage file, without what belongs to its distribution. Literals, since they are compiled into the functions. */
export type RouterSettings = Omit<EdgeSettings, OfDistribution>;

export interface EdgeRouterProps {
  readonly stage: string;
  readonly flagTable: IFlagTable;
  readonly edge: RouterSettings;
  /** What the names of its cache and origin request policies begin with. @default from the construct's path */
  readonly policyName?: string;
  /** Whether functions are retained when their stack is deleted. @default true */
  readonly retain?: boolean;
  /** Log retention, alarms and a dashboard: stacks in other regions. @default as described at the properties */
  readonly monitoring?: EdgeMonitoringOptions | false;
}

/** Names of a stage's edge functions; log groups in every region use them. */
export function edgeFunctionNames(stage: string): string[] {
  return ['viewer-request', 'origin-request', 'viewer-response'].map((kind) => `edge-flag-relay-${stage}-${kind}`);
}

/**
 * The three functions that route viewers by a flag, and the policies that they need. For a behavior of any distribution in this
 * stack: `{ origin, ...router.behavior() }`. Throws an Error for anything that CloudFront does not accept.
 */
export class EdgeRouter extends Construct {
  readonly viewerRequest: EdgeFlagFunction;
  readonly originRequest: EdgeFlagFunction;
  readonly viewerResponse: EdgeFlagFunction;
  readonly edgeLambdas: cloudfront.EdgeLambda[];
  /** Those of the first behavior that the flag routes. */
  readonly cachePolicy: cloudfront.ICachePolicy;
  readonly originRequestPolicy?: cloudfront.IOriginRequestPolicy;
  /** What distributions elsewhere need; also in SSM, in us-east-1: `edgeParameterName`. */
  readonly published: ReturnType<typeof routerValues>;
  /** Absent if it was switched off. */
  readonly monitoring?: EdgeMonitoring;
  private readonly policies: EdgePolicies;
  private readonly edge: RouterSettings;

  constructor(scope: Construct, id: string, props: EdgeRouterProps) {
    super(scope, id);
    const { stage, flagTable, edge, retain, monitoring = {} } = props;
    checkStageName(this, stage);
    const problems = edgeProblems(edge);
    if (problems.length > 0) throw new Error(`edge router: ${inLines(problems)}`);
    this.edge = edge;
    const { prefix, bootstrapFile, preview, exposures } = edge;
    const { tableName, homeRegion, replicaRegions } = flagTable;
    const reader: ReaderConfig = {
      tableName,
      prefix,
      replicas: nearestReplicas(homeRegion, replicaRegions),
      ...edge.reader,
    };
    const configs = routerConfigs(edge, reader);
    const [viewerRequest, originRequest, viewerResponse] = edgeFunctionNames(stage) as [string, string, string];

    this.viewerRequest = new EdgeFlagFunction(this, 'ViewerRequest', {
      functionName: viewerRequest,
      code: {
        router: 'viewer-request',
        config: {
          ...configs['viewer-request'],
          metricsNamespace: edgeNamespace(stage),
          ...(bootstrapFile !== undefined && { bootstrap: readBootstrap(bootstrapFile, flagKeysOf(edge)) }),
          ...(preview && { preview: { ...preview, stage, secure: edge.cookieSecure ?? true } }),
          ...(exposures && { exposures: exposuresOptions(exposures) }),
        },
      },
      flagTable,
      prefix,
      retain,
    });
    this.originRequest = new EdgeFlagFunction(this, 'OriginRequest', {
      functionName: originRequest,
      code: { router: 'origin-request', config: configs['origin-request'] },
      retain,
    });
    this.viewerResponse = new EdgeFlagFunction(this, 'ViewerResponse', {
      functionName: viewerResponse,
      code: { router: 'viewer-response', config: configs['viewer-response'] },
      retain,
    });
    this.edgeLambdas = [this.viewerRequest, this.originRequest, this.viewerResponse].map((one) => one.association);

    this.policies = new EdgePolicies(this, 'Policies', { name: props.policyName });
    const [, routed] = routedBehaviors(edge)[0]!;
    const forwarding = forwardingOf(routed, destinationOf(routed, edge));
    const { cachePolicy, originRequestPolicy } = this.policies.lasting(forwarding);
    this.cachePolicy = cachePolicy;
    if (originRequestPolicy) this.originRequestPolicy = originRequestPolicy;
    this.published = routerValues([this.viewerRequest, this.originRequest, this.viewerResponse], this);
    publishRouter(this, stage, this.published);
    if (monitoring) {
      const named = {
        stage,
        functionNames: edgeFunctionNames(stage),
        decisions: decisionMetricNames(edge),
        heartbeatSeconds: heartbeatSecondsOf(edge),
      };
      this.monitoring = new EdgeMonitoring(this, 'Monitoring', { flagTable, ...named, ...monitoring });
    }
  }

  /** What a behavior of a distribution needs besides its origin: policies, methods and, if the flag routes it, the functions. */
  behavior(settings?: BehaviorSettings): cloudfront.AddBehaviorOptions {
    const { edge, edgeLambdas, policies } = this;
    const { behavior: own = {} } = edge;
    // `cachePolicy` is that of the stage's own behavior, and of no other one.
    const first = settings === undefined && own.origin === undefined;
    const chosen = first ? { of: (rules: Forwarding) => policies.lasting(rules) } : policies;
    return behaviorOf(settings ?? own, edge, { policies: chosen, edgeLambdas });
  }
}
