import { Annotations, Stack, type StackProps, Stage, Tags } from 'aws-cdk-lib';
import { Key } from 'aws-cdk-lib/aws-kms';
import type { Construct } from 'constructs';
import { acknowledgeFindings } from './acknowledged.ts';
import { useCustomerKeys } from './customer-keys.ts';
import { EdgeFunctionsStack } from './edge-functions-stack.ts';
import { edgeFunctionNames } from './edge-router.ts';
import { EdgeStack } from './edge-stack.ts';
import { ExposureCollector, ExposureSender } from './exposures.ts';
import { FlagTable, type IFlagTable } from './flag-table.ts';
import { usesTls } from './hosted-zone.ts';
import type { ObservabilityStack } from './observability/observability-stack.ts';
import { alarmRegions, pagingRegions } from './observability/recipients.ts';
import { addObservability } from './observability-of.ts';
import { RegionStack } from './region-stack.ts';
import { EDGE_REGION, edgeLogRegions } from './regions.ts';
import { RelayStack } from './relay-stack.ts';
import type { Stage as StageConfig } from './stage.ts';
import type { StageStacks } from './stage-stacks.ts';

/** AWS's example account, used in the stage files until you edit them. */
const EXAMPLE_ACCOUNT = '111122223333';

/**
 * One deployment of everything. Stacks know each other by names, literally or in SSM, never by exports: those could not change while
 * another stack uses them. Dependencies define the order of deployment.
 */
export class RelayStage extends Stage implements StageStacks {
  readonly config: StageConfig;
  readonly flagTable: IFlagTable;
  readonly data?: Stack;
  readonly relays: readonly RelayStack[];
  readonly edge?: EdgeStack;
  /** In the home region: dashboard, alarms, saved queries, synthetic check. */
  readonly observability: ObservabilityStack;
  readonly regions: ReadonlyMap<string, RegionStack>;

  constructor(scope: Construct, id: string, config: StageConfig) {
    super(scope, id, { env: { account: config.account, region: config.homeRegion } });
    this.config = config;
    const { tableName, homeRegion, replicaRegions } = config;
    const keys = config.encryptionKeys;
    if (config.table === 'existing') {
      this.flagTable = FlagTable.fromExisting(tableName, {
        homeRegion,
        replicaRegions,
        ...(keys && { encryptionKeys: keys }),
      });
    } else {
      this.data = new Stack(this, 'Data', this.stackProps('data', homeRegion, 'the flag table and its replicas'));
      this.flagTable = new FlagTable(this.data, 'FlagTable', {
        tableName,
        replicaRegions,
        encryptionKeys: keys,
        retain: config.production,
        deletionProtection: config.protected,
      });
    }
    this.relays = [homeRegion, ...config.relayRegions].map((region) => this.relayIn(region));
    this.regions = this.regionStacks();
    if (config.edge) this.edge = this.edgeStack(config.edge);
    if (config.edge?.exposures) this.addExposures(config.edge.exposures.environment);
    const observabilityProps = this.stackProps('observability', homeRegion, 'dashboard, alarms, synthetic check');
    this.observability = addObservability(this, observabilityProps);

    if (keys) useCustomerKeys(this, keys);
    acknowledgeFindings(this);
    for (const [key, value] of Object.entries(this.tagging())) Tags.of(this).add(key, value);
    if (config.production && !config.protected) {
      const advice = `stage ${config.name} is not protected from deletion: after its first successful deployment set protected: true and deploy again`;
      Annotations.of(this.relays[0]!).addWarningV2('edge-flag-relay:notProtected', advice);
    }
    if (JSON.stringify(config).includes(EXAMPLE_ACCOUNT)) {
      const advice = `stage ${config.name} still contains an ARN of AWS's example account ${EXAMPLE_ACCOUNT}: replace it with your own before deploying`;
      Annotations.of(this.relays[0]!).addWarningV2('edge-flag-relay:exampleAccount', advice);
    }
  }

  private relayIn(region: string): RelayStack {
    const { config } = this;
    const suffix = region === config.homeRegion ? '' : `-${region}`;
    const stack = new RelayStack(this, `Relay${suffix}`, {
      ...this.stackProps(`relay${suffix}`, region, 'the relay and its network'),
      stage: config,
      flagTable: this.flagTable,
    });
    if (this.data) stack.addStackDependency(this.data);
    return stack;
  }

  private regionStacks(): Map<string, RegionStack> {
    const { config } = this;
    const { homeRegion, replicaRegions, edge } = config;
    const withReplica = [homeRegion, ...replicaRegions];
    const paging = pagingRegions(config);
    const withLogs = edgeLogRegions(config);
    const stacks = new Map(
      alarmRegions(config).map((region) => [
        region,
        new RegionStack(this, `Region-${region}`, {
          ...this.stackProps(`region-${region}`, region, 'reader layer, edge logs, topics, alarms'),
          stage: config.name,
          edgeFunctionNames: withLogs.includes(region) ? edgeFunctionNames(config.name) : [],
          ...(edge &&
            region === EDGE_REGION && {
              edgeLogs: {
                functionNames: edgeFunctionNames(config.name),
                regions: withLogs,
                encryptionKeys: config.encryptionKeys,
              },
            }),
          readerLayer: config.readerLayer && withReplica.includes(region),
          logRetentionDays: config.logRetentionDays,
          emails: config.alarms.emails,
          pageEmails: paging.includes(region) ? config.alarms.pageEmails : undefined,
        }),
      ]),
    );
    // It creates the log groups that the others subscribe to.
    const first = edge && stacks.get(EDGE_REGION);
    for (const one of stacks.values()) if (first && one !== first) one.addStackDependency(first);
    return stacks;
  }

  private edgeStack(edge: NonNullable<StageConfig['edge']>): EdgeStack {
    const { name: stage } = this.config;
    const functions = new EdgeFunctionsStack(this, 'EdgeFunctions', {
      ...this.stackProps('edge-functions', EDGE_REGION, 'edge functions'),
      ...{ stage, flagTable: this.flagTable, edge },
    });
    // The functions need the table, and log groups that already have their retention.
    if (this.data) functions.addStackDependency(this.data);
    for (const region of this.regions.values()) functions.addStackDependency(region);
    const stack = new EdgeStack(this, 'Edge', {
      ...this.stackProps('edge', EDGE_REGION, 'the distribution of the edge functions, and its alarms'),
      ...{ stage, edge },
    });
    stack.addStackDependency(functions);
    return stack;
  }

  /** The sender in the home region, and a collector of what viewer-request writes in each region where its log has a retention. */
  private addExposures(environment: string): void {
    const { name: stage, homeRegion, relay, logRetentionDays } = this.config;
    const home = this.relays[0]!;
    // The stage was checked: exposures need it.
    const loadBalancer = home.relay.internal?.loadBalancer;
    if (!loadBalancer) return;
    new ExposureSender(home, 'Exposures', {
      stage,
      relayUrl: `${usesTls(relay, homeRegion) ? 'https' : 'http'}://${loadBalancer.loadBalancerDnsName}`,
      serverName: relay.hostName,
      loadBalancer,
      vpc: home.network.vpc,
      subnets: home.network.functionSubnets,
      logRetention: logRetentionDays,
    });
    const key = relay.encryptionKeys[homeRegion];
    const [viewerRequest] = edgeFunctionNames(stage);
    for (const region of this.regions.values()) {
      const logGroup = region.logGroups.get(viewerRequest!);
      if (!logGroup) continue;
      new ExposureCollector(region, 'Exposures', {
        ...{ stage, environment, homeRegion, logRetention: logRetentionDays, logGroups: [logGroup] },
        ...(key !== undefined && { encryptionKey: Key.fromKeyArn(region, 'ParametersKey', key) }),
      });
    }
  }

  private stackProps(name: string, region: string, what: string): StackProps {
    return {
      stackName: `edge-flag-relay-${this.config.name}-${name}`,
      description: `edge-flag-relay: ${what}`,
      env: { account: this.config.account, region },
      terminationProtection: this.config.protected,
      tags: this.tagging(),
    };
  }

  private tagging(): Record<string, string> {
    return { ...this.config.tags, application: 'edge-flag-relay', stage: this.config.name };
  }
}
