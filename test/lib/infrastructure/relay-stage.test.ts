/** Whole stages: their stacks, what connects them, and what must never be in them. The tests of their parts are imported. */
import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { promisify } from 'node:util';
import { CfnResource, Stack, Validations } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { Bucket } from 'aws-cdk-lib/aws-s3';
import { EDGE_EXECUTION_REGIONS } from '../../../lib/infrastructure/regions.ts';
import { stages } from '../../../lib/infrastructure/stages.ts';
import { published } from '../../../relay-task/status/published.ts';
import { itemsOf, putSnapshot } from '../../lambda/edge-reader/table-writer.ts';
import { startTable } from '../../support/dynalite.ts';
import { evaluateAll, exampleEnvironment } from '../../support/example-environment.ts';
import { runAsLambda } from '../../support/run-as-lambda.ts';
import { createApp, full, type Synthesised, synthesise } from '../../support/synthesise.ts';
import { alarmsIn, metricsOf } from './observability/observe.ts';
import { checked, createCheckedApp, made, oddStage } from './whole-stages.ts';
import './cfn-lint-tests.ts';
import './edge-router-tests.ts';
import './first-deployment-tests.ts';
import './options-process-tests.ts';
import './options-tests.ts';
import './removal-tests.ts';
import './relay-service-tests.ts';
import './task-process-tests.ts';

// Synthesis and a child process can take long on a busy machine.
jest.setTimeout(300_000);

/** Findings of the validator, the CDK and cdk-nag: the rule, then the constructs. */
function findingsIn({ outdir }: { readonly outdir: string }): string[] {
  const report = JSON.parse(readFileSync(join(outdir, 'validation-report.json'), 'utf8')) as Report;
  return report.pluginReports.flatMap(({ violations = [] }) =>
    violations.map(({ ruleName, violatingConstructs = [] }) =>
      [ruleName, ...violatingConstructs.map(({ constructPath }) => constructPath)].join(' '),
    ),
  );
}

const templatesOf = ({ stacks }: Synthesised): [Stack, Template][] =>
  stacks.map((stack) => [stack, Template.fromStack(stack)]);
const filesBelow = (directory: string): string[] =>
  readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();

test('every stack is in its region and has the stage in its name', () => {
  const placed = ({ stacks }: Synthesised) => stacks.map(({ stackName, region }) => `${region} ${stackName}`).sort();
  expect(placed(made.prod)).toEqual([
    'ap-northeast-1 edge-flag-relay-prod-region-ap-northeast-1',
    'eu-west-1 edge-flag-relay-prod-data',
    'eu-west-1 edge-flag-relay-prod-observability',
    'eu-west-1 edge-flag-relay-prod-region-eu-west-1',
    'eu-west-1 edge-flag-relay-prod-relay',
    'us-east-1 edge-flag-relay-prod-edge',
    'us-east-1 edge-flag-relay-prod-edge-functions',
    'us-east-1 edge-flag-relay-prod-region-us-east-1',
  ]);
  expect(placed(made.full)).toEqual([
    'ap-northeast-1 edge-flag-relay-full-region-ap-northeast-1',
    'eu-west-1 edge-flag-relay-full-data',
    'eu-west-1 edge-flag-relay-full-observability',
    'eu-west-1 edge-flag-relay-full-region-eu-west-1',
    'eu-west-1 edge-flag-relay-full-relay',
    'us-east-1 edge-flag-relay-full-edge',
    'us-east-1 edge-flag-relay-full-edge-functions',
    'us-east-1 edge-flag-relay-full-region-us-east-1',
    'us-west-2 edge-flag-relay-full-region-us-west-2',
    'us-west-2 edge-flag-relay-full-relay-us-west-2',
  ]);
});

test('a protected stage is protected from deletion, and every stack and resource has the tags of its stage', () => {
  for (const [name, { stacks }] of Object.entries(made)) {
    for (const stack of stacks) expect(stack.terminationProtection).toBe(name === 'full');
    for (const stack of stacks)
      expect(stack.tags.tagValues()).toMatchObject({ application: 'edge-flag-relay', stage: name });
  }
  const [table] = Object.values(made.full.template('Data').findResources('AWS::DynamoDB::GlobalTable'));
  expect(table!.Properties.Replicas[0].Tags).toEqual(expect.arrayContaining([{ Key: 'team', Value: 'platform' }]));
});

test('production says that it is not protected, until it is', () => {
  const warnings = ({ stage }: Synthesised) => stage.relays[0]!.node.metadata.map(({ data }) => String(data));
  const advice = expect.stringContaining('after its first successful deployment set protected: true and deploy again');
  expect(warnings(made.prod)).toContainEqual(advice);
  for (const other of [made.full, made.dev]) expect(warnings(other)).not.toContainEqual(advice);
});

test('the previous versions of edge functions are retained, since the distribution uses them until it is updated', () => {
  for (const stage of Object.values(made)) {
    const versions = Object.values(stage.template('EdgeFunctions').findResources('AWS::Lambda::Version'));
    expect(versions.map(({ DeletionPolicy }) => DeletionPolicy)).toEqual(Array(3).fill('RetainExceptOnCreate'));
    expect(versions.map(({ UpdateReplacePolicy }) => UpdateReplacePolicy)).toEqual(Array(3).fill('Retain'));
  }
});

test('stacks refer to each other by names, never by exports or across regions, so that what they have can change @heavy', () => {
  for (const synthesised of Object.values(made)) {
    for (const [, template] of templatesOf(synthesised)) {
      const text = JSON.stringify(template.toJSON());
      // A weak reference is not updated with the stack that it refers to, and is not allowed in Outputs and Fn::Sub.
      expect(text).not.toContain('Fn::GetStackOutput');
      expect(text).not.toMatch(/Custom::CrossRegion/);
      expect(text).not.toMatch(/"Export":|Fn::ImportValue/);
    }
  }
});

test('every log group has the retention of its stage', () => {
  for (const synthesised of Object.values(made)) {
    for (const [, template] of templatesOf(synthesised)) {
      for (const { Properties } of Object.values(template.findResources('AWS::Logs::LogGroup'))) {
        expect(Properties.RetentionInDays).toBe(synthesised.stage.config.logRetentionDays);
      }
    }
  }
});

test('the only Lambda functions are those of edge, exposures and synthetic check, and that of the one custom resource', () => {
  const names = templatesOf(made.full).flatMap(([{ node }, template]) =>
    Object.values(template.findResources('AWS::Lambda::Function')).map(
      ({ Properties }) => `${node.id} ${Properties.FunctionName}`,
    ),
  );
  expect(names.sort()).toEqual([
    'Edge edge-flag-relay-full-canary-edge',
    'EdgeFunctions edge-flag-relay-full-origin-request',
    'EdgeFunctions edge-flag-relay-full-viewer-request',
    'EdgeFunctions edge-flag-relay-full-viewer-response',
    'Observability edge-flag-relay-full-canary-caller',
    'Observability edge-flag-relay-full-canary-reader',
    'Region-ap-northeast-1 edge-flag-relay-full-exposures-collector',
    'Region-eu-west-1 edge-flag-relay-full-exposures-collector',
    'Region-us-east-1 edge-flag-relay-full-edge-logs',
    'Region-us-east-1 edge-flag-relay-full-exposures-collector',
    'Region-us-west-2 edge-flag-relay-full-exposures-collector',
    'Relay edge-flag-relay-full-exposures-sender',
  ]);
});

test('docs/deploying.md states the number of billed metrics and alarms', () => {
  const page = readFileSync(join(import.meta.dirname, '../../../docs/deploying.md'), 'utf8');
  const numbers = (row: string) =>
    (
      page
        .split('\n')
        .find((line) => line.startsWith(row))!
        .match(/\d+(?= × 0\.10)/g) ?? []
    ).map(Number);
  const looks = (synthesised: Synthesised) =>
    templatesOf(synthesised)
      .flatMap(([, template]) => alarmsIn(template))
      .reduce((sum, alarm) => sum + metricsOf(alarm).length, 0);
  expect(numbers('| alarms, by the metrics')).toEqual([looks(made.dev), looks(made.prod)]);
  const combined = (synthesised: Synthesised) =>
    templatesOf(synthesised).flatMap(([, template]) =>
      Object.keys(template.findResources('AWS::CloudWatch::CompositeAlarm')),
    ).length;
  const composites = page.match(/\d+(?= × 0\.50)/g)?.map(Number);
  expect(composites).toEqual([combined(made.dev), combined(made.prod)]);
  const told = (dimension?: string) => published.filter(({ by }) => by.some(([first]) => first === dimension)).length;
  expect(page).toContain(`| metrics: ${told()} of the relay, ${told('Environment')} of each environment`);
});

describe('the network', () => {
  test('spans three zones, with a NAT gateway in each zone in production and none in development @heavy', () => {
    const zones = (synthesised: Synthesised) =>
      new Set(
        Object.values(synthesised.template('Relay').findResources('AWS::EC2::Subnet')).map(
          ({ Properties }) => Properties.AvailabilityZone,
        ),
      );
    expect(zones(made.prod)).toEqual(new Set(['eu-west-1a', 'eu-west-1b', 'eu-west-1c']));
    made.prod.template('Relay').resourceCountIs('AWS::EC2::NatGateway', 3);
    made.dev.template('Relay').resourceCountIs('AWS::EC2::NatGateway', 0);
    oddStage('plain').template('Relay').resourceCountIs('AWS::EC2::NatGateway', 1);
  });

  test('keeps table traffic off the NAT gateways, and logs rejected traffic', () => {
    const endpoints = Object.values(made.prod.template('Relay').findResources('AWS::EC2::VPCEndpoint'));
    expect(endpoints.map(({ Properties }) => JSON.stringify(Properties.ServiceName)).sort()).toEqual([
      expect.stringContaining('.dynamodb'),
      expect.stringContaining('.s3'),
    ]);
    expect(endpoints.every(({ Properties }) => Properties.VpcEndpointType === 'Gateway')).toBe(true);
    made.prod.template('Relay').hasResourceProperties('AWS::EC2::FlowLog', { TrafficType: 'REJECT' });
  });

  test('can be an existing VPC, in which no network resources are created', () => {
    const template = made.full.template('Relay-us-west-2');
    for (const type of ['VPC', 'Subnet', 'NatGateway', 'RouteTable', 'VPCEndpoint'])
      template.resourceCountIs(`AWS::EC2::${type}`, 0);
    template.hasResourceProperties('AWS::ECS::Service', {
      NetworkConfiguration: {
        AwsvpcConfiguration: { Subnets: ['subnet-0123456789abcdef0', 'subnet-0123456789abcdef1'] },
      },
    });
  });
});

test('an existing table is used without creating or changing one @heavy', () => {
  const stage = oddStage('adopted');
  expect(stage.stacks.map(({ node }) => node.id)).not.toContain('Data');
  for (const [, template] of templatesOf(stage)) template.resourceCountIs('AWS::DynamoDB::GlobalTable', 0);
  expect(JSON.stringify(stage.template('Relay').toJSON())).toContain(':table/ld-relay');
});

test('synthesis gives the same files in any output directory @heavy', () => {
  const contents = ({ outdir }: Synthesised) =>
    filesBelow(outdir)
      .filter((file) => !/(tree\.json|validation-report\.json|\.metadata\.json)$/.test(file))
      .map((file) => [relative(outdir, file), readFileSync(file, 'utf8').replaceAll(outdir, '')]);
  const again = synthesise('full', full);
  expect(again.outdir).not.toBe(made.full.outdir);
  expect(contents(again)).toEqual(contents(made.full));
});

test('no file of an assembly contains a LaunchDarkly key or an AWS secret', () => {
  const secrets =
    /\b(sdk|mob|rel|api)-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b|\bAKIA[0-9A-Z]{16}\b|-----BEGIN [A-Z ]*PRIVATE KEY-----/;
  for (const { outdir } of Object.values(made)) {
    const files = filesBelow(outdir);
    expect(files.length).toBeGreaterThan(20);
    const found = files
      .filter((file) => secrets.test(readFileSync(file, 'utf8')))
      .map((file) => relative(outdir, file));
    expect(found).toEqual([]);
  }
});

describe('the validators', () => {
  test.each(checked)('find nothing in %s that is not acknowledged', (name) => {
    expect(findingsIn(made[name])).toEqual([]);
  });

  test('find a bucket without logs and an invalid layer, so they do run @heavy', () => {
    const app = createCheckedApp();
    const stack = new Stack(app, 'stack');
    new Bucket(stack, 'Stray');
    const properties = { Content: 1, Wrong: 2 };
    new CfnResource(stack, 'Impossible', { type: 'AWS::Lambda::LayerVersion', properties });
    const quiet = jest.spyOn(console, 'error').mockImplementation(() => {});
    expect(() => app.synth()).toThrow();
    quiet.mockRestore();
    const findings = findingsIn(app);
    expect(findings.some((finding) => /^AwsSolutions-S1 .*Stray/.test(finding))).toBe(true);
    expect(findings.some((finding) => /Impossible/.test(finding))).toBe(true);
  });

  test('are given a reason for each acknowledged finding', () => {
    for (const { stage } of Object.values(made)) {
      const entries = stage.node.findAll().flatMap(({ node }) => node.metadata);
      const acknowledged = entries.filter(({ type }) => type === Validations.ACKNOWLEDGED_RULES_METADATA_KEY);
      expect(acknowledged.length).toBeGreaterThan(5);
      for (const { data } of acknowledged) {
        for (const reason of Object.values(data as Record<string, unknown>)) {
          expect(JSON.stringify(reason).length).toBeGreaterThan(30);
        }
      }
    }
  });
});

describe('the CDK app', () => {
  const run = (context: object) =>
    promisify(execFile)(process.execPath, ['--import', 'tsx', 'bin/app.ts'], {
      cwd: join(import.meta.dirname, '../../..'),
      env: { ...process.env, CDK_CONTEXT_JSON: JSON.stringify(context), CDK_OUTDIR: createApp().outdir },
    });

  test('exits with one message for an invalid stage @heavy', async () => {
    const context = { stage: 'prod', stages: { prod: { relay: { tasks: 1, drain: 'slow' } } } };
    await expect(run(context)).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringMatching(
        /^stage prod: 2 problems:\n {2}relay\.drain="slow" is invalid: expected one of quick, gentle\n {2}relay\.tasks=1 is invalid: expected at least 3 in production\n$/,
      ),
    });
  });

  test('warns about the example account in a shipped stage, and that nobody is told of its alarms @heavy', () => {
    const warnings: string[] = [];
    const error = jest.spyOn(console, 'error').mockImplementation((text) => void warnings.push(String(text)));
    synthesise('prod', stages.prod);
    error.mockRestore();
    expect(warnings.join('\n')).toContain(
      "AWS's example account 111122223333: replace it with your own before deploying",
    );
    expect(warnings.join('\n')).toContain(
      'stage prod: nobody is notified of alarms: set alarms.emails or alarms.topics',
    );
  });
});

describe('the region stacks', () => {
  const regions = ['eu-west-1', 'us-east-1', 'ap-northeast-1', 'us-west-2'];

  test('have the reader as a layer for both architectures, with its ARN in SSM, if the region has a replica', () => {
    for (const region of regions) {
      const template = made.full.template(`Region-${region}`);
      template.hasResource('AWS::Lambda::LayerVersion', {
        // Functions that were deployed with an old version still need it.
        DeletionPolicy: 'RetainExceptOnCreate',
        Properties: {
          CompatibleArchitectures: ['arm64', 'x86_64'],
          CompatibleRuntimes: ['nodejs22.x', 'nodejs24.x'],
        },
      });
      template.hasResourceProperties('AWS::SSM::Parameter', {
        Name: '/edge-flag-relay/full/reader-layer-arn',
        Type: 'String',
      });
    }
  });

  test('give the log groups of edge functions a retention in every region where Lambda@Edge runs, and own none of them', () => {
    for (const region of regions) {
      const template = made.full.template(`Region-${region}`);
      expect(JSON.stringify(template.findResources('AWS::Logs::LogGroup'))).not.toContain('us-east-1.edge-flag-relay');
      template.resourceCountIs('Custom::EdgeLogGroups', region === 'us-east-1' ? 1 : 0);
    }
    const [groups] = Object.values(made.full.template('Region-us-east-1').findResources('Custom::EdgeLogGroups'));
    expect(groups!.Properties).toMatchObject({
      LogGroupNames: ['viewer-request', 'origin-request', 'viewer-response'].map(
        (kind) => `/aws/lambda/us-east-1.edge-flag-relay-full-${kind}`,
      ),
      RetentionInDays: 90,
      Regions: [...EDGE_EXECUTION_REGIONS],
    });
    expect([...groups!.Properties.RequiredRegions].sort()).toEqual([...regions].sort());
    // Whoever deletes a group once more, without a deployment.
    const [daily] = Object.values(made.full.template('Region-us-east-1').findResources('AWS::Events::Rule'));
    expect(daily!.Properties).toMatchObject({ ScheduleExpression: 'rate(1 day)', State: 'ENABLED' });
    const { ServiceToken, ServiceTimeout: _, ...properties } = groups!.Properties;
    const [{ Arn, Input }] = daily!.Properties.Targets;
    expect(Arn).toEqual(ServiceToken);
    expect(JSON.parse(Input)).toEqual({ RequestType: 'Daily', ResourceProperties: properties });
    // Also without keys: they may have left the stage with this deployment.
    made.full.template('Region-us-east-1').hasResourceProperties('AWS::IAM::Policy', {
      PolicyDocument: {
        Statement: Match.arrayWith([
          Match.objectLike({ Action: ['logs:CreateLogGroup', 'logs:DisassociateKmsKey', 'logs:PutRetentionPolicy'] }),
        ]),
      },
    });
  });

  test('collect exposures of viewer-request and nothing else, and only if the stage has them', () => {
    for (const region of regions) {
      const template = made.full.template(`Region-${region}`);
      const filters = Object.values(template.findResources('AWS::Logs::SubscriptionFilter'));
      expect(filters).toHaveLength(1);
      const [{ Properties }] = filters as [{ Properties: Record<string, unknown> }];
      expect(Properties.LogGroupName).toBe('/aws/lambda/us-east-1.edge-flag-relay-full-viewer-request');
      expect(Properties.FilterPattern).toBe('"edgeFlagExposures"');
    }
    for (const synthesised of [made.dev, made.prod]) {
      for (const [, template] of templatesOf(synthesised)) {
        template.resourceCountIs('AWS::Logs::SubscriptionFilter', 0);
        expect(JSON.stringify(template.toJSON())).not.toMatch(/exposures|USE_EVENTS/i);
      }
    }
  });

  test('have an alarm topic that CloudWatch may publish to, and one for pages where relays or edge functions run', () => {
    for (const region of regions) {
      const template = made.full.template(`Region-${region}`);
      const topics = Object.values(template.findResources('AWS::SNS::Topic')).map(
        ({ Properties }) => Properties.TopicName,
      );
      expect(topics).toEqual(['edge-flag-relay-full-alarms', 'edge-flag-relay-full-pages']);
      template.hasResourceProperties('AWS::SNS::Subscription', { Protocol: 'email', Endpoint: 'team@example.com' });
      template.hasResourceProperties('AWS::SNS::Subscription', { Endpoint: 'oncall@example.com' });
      for (const { Properties } of Object.values(template.findResources('AWS::SNS::TopicPolicy'))) {
        const allowed = Properties.PolicyDocument.Statement.filter(
          ({ Effect }: { Effect: string }) => Effect === 'Allow',
        );
        expect(allowed).toMatchObject([
          {
            Action: 'sns:Publish',
            Principal: { Service: 'cloudwatch.amazonaws.com' },
            Condition: { StringEquals: { 'aws:SourceAccount': '123456789012' } },
          },
          { Action: 'sns:Publish', Principal: { Service: 'events.amazonaws.com' } },
        ]);
        // Amazon SNS, "Key management": EventBridge tells no account.
        expect(allowed[1].Condition).toBeUndefined();
      }
    }
  });

  test('have no log groups without an edge, and no layer if layers are switched off @heavy', () => {
    const bare = oddStage('adopted');
    expect([...bare.stage.regions.keys()]).toEqual(['eu-west-1']);
    const template = bare.template('Region-eu-west-1');
    template.resourceCountIs('AWS::Logs::LogGroup', 0);
    template.resourceCountIs('AWS::Lambda::LayerVersion', 0);
  });

  describe('contain a layer that', () => {
    const layerDirectory = () => {
      const stack = made.full.stage.regions.get('eu-west-1')!;
      const [layer] = Object.values(Template.fromStack(stack).findResources('AWS::Lambda::LayerVersion'));
      const { files } = made.full.assets(stack.artifactId);
      const path = files[layer!.Properties.Content.S3Key.replace('.zip', '')]!.source.path;
      return join(made.full.outdir, 'assembly-full', path, 'nodejs/node_modules');
    };
    const asking = (load: string) => `
    const { createReader } = ${load};
    const reader = createReader(input.config);
    const answers = [];
    for (const [flag, context] of input.questions) answers.push(await reader.variationDetail(flag, context, 'fallback'));
    return answers;`;

    // Lambda finds layers through NODE_PATH for require, and its runtime resolves imports from the same folder.
    test.each([
      ['require', `require('edge-flag-reader')`],
      [
        'import',
        'await import(require("node:url").pathToFileURL(process.env.NODE_PATH + "/edge-flag-reader/index.mjs").href)',
      ],
    ])('gives the same answers as LaunchDarkly’s SDK when loaded with %s @heavy', async (_, load) => {
      const table = await startTable();
      try {
        await putSnapshot(table, 'production', itemsOf(exampleEnvironment()), { epoch: 1, seq: 1 });
        const expected = [...evaluateAll(exampleEnvironment(), 'fallback')];
        const { tableName, endpoint } = table;
        const config = {
          tableName,
          endpoint,
          prefix: 'production',
          replicas: { default: ['eu-west-1'] },
          coldDeadlineMs: 10_000,
        };
        const input = { config, questions: expected.map(([question]) => JSON.parse(question)) };
        const answers = await runAsLambda('', asking(load), input, { NODE_PATH: layerDirectory() });
        expect(answers).toEqual(JSON.parse(JSON.stringify(expected.map(([, detail]) => detail))));
      } finally {
        await table.close();
      }
    });

    test('exports one file for import and one for require', async () => {
      const script = `const p = require(process.env.NODE_PATH + '/edge-flag-reader/package.json'); return p.exports['.'];`;
      expect(await runAsLambda('', script, null, { NODE_PATH: layerDirectory() })).toEqual({
        import: './index.mjs',
        require: './index.cjs',
      });
    });
  });
});

describe('monitoring', () => {
  /** The construct ids of the stacks that CloudFormation deploys before this one. */
  const before = ({ stage }: Synthesised, id: string) =>
    (stage.node.findChild(id) as Stack).dependencies.map(({ node }) => node.id).sort();
  /** The SSM parameters that a template reads: logical id to name. */
  const readBy = (template: Template) =>
    new Map(
      Object.entries(template.findParameters('*'))
        .filter(([, { Type }]) => Type.startsWith('AWS::SSM::Parameter::Value<'))
        .map(([id, { Default }]) => [id, Default as string]),
    );
  const canary = ({ template }: Synthesised, kind: string) =>
    Object.values(template('Observability').findResources('AWS::Lambda::Function')).find(({ Properties }) =>
      Properties.FunctionName.endsWith(`-${kind}`),
    )!.Properties;
  const short = ({ AlarmName }: { AlarmName: string }) => AlarmName.replace('edge-flag-relay-full-', '');

  test('reads SSM parameters that stacks deployed earlier have written', () => {
    for (const synthesised of [made.full, made.dev]) {
      const names = [...readBy(synthesised.template('Observability')).values()].filter(
        (name) => !name.includes('cdk-boot'),
      );
      expect(before(synthesised, 'Observability')).toEqual(expect.arrayContaining(['Region-eu-west-1', 'Relay']));
      const written = ['Relay', 'Region-eu-west-1'].flatMap((id) =>
        Object.values(synthesised.template(id).findResources('AWS::SSM::Parameter')).map(
          ({ Properties }) => Properties.Name,
        ),
      );
      expect(names.length).toBeGreaterThan(4);
      expect(names.filter((name) => !written.includes(name))).toEqual([]);
      expect(new Set(written).size).toBe(written.length);
    }
    expect(before(made.full, 'Relay-us-west-2')).toContain('Region-us-west-2');
  });

  test('has alarms on the relay’s own load balancers', () => {
    const template = made.full.template('Observability');
    const names = readBy(template);
    const watched = new Set(
      alarmsIn(template).flatMap(({ Dimensions = [] }) =>
        Dimensions.filter(({ Name }) => Name === 'LoadBalancer').map(({ Value }) =>
          names.get((Value as unknown as { Ref: string }).Ref),
        ),
      ),
    );
    const path = '/edge-flag-relay/full/load-balancers';
    expect(watched).toEqual(new Set([`${path}/internal/full-name`, `${path}/public/full-name`]));
    const published = Object.values(made.full.template('Relay').findResources('AWS::SSM::Parameter')).find(
      ({ Properties }) => Properties.Name === `${path}/public/full-name`,
    );
    expect(published!.Properties.Value).toEqual({
      'Fn::GetAtt': [expect.stringMatching(/^RelayPublic/), 'LoadBalancerFullName'],
    });
    expect(readBy(made.dev.template('Observability')).size).toBeGreaterThan(0);
    expect([...readBy(made.dev.template('Observability')).values()].join()).not.toContain('/public/');
  });

  test('has alarms that notify the topics of their region, and in each region one that pages', () => {
    const topic = (region: string, kind = 'alarms') => [
      `arn:aws:sns:${region}:123456789012:edge-flag-relay-full-${kind}`,
      // One that exists already.
      ...(region === 'us-west-2'
        ? [`arn:aws:sns:us-west-2:123456789012:${kind === 'alarms' ? 'chat' : 'incidents'}`]
        : []),
    ];
    /** Fills in the partition, as CloudFormation does. */
    const actionsOf = (actions: unknown) =>
      JSON.parse(JSON.stringify(actions).replaceAll('{"Ref":"AWS::Partition"}', '"aws"'), (_, value) =>
        value?.['Fn::Join'] ? value['Fn::Join'][1].join(value['Fn::Join'][0]) : value,
      );
    for (const [id, region] of [
      ['Observability', 'eu-west-1'],
      ['Relay-us-west-2', 'us-west-2'],
      ['Edge', 'us-east-1'],
    ] as const) {
      const alarms = alarmsIn(made.full.template(id));
      expect(alarms.length).toBeGreaterThan(1);
      for (const { AlarmName, AlarmActions } of alarms) {
        // These are parts of others, or have ECS roll back.
        if (/error-budget-|deployment-5xx/.test(AlarmName)) expect(AlarmActions).toBeUndefined();
        else expect([id, actionsOf(AlarmActions)]).toEqual([id, topic(region)]);
      }
      const composites = Object.values(made.full.template(id).findResources('AWS::CloudWatch::CompositeAlarm'));
      const [impaired, ...others] = composites
        .map(({ Properties }) => Properties)
        .sort((a) => (a.AlarmName.endsWith('impaired') ? -1 : 1));
      expect(actionsOf(impaired!.AlarmActions)).toEqual(topic(region, 'pages'));
      for (const { AlarmActions } of others) expect(actionsOf(AlarmActions)).toEqual(topic(region));
    }
    for (const region of ['eu-west-1', 'us-east-1', 'ap-northeast-1', 'us-west-2']) {
      made.full.template(`Region-${region}`).hasResourceProperties('AWS::CloudWatch::CompositeAlarm', {
        AlarmName: `edge-flag-relay-full-${region}-edge-impaired`,
        AlarmActions: Match.arrayWith([{ Ref: Match.stringLikeRegexp('^Pages') }]),
      });
    }
    const topics = Object.values(made.full.template('Region-eu-west-1').findResources('AWS::SNS::Topic'));
    expect(topics.map(({ Properties }) => Properties.TopicName)).toEqual([
      'edge-flag-relay-full-alarms',
      'edge-flag-relay-full-pages',
    ]);
  });

  test('has the thresholds of the stage in every stack, and alarms that link to its dashboard', () => {
    const { thresholds } = made.full.stage.config.alarms;
    const set: string[] = [];
    for (const [stack, template] of templatesOf(made.full)) {
      for (const { AlarmName, AlarmDescription, Threshold } of alarmsIn(template)) {
        const [name, threshold] = Object.entries(thresholds).find(([id]) => AlarmName.endsWith(`-${id}`)) ?? [];
        if (name) set.push(`${stack.node.id} ${name}`);
        if (threshold !== undefined) expect([AlarmName, Threshold]).toEqual([AlarmName, threshold]);
        if (name === 'deployment-5xx') continue;
        expect(AlarmDescription).toMatch(
          / Dashboard: https:\/\/console\.aws\.amazon\.com\/cloudwatch\/home\?region=eu-west-1#dashboards\/dashboard\/edge-flag-relay-full$/,
        );
      }
    }
    made.full
      .template('Observability')
      .hasResourceProperties('AWS::CloudWatch::Dashboard', { DashboardName: 'edge-flag-relay-full' });
    expect(set.sort()).toEqual([
      'Edge distribution-5xx',
      'Observability cpu',
      ...['ap-northeast-1', 'eu-west-1', 'us-east-1', 'us-west-2'].map((region) => `Region-${region} edge-old-data`),
      'Relay deployment-5xx',
      'Relay-us-west-2 cpu',
      'Relay-us-west-2 deployment-5xx',
    ]);
  });

  test('has the same alarms for a relay in another region, except for writing, replication and the synthetic check', () => {
    const elsewhere = alarmsIn(made.full.template('Relay-us-west-2')).map(short);
    const home = alarmsIn(made.full.template('Observability')).map(short);
    // This one is in the relay's stack at home too.
    expect(elsewhere.filter((name) => !home.includes(name))).toEqual(['deployment-5xx']);
    expect(home.filter((name) => !elsewhere.includes(name)).sort()).toEqual([
      'canary',
      'canary-differs',
      'no-writer',
      'replication-latency-ap-northeast-1',
      'replication-latency-us-east-1',
      'replication-latency-us-west-2',
    ]);
  });

  test('has alarms on each replica in its region, and on the distribution at the edge', () => {
    for (const region of ['eu-west-1', 'us-east-1', 'ap-northeast-1', 'us-west-2']) {
      expect(alarmsIn(made.full.template(`Region-${region}`)).map(short)).toContain(`${region}-read-throttle`);
    }
    expect(alarmsIn(made.full.template('Edge')).map(short)).toEqual([
      'edge-edge-check',
      'edge-distribution-5xx',
      'edge-certificate-expiry',
    ]);
  });

  test('has a synthetic check in the relay’s subnets that verifies the host name of the stage', () => {
    const { VpcConfig, Environment, Layers } = canary(made.full, 'reader');
    expect(Environment.Variables.RELAY_SERVER_NAME).toBe('relay.example.com');
    const names = readBy(made.full.template('Observability'));
    const [, [scheme, { Ref: host }]] = Environment.Variables.RELAY_URL['Fn::Join'];
    expect([scheme, names.get(host)]).toEqual(['https://', '/edge-flag-relay/full/load-balancers/internal/dns-name']);
    expect(names.get(Layers[0].Ref)).toBe('/edge-flag-relay/full/reader-layer-arn');
    // The subnets of the internal load balancer.
    const [balancer] = Object.values(
      made.full
        .template('Relay')
        .findResources('AWS::ElasticLoadBalancingV2::LoadBalancer', { Properties: { Scheme: 'internal' } }),
    );
    const [{ 'Fn::Select': first }] = VpcConfig.SubnetIds;
    expect(names.get(first[1].Ref)).toBe('/edge-flag-relay/full/network/subnet-ids');
    // Those of two zones, so that another one can be taken away: Lambda keeps a subnet from being deleted for some time.
    expect(balancer!.Properties.Subnets).toHaveLength(3);
    expect(VpcConfig.SubnetIds).toEqual([0, 1].map((index) => ({ 'Fn::Select': [index, first[1]] })));
    const sender = made.full.template('Relay').findResources('AWS::Lambda::Function', {
      Properties: { FunctionName: 'edge-flag-relay-full-exposures-sender' },
    });
    expect(Object.values(sender).map(({ Properties }) => Properties.VpcConfig.SubnetIds)).toEqual([
      balancer!.Properties.Subnets.slice(0, 2),
    ]);
    made.full.template('Relay').hasResourceProperties('AWS::SSM::Parameter', {
      Name: '/edge-flag-relay/full/network/subnet-ids',
      Value: { 'Fn::Join': [',', balancer!.Properties.Subnets] },
    });
  });

  test('has a synthetic check that uses HTTP without a certificate, and verifies no name without a host name', () => {
    const { Environment } = canary(made.dev, 'reader');
    expect(Environment.Variables.RELAY_URL['Fn::Join'][1][0]).toBe('http://');
    expect(Environment.Variables).not.toHaveProperty('RELAY_SERVER_NAME');
    made.dev
      .template('Observability')
      .hasResourceProperties('AWS::EC2::SecurityGroupIngress', { FromPort: 80, ToPort: 80 });
  });

  test('has no synthetic check and no alarm on it without environments or layers', () => {
    for (const lacking of ['plain', 'adopted'] as const) {
      const template = oddStage(lacking).template('Observability');
      template.resourceCountIs('AWS::Lambda::Function', 0);
      expect(alarmsIn(template).filter(({ AlarmName }) => AlarmName.includes('canary'))).toEqual([]);
    }
  });
});

interface Report {
  readonly pluginReports: readonly {
    readonly pluginName: string;
    readonly violations?: readonly {
      readonly ruleName: string;
      readonly violatingConstructs?: { readonly constructPath: string }[];
    }[];
  }[];
}
