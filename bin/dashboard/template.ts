/** The dashboard in a stage's template; needs no AWS account. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { App, Stack } from 'aws-cdk-lib';
import { Vpc } from 'aws-cdk-lib/aws-ec2';
import { LayerVersion } from 'aws-cdk-lib/aws-lambda';
import { Topic } from 'aws-cdk-lib/aws-sns';
import { FlagTable } from '../../lib/infrastructure/flag-table.ts';
import { ObservabilityStack } from '../../lib/infrastructure/observability/observability-stack.ts';
import type { Stage } from '../../lib/infrastructure/stages.ts';

/** CloudWatch: "Dashboard body structure and syntax". */
export interface DashboardBody {
  readonly widgets: readonly Widget[];
}

export interface Widget {
  readonly type: string;
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
  readonly properties: WidgetProperties;
}

export interface WidgetProperties {
  readonly title?: string;
  readonly markdown?: string;
  readonly view?: string;
  readonly region?: string;
  /** A range of its own: `-P30D`. */
  readonly start?: string;
  readonly stacked?: boolean;
  readonly metrics?: readonly (readonly unknown[])[];
  readonly annotations?: { readonly horizontal?: readonly { readonly value: number; readonly label?: string }[] };
  readonly yAxis?: { readonly left?: Axis; readonly right?: Axis };
  readonly alarms?: readonly string[];
  readonly query?: string;
}

export interface Axis {
  readonly label?: string;
  readonly min?: number;
  readonly max?: number;
}

type Resource = { readonly Type: string; readonly Properties: Readonly<Record<string, unknown>> };

/** Synthesises the observability stack, with placeholders for values that only a deployed relay has. */
export function dashboardOf(stage: Stage): DashboardBody {
  const { name, homeRegion: region, replicaRegions, tableName, environments } = stage;
  const account = stage.account ?? '123456789012';
  const outdir = mkdtempSync(join(tmpdir(), 'edge-flag-relay-dashboard-'));
  try {
    const app = new App({ outdir, analyticsReporting: false, builtinCloudFormationValidation: false });
    // In a real stage these are in other stacks.
    const given = new Stack(app, 'Given', { env: { account, region } });
    const stack = new ObservabilityStack(app, 'Observability', {
      env: { account, region },
      stage,
      relay: {
        clusterName: `edge-flag-relay-${name}`,
        serviceName: 'relay',
        logGroupName: `/edge-flag-relay/${name}/relay`,
        loadBalancers: [
          ...(stage.relay.loadBalancer ? ['internal'] : []),
          ...(stage.relay.publicAccess ? ['public'] : []),
        ].map((one) => ({
          name: one,
          fullName: `app/${one}/0123456789abcdef`,
          targetGroupFullName: `targetgroup/${one}/0123456789abcdef`,
        })),
      },
      alarms: () => ({ topics: [Topic.fromTopicArn(given, 'Topic', `arn:aws:sns:${region}:${account}:alarms`)] }),
      canary: (scope) =>
        environments[0] === undefined
          ? undefined
          : {
              environment: environments[0],
              relayUrl: 'https://relay.example.com',
              vpc: Vpc.fromVpcAttributes(scope, 'Vpc', {
                vpcId: 'vpc-0123456789abcdef0',
                availabilityZones: [`${region}a`],
                privateSubnetIds: ['subnet-0123456789abcdef0'],
                privateSubnetRouteTableIds: ['rtb-0123456789abcdef0'],
              }),
              subnets: {},
              flagTable: FlagTable.fromExisting(tableName, { homeRegion: region, replicaRegions }),
              readerLayer: LayerVersion.fromLayerVersionArn(
                scope,
                'Layer',
                `arn:aws:lambda:${region}:${account}:layer:reader:1`,
              ),
            },
    });
    const { Resources } = app.synth().getStackArtifact(stack.artifactId).template as {
      Resources: Record<string, Resource>;
    };
    const [dashboard] = Object.values(Resources).filter(({ Type }) => Type === 'AWS::CloudWatch::Dashboard');
    return JSON.parse(
      textOf(dashboard?.Properties.DashboardBody, Resources)
        .replaceAll('AWS::Region', region)
        .replaceAll('AWS::Partition', 'aws'),
    );
  } finally {
    rmSync(outdir, { recursive: true, force: true });
  }
}

/** Resolves a template string; a reference becomes the name of its resource. */
function textOf(value: unknown, resources: Readonly<Record<string, Resource>>): string {
  if (typeof value === 'string') return value;
  const { 'Fn::Join': join, 'Fn::GetAtt': attribute, Ref: ref } = value as Record<string, unknown>;
  if (Array.isArray(join)) return (join[1] as unknown[]).map((part) => textOf(part, resources)).join(String(join[0]));
  const id = Array.isArray(attribute) ? attribute[0] : ref;
  const { AlarmName, Name } = resources[String(id)]?.Properties ?? {};
  return String(AlarmName ?? Name ?? id);
}
