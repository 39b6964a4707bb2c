import { Annotations, type Stack, type StackProps } from 'aws-cdk-lib';
import { SecurityGroup } from 'aws-cdk-lib/aws-ec2';
import { Key } from 'aws-cdk-lib/aws-kms';
import { LayerVersion } from 'aws-cdk-lib/aws-lambda';
import { StringParameter } from 'aws-cdk-lib/aws-ssm';
import type { Construct } from 'constructs';
import { layerParameterName } from './flag-reader-layer.ts';
import { usesTls } from './hosted-zone.ts';
import { type AlarmOptions, dashboardAddress, EdgeAlarms, RegionAlarms, RelayAlarms } from './observability/alarms.ts';
import { dashboardName } from './observability/dashboard.ts';
import { checkedAddress, EdgeCheck } from './observability/edge-check.ts';
import {
  type CanaryNeeds,
  ObservabilityStack,
  type ObservedRelay,
  observeStage,
  observeTable,
} from './observability/observability-stack.ts';
import { describeUntold } from './observability/recipients.ts';
import { publishedNetwork } from './published-network.ts';
import { topicsFor } from './region-stack.ts';
import {
  addressOf,
  type LoadBalancerAddress,
  type LoadBalancerName,
  publishedAddress,
  publishedCertificate,
} from './relay-addresses.ts';
import { clusterName, relayLogGroupName, SERVICE_NAME } from './relay-contract.ts';
import type { RelayStack } from './relay-stack.ts';
import type { Stage } from './stage.ts';
import type { StageStacks } from './stage-stacks.ts';

/**
 * Adds monitoring to a stage after its other stacks: a stack in the home region with dashboard, alarms, saved queries and
 * synthetic check, and alarms in the stacks of other regions and of the edge, since alarms must be in their metrics' region.
 *
 * Stacks refer to networks, load balancers, topics and layers by name, in SSM or literally: CloudFormation would refuse to replace or
 * remove them while another stack imports them. Dependencies define the order of deployment.
 */
export function addObservability(stage: StageStacks, props: StackProps): ObservabilityStack {
  const { config, relays, regions, edge } = stage;
  const { name, homeRegion } = config;
  const home = relays[0]!;
  const homeStack = regions.get(homeRegion)!;

  const stack = new ObservabilityStack(stage, 'Observability', {
    ...props,
    stage: config,
    relay: (scope) => ({
      ...observedRelay(config, (one) => publishedAddress(scope, name, one)),
      madeCertificateArns: Object.keys(home.madeCertificates).map((one) =>
        publishedCertificate(scope, name, one as LoadBalancerName),
      ),
    }),
    alarms: (scope) => alarmOptions(config, scope),
    ...(config.environments.length > 0 && config.readerLayer && { canary: (scope) => canaryNeeds(scope, stage, home) }),
  });
  stack.addStackDependency(home);
  stack.addStackDependency(homeStack);

  for (const other of relays.slice(1)) {
    const { region } = other;
    const observed = observeStage(
      config,
      {
        ...observedRelay(config, (one) => addressOf(other.relay[one]!)),
        madeCertificateArns: Object.values(other.madeCertificates),
      },
      { canary: false, region },
    );
    // Replication latency is reported in the home region.
    const own = { ...observed, replicaRegions: [] };
    const { availabilityPercent } = config.alarms;
    new RelayAlarms(other, 'Alarms', {
      ...{ relay: { observed: () => own }, alarmNamePrefix: `edge-flag-relay-${name}` },
      ...{ availabilityPercent, ...alarmOptions(config, other) },
    });
    other.addStackDependency(regions.get(region)!);
  }
  for (const [region, one] of regions) {
    new RegionAlarms(one, 'RegionAlarms', { observed: observeTable(config), region, ...alarmOptions(config, one) });
  }
  if (edge) {
    const checked = config.edge && checkedAddress(config.edge);
    if (checked !== undefined) {
      // CloudFront's own name, since the site's names may still lead elsewhere.
      const url = checked.startsWith('/') ? `https://${edge.distribution?.distributionDomainName}${checked}` : checked;
      new EdgeCheck(edge, 'EdgeCheck', { stage: name, url, logRetentionDays: config.logRetentionDays });
    }
    // The edge stack is deployed after all region stacks.
    new EdgeAlarms(edge, 'EdgeAlarms', {
      stage: name,
      distributionId: edge.distributionId,
      certificateArn: edge.certificateArn,
      checked: checked !== undefined,
      ...alarmOptions(config, edge),
    });
  }
  const untold = config.production ? describeUntold(config) : undefined;
  if (untold !== undefined) {
    Annotations.of(stack).addWarningV2('edge-flag-relay:nobodyIsTold', `stage ${name}: ${untold}`);
  }
  return stack;
}

/** What alarms in a stack say, and to whom. */
function alarmOptions({ name, homeRegion, alarms }: Stage, scope: Stack): AlarmOptions {
  const { topics, pageTopics, runbooks, thresholds } = alarms;
  const dashboard = dashboardAddress(homeRegion, dashboardName(name));
  return { ...topicsFor(scope, { stage: name, topics, pageTopics }), runbooks, thresholds, dashboard };
}

function observedRelay(
  { name, relay }: Stage,
  address: (one: LoadBalancerName) => Pick<LoadBalancerAddress, 'fullName' | 'targetGroupFullName'>,
): ObservedRelay {
  const balancers: LoadBalancerName[] = [
    ...(relay.loadBalancer ? (['internal'] as const) : []),
    ...(relay.publicAccess ? (['public'] as const) : []),
  ];
  return {
    clusterName: clusterName(name),
    serviceName: SERVICE_NAME,
    logGroupName: relayLogGroupName(name),
    loadBalancers: balancers.map((one) => {
      const { fullName, targetGroupFullName } = address(one);
      return { name: one, fullName, targetGroupFullName };
    }),
  };
}

function canaryNeeds(scope: Construct, { config, flagTable }: StageStacks, { region }: RelayStack): CanaryNeeds {
  const { name, relay, environments } = config;
  const address = relay.loadBalancer ? publishedAddress(scope, name, 'internal') : undefined;
  const key = relay.encryptionKeys[region];
  const layerArn = StringParameter.valueForStringParameter(scope, layerParameterName(name));
  return {
    environment: environments[0]!,
    ...(address && {
      relayUrl: `${usesTls(relay, region) ? 'https' : 'http'}://${address.dnsName}`,
      ...(relay.hostName && { serverName: relay.hostName }),
      loadBalancer: SecurityGroup.fromSecurityGroupId(scope, 'LoadBalancer', address.securityGroupId),
    }),
    ...publishedNetwork(scope, name, config.networks[region]!),
    flagTable,
    readerLayer: LayerVersion.fromLayerVersionArn(scope, 'ReaderLayer', layerArn),
    ...(key !== undefined && { encryptionKey: Key.fromKeyArn(scope, 'ParametersKey', key) }),
  };
}
