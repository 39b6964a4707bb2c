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
import type { TemplateResource } from '../../lib/infrastructure/template.ts';
import { type DashboardBody, dashboardsIn } from './body.ts';

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
      Resources: Record<string, TemplateResource>;
    };
    return dashboardsIn(Resources, region)[0]!;
  } finally {
    rmSync(outdir, { recursive: true, force: true });
  }
}
