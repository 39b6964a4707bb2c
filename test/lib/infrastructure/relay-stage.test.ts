/** Everything at once: which stacks there are, what holds them together, and what must never be in them. */
import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { promisify } from 'node:util';
import { CfnResource, type Stack, Validations } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import { Bucket } from 'aws-cdk-lib/aws-s3';
import { AwsSolutionsChecks } from 'cdk-nag';
import { readStage } from '../../../lib/infrastructure/parse-stage.ts';
import { RelayStage } from '../../../lib/infrastructure/relay-stage.ts';
import { stages } from '../../../lib/infrastructure/stages.ts';
import { published } from '../../../relay-task/status/published.ts';
import { createApp, full, type Synthesised, shipped, synthesise } from '../../support/synthesise.ts';
import { alarmsIn, metricsOf } from './observability/observe.ts';

const cases = { full, dev: shipped.dev, prod: shipped.prod };
const made = {} as Record<keyof typeof cases, Synthesised>;
beforeAll(() => {
  for (const name of ['full', 'dev', 'prod'] as const) made[name] = synthesise(name, cases[name]);
}, 120_000);

const templatesOf = ({ stacks }: Synthesised): [Stack, Template][] =>
  stacks.map((stack) => [stack, Template.fromStack(stack)]);
const filesBelow = (directory: string): string[] =>
  readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();

test('the stacks stand in their regions, named so that no two stages meet in one account', () => {
  const placed = ({ stacks }: Synthesised) => stacks.map(({ stackName, region }) => `${region} ${stackName}`).sort();
  expect(placed(made.prod)).toEqual([
    'ap-northeast-1 edge-flag-relay-prod-region-ap-northeast-1',
    'eu-west-1 edge-flag-relay-prod-data',
    'eu-west-1 edge-flag-relay-prod-network',
    'eu-west-1 edge-flag-relay-prod-observability',
    'eu-west-1 edge-flag-relay-prod-region-eu-west-1',
    'eu-west-1 edge-flag-relay-prod-relay',
    'us-east-1 edge-flag-relay-prod-edge',
    'us-east-1 edge-flag-relay-prod-region-us-east-1',
  ]);
  expect(placed(made.full)).toEqual([
    'ap-northeast-1 edge-flag-relay-full-region-ap-northeast-1',
    'eu-west-1 edge-flag-relay-full-data',
    'eu-west-1 edge-flag-relay-full-network',
    'eu-west-1 edge-flag-relay-full-observability',
    'eu-west-1 edge-flag-relay-full-region-eu-west-1',
    'eu-west-1 edge-flag-relay-full-relay',
    'us-east-1 edge-flag-relay-full-edge',
    'us-east-1 edge-flag-relay-full-region-us-east-1',
    'us-west-2 edge-flag-relay-full-region-us-west-2',
    'us-west-2 edge-flag-relay-full-relay-us-west-2',
  ]);
});

test('production is protected from deletion, and every stack and resource says whose it is', () => {
  for (const [name, { stacks }] of Object.entries(made)) {
    for (const stack of stacks) expect(stack.terminationProtection).toBe(name !== 'dev');
    for (const stack of stacks)
      expect(stack.tags.tagValues()).toMatchObject({ application: 'edge-flag-relay', stage: name });
  }
  const [table] = Object.values(made.full.template('Data').findResources('AWS::DynamoDB::GlobalTable'));
  expect(table!.Properties.Replicas[0].Tags).toEqual(expect.arrayContaining([{ Key: 'team', Value: 'platform' }]));
});

test('nothing refers across regions by a token: what crosses is literal', () => {
  for (const synthesised of Object.values(made)) {
    const exported = new Map<string, string>();
    const imported: [string, string][] = [];
    for (const [stack, template] of templatesOf(synthesised)) {
      const text = JSON.stringify(template.toJSON());
      // A weak reference is never renewed by the stack that it refers to, and is refused in Outputs and in Fn::Sub.
      expect(text).not.toContain('Fn::GetStackOutput');
      expect(text).not.toMatch(/Custom::CrossRegion/);
      for (const [, name] of text.matchAll(/"Export":\{"Name":"([^"]+)"/g)) exported.set(name!, stack.region);
      for (const [, name] of text.matchAll(/"Fn::ImportValue":"([^"]+)"/g)) imported.push([name!, stack.region]);
    }
    for (const [name, region] of imported) expect({ name, region: exported.get(name) }).toEqual({ name, region });
    expect(imported.length).toBeGreaterThan(0);
  }
});

test('every log group of ours forgets after the days that the stage says', () => {
  for (const synthesised of Object.values(made)) {
    for (const [, template] of templatesOf(synthesised)) {
      for (const { Properties } of Object.values(template.findResources('AWS::Logs::LogGroup'))) {
        expect(Properties.RetentionInDays).toBe(synthesised.stage.config.logRetentionDays);
      }
    }
  }
});

test('the only Lambda functions are those at the edge and the synthetic check: nothing is configured behind the templates', () => {
  const names = templatesOf(made.full).flatMap(([{ node }, template]) =>
    Object.values(template.findResources('AWS::Lambda::Function')).map(
      ({ Properties }) => `${node.id} ${Properties.FunctionName}`,
    ),
  );
  expect(names.sort()).toEqual([
    'Edge edge-flag-relay-full-origin-request',
    'Edge edge-flag-relay-full-viewer-request',
    'Edge edge-flag-relay-full-viewer-response',
    'Observability edge-flag-relay-full-canary-caller',
    'Observability edge-flag-relay-full-canary-reader',
  ]);
});

test('docs/deploying.md counts the metrics and alarms that are paid for', () => {
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
  expect(numbers('| alarms')).toEqual([looks(made.dev), looks(made.prod)]);
  const told = (dimension?: string) => published.filter(({ by }) => by.some(([first]) => first === dimension)).length;
  expect(page).toContain(`| metrics: ${told()} of the relay, ${told('Environment')} of each environment`);
});

describe('the network', () => {
  test('spans three zones, with a NAT gateway in each in production and none in development', () => {
    const zones = (synthesised: Synthesised) =>
      new Set(
        Object.values(synthesised.template('Network').findResources('AWS::EC2::Subnet')).map(
          ({ Properties }) => Properties.AvailabilityZone,
        ),
      );
    expect(zones(made.prod)).toEqual(new Set(['eu-west-1a', 'eu-west-1b', 'eu-west-1c']));
    made.prod.template('Network').resourceCountIs('AWS::EC2::NatGateway', 3);
    made.dev.template('Network').resourceCountIs('AWS::EC2::NatGateway', 0);
    const one = synthesise('one', { ...shipped.dev, edge: undefined, networks: { 'eu-west-1': { nat: 'one' } } });
    one.template('Network').resourceCountIs('AWS::EC2::NatGateway', 1);
  });

  test('keeps the table’s traffic off the NAT gateways, and logs what was refused', () => {
    const endpoints = Object.values(made.prod.template('Network').findResources('AWS::EC2::VPCEndpoint'));
    expect(endpoints.map(({ Properties }) => JSON.stringify(Properties.ServiceName)).sort()).toEqual([
      expect.stringContaining('.dynamodb'),
      expect.stringContaining('.s3'),
    ]);
    expect(endpoints.every(({ Properties }) => Properties.VpcEndpointType === 'Gateway')).toBe(true);
    made.prod.template('Network').hasResourceProperties('AWS::EC2::FlowLog', { TrafficType: 'REJECT' });
  });

  test('may be one that is there already, in which nothing is made but the relay', () => {
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

test('a table that is there already is adopted: no stack makes or changes one', () => {
  const stage = synthesise('adopted', { ...shipped.prod, table: 'existing', tableName: 'ld-relay' });
  expect(stage.stacks.map(({ node }) => node.id)).not.toContain('Data');
  for (const [, template] of templatesOf(stage)) template.resourceCountIs('AWS::DynamoDB::GlobalTable', 0);
  expect(JSON.stringify(stage.template('Relay').toJSON())).toContain(':table/ld-relay');
});

test('two stages in one app share no name of a resource', () => {
  const names = (synthesised: Synthesised) =>
    templatesOf(synthesised).flatMap(([stack, template]) =>
      Object.values(
        template.toJSON().Resources as Record<string, { Type: string; Properties?: Record<string, unknown> }>,
      )
        .filter(({ Type }) => Type !== 'AWS::EC2::SecurityGroup')
        .flatMap(({ Properties = {} }) => Object.entries(Properties))
        .filter(([property, value]) => /^(Name|(?!Policy)\w+Name)$/.test(property) && typeof value === 'string')
        .map(([property, value]) => `${stack.region} ${property} ${value}`),
    );
  const dev = new Set(names(made.dev));
  expect(names(made.prod).filter((name) => dev.has(name) && !/(ServiceName relay|Metric)/.test(name))).toEqual([]);
});

test('synthesis says the same again, in another directory', () => {
  const contents = ({ outdir }: Synthesised) =>
    filesBelow(outdir)
      .filter((file) => !/(tree\.json|validation-report\.json|\.metadata\.json)$/.test(file))
      .map((file) => [relative(outdir, file), readFileSync(file, 'utf8').replaceAll(outdir, '')]);
  const again = synthesise('full', full);
  expect(again.outdir).not.toBe(made.full.outdir);
  expect(contents(again)).toEqual(contents(made.full));
});

test('no key of LaunchDarkly’s and no secret of AWS’s is in any file of an assembly', () => {
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

describe('whoever checks', () => {
  /** What AWS's validator, the CDK's own warnings and cdk-nag's AwsSolutions say about a stage: rule, then constructs. */
  function findingsIn(name: keyof typeof cases, spoil: (stack: Stack) => void = () => {}): string[] {
    const app = createApp({ validated: true });
    Validations.of(app).addPlugins(new AwsSolutionsChecks(app));
    const stage = new RelayStage(app, name, readStage(name, cases[name]));
    spoil(stage.relays[0]!);
    const quiet = jest.spyOn(console, 'error').mockImplementation(() => {});
    try {
      app.synth();
    } catch {
      // The report says what it was.
    }
    quiet.mockRestore();
    const report = JSON.parse(readFileSync(join(app.outdir, 'validation-report.json'), 'utf8')) as Report;
    return report.pluginReports.flatMap(({ violations = [] }) =>
      violations.map(({ ruleName, violatingConstructs = [] }) =>
        [ruleName, ...violatingConstructs.map(({ constructPath }) => constructPath)].join(' '),
      ),
    );
  }

  test.each(Object.keys(cases) as (keyof typeof cases)[])('finds nothing in %s that is not acknowledged', (name) => {
    expect(findingsIn(name)).toEqual([]);
  });

  test('does look: one bucket and one impossible layer more are found', () => {
    const findings = findingsIn('dev', (stack) => {
      new Bucket(stack, 'Stray');
      new CfnResource(stack, 'Impossible', { type: 'AWS::Lambda::LayerVersion', properties: { Content: 1, Wrong: 2 } });
    });
    expect(findings.some((finding) => /^AwsSolutions-S1 .*Stray/.test(finding))).toBe(true);
    expect(findings.some((finding) => /Impossible/.test(finding))).toBe(true);
  });

  test('is told a reason for each finding that is to be', () => {
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

describe('the app', () => {
  const run = (context: object) =>
    promisify(execFile)(process.execPath, ['--import', 'tsx', 'bin/app.ts'], {
      cwd: join(import.meta.dirname, '../../..'),
      env: { ...process.env, CDK_CONTEXT_JSON: JSON.stringify(context), CDK_OUTDIR: createApp().outdir },
    });

  test('ends with the one message when the stage is wrong, and builds nothing', async () => {
    const context = { stage: 'prod', stages: { prod: { relay: { tasks: 1, drain: 'slow' } } } };
    await expect(run(context)).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringMatching(
        /^stage prod: relay\.drain "slow" must be one of quick, gentle; relay\.tasks 1 must be at least 3 in production\n$/,
      ),
    });
  });

  test('warns while an example account stands in a stage that we ship', () => {
    const warnings: string[] = [];
    const error = jest.spyOn(console, 'error').mockImplementation((text) => void warnings.push(String(text)));
    synthesise('prod', stages.prod);
    error.mockRestore();
    expect(warnings.join('\n')).toContain("AWS's example account 111122223333: put yours before deploying");
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
