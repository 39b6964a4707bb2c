/** `--app cdk.out`: what the commands take from the templates of somebody's own CDK app. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type App, Stack, Stage } from 'aws-cdk-lib';
import { Vpc } from 'aws-cdk-lib/aws-ec2';
import { ContainerImage } from 'aws-cdk-lib/aws-ecs';
import { Topic } from 'aws-cdk-lib/aws-sns';
import type { Construct } from 'constructs';
import { stageOfApp } from '../../bin/stage-of-app.ts';
import {
  FlagTable,
  type IFlagTable,
  RelayAlarms,
  RelayDashboard,
  RelayService,
} from '../../lib/infrastructure/constructs.ts';
import { commandBundle } from '../support/command-bundle.ts';
import { startTable } from '../support/dynalite.ts';
import { type FakeAws, startFakeAws } from '../support/fake-aws.ts';
import { closeAfterEach } from '../support/opened.ts';
import { startSsmServer } from '../support/ssm-server.ts';
import { createApp } from '../support/synthesise.ts';

const { behind, opened } = closeAfterEach();
const account = '123456789012';

function emptyFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'cdk-app-'));
  behind(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

describe('a cdk.out that cannot be used is a usage error that names it', () => {
  /** A cdk.out with one stack. */
  function assembly(environment: string, template: object): string {
    const folder = emptyFolder();
    const stack = { type: 'aws:cloudformation:stack', environment, properties: { templateFile: 't.json' } };
    writeFileSync(join(folder, 'manifest.json'), JSON.stringify({ version: '48.0.0', artifacts: { Shop: stack } }));
    writeFileSync(join(folder, 't.json'), JSON.stringify(template));
    return folder;
  }

  test('without a manifest', () => {
    const folder = emptyFolder();
    expect(() => stageOfApp('prod', folder)).toThrow(
      `--app ${folder}: there is no ${join(folder, 'manifest.json')}: run npx cdk synth first`,
    );
  });

  test('with a manifest that is not JSON', () => {
    const folder = emptyFolder();
    writeFileSync(join(folder, 'manifest.json'), '{');
    expect(() => stageOfApp('prod', folder)).toThrow(`${join(folder, 'manifest.json')} cannot be read: `);
  });

  const relayTask = (definitions: unknown) => ({
    Resources: { Task: { Type: 'AWS::ECS::TaskDefinition', Properties: { ContainerDefinitions: definitions } } },
  });
  const stackOf = (properties: unknown) => ({
    artifacts: { Shop: { type: 'aws:cloudformation:stack', environment: 'aws://1/eu-west-1', properties } },
  });
  const nested = (directoryName: string) => ({
    artifacts: { Stage: { type: 'cdk:cloud-assembly', properties: { directoryName } } },
  });

  test.each([
    [null, 'manifest.json is not what cdk synth writes: run npx cdk synth again'],
    [[], 'manifest.json is not what cdk synth writes'],
    [{ artifacts: { Shop: null } }, 'manifest.json is not what cdk synth writes'],
    [stackOf([]), 'manifest.json is not what cdk synth writes'],
    [nested('.'), 'manifest.json names ".", which is not below it'],
    [nested('..'), 'manifest.json names "..", which is not below it'],
  ])('with the manifest %j', (manifest, problem) => {
    const folder = emptyFolder();
    writeFileSync(join(folder, 'manifest.json'), JSON.stringify(manifest));
    expect(() => stageOfApp('prod', folder)).toThrow(problem);
  });

  test.each([
    [null, 't.json is no CloudFormation template'],
    [{ Resources: { Task: null } }, 't.json is no CloudFormation template'],
    [{ Resources: [1] }, 't.json is no CloudFormation template'],
    [relayTask({ 'Fn::If': ['Large', [], []] }), 'it has no RelayService'],
    [relayTask([null, { Environment: { 'Fn::If': ['Large', [], []] } }]), 'it has no RelayService'],
  ])('with the template %j', (template, problem) => {
    const folder = emptyFolder();
    writeFileSync(join(folder, 'manifest.json'), JSON.stringify(stackOf({ templateFile: 't.json' })));
    writeFileSync(join(folder, 't.json'), JSON.stringify(template));
    expect(() => stageOfApp('prod', folder)).toThrow(problem);
  });

  test('with a stack for any region', () => {
    const folder = assembly('aws://unknown-account/unknown-region', {});
    expect(() => stageOfApp('prod', folder)).toThrow('the stack Shop names no region: give it a literal one in env');
  });

  test('without a relay', () => {
    const folder = assembly('aws://unknown-account/eu-west-1', { Resources: { Topic: { Type: 'AWS::SNS::Topic' } } });
    expect(() => stageOfApp('prod', folder)).toThrow(`stage "prod" is not in ${folder}: it has no RelayService`);
  });

  test('with relays of other stages', () => {
    const Environment = [{ Name: 'METRICS_NAMESPACE', Value: 'EdgeFlagRelay/staging' }];
    const task = { Type: 'AWS::ECS::TaskDefinition', Properties: { ContainerDefinitions: [{ Environment }] } };
    const folder = assembly('aws://unknown-account/eu-west-1', { Resources: { Task: task } });
    expect(() => stageOfApp('prod', folder)).toThrow(`stage "prod" is not in ${folder}: expected staging`);
  });
});

const image = ContainerImage.fromRegistry('public.ecr.aws/example/relay:1.2.3');

function stackIn(scope: Construct, id: string, region = 'eu-west-1'): Stack {
  return new Stack(scope, id, { stackName: id, env: { account, region } });
}

/** A relay with alarms and a dashboard. */
function relayIn(stack: Stack, stage: string, flagTable: IFlagTable): void {
  const vpc = Vpc.fromVpcAttributes(stack, 'Vpc', {
    vpcId: 'vpc-0123456789abcdef0',
    availabilityZones: [`${stack.region}a`, `${stack.region}b`],
    privateSubnetIds: ['subnet-0123456789abcdef0', 'subnet-0123456789abcdef1'],
    privateSubnetRouteTableIds: ['rtb-0123456789abcdef0', 'rtb-0123456789abcdef0'],
  });
  const relay = new RelayService(stack, 'Relay', {
    ...{ stage, flagTable, vpc, image, production: false, tasks: 4, maxTasks: 9, cpu: 512, memoryMiB: 2_048 },
    variables: { BASE_URI: 'https://sdk.eu.launchdarkly.com' },
  });
  const watched = { relay, environments: ['production'] };
  const { alarms, impaired } = new RelayAlarms(stack, 'Alarms', { ...watched, topics: [new Topic(stack, 'Topic')] });
  new RelayDashboard(stack, 'Dashboard', { ...watched, alarms: [impaired, ...alarms] });
}

/** Two stages: `staging` has a relay and uses a table that exists, `shop` has a table with replicas, too. */
function synthesiseShop(scopeOf: (app: App) => Construct): string {
  const app = createApp();
  const scope = scopeOf(app);
  const table = new FlagTable(stackIn(scope, 'shop-table'), 'Table', {
    tableName: 'shop-flags',
    replicaRegions: ['us-east-1', 'ap-northeast-1'],
  });
  relayIn(stackIn(scope, 'shop-relay'), 'shop', table);
  relayIn(stackIn(app, 'staging-relay', 'eu-central-1'), 'staging', stagingTable());
  return app.synth().directory;
}

const stagingTable = () => FlagTable.fromExisting('staging-flags', { homeRegion: 'eu-central-1', replicaRegions: [] });

describe('the stage of an app with the constructs', () => {
  test.each([
    ['in one app', (app: App): Construct => app],
    ['in a Stage of the CDK', (app: App): Construct => new Stage(app, 'Production')],
  ])('%s has what was given to them @heavy', (_, scopeOf) => {
    const { stages, synthesise } = stageOfApp('shop', synthesiseShop(scopeOf));
    expect(stages).toEqual({
      shop: {
        ...{ account, homeRegion: 'eu-west-1', replicaRegions: ['us-east-1', 'ap-northeast-1'], relayRegions: [] },
        ...{ tableName: 'shop-flags', table: 'new', production: false, environments: [], readerLayer: false },
        relay: {
          ...{ tasks: 4, maxTasks: 9, cpu: 512, memoryMiB: 2_048 },
          variables: { BASE_URI: 'https://sdk.eu.launchdarkly.com' },
        },
      },
    });
    expect(synthesise().map(({ stackName, region }) => `${region} ${stackName}`)).toEqual([
      'eu-west-1 shop-table',
      'eu-west-1 shop-relay',
    ]);
  });

  test('without a table of its own uses an existing one @heavy', () => {
    const { stages, synthesise } = stageOfApp(
      'staging',
      synthesiseShop((app) => app),
    );
    expect(stages.staging).toMatchObject({
      ...{ homeRegion: 'eu-central-1', tableName: 'staging-flags', table: 'existing', replicaRegions: [] },
    });
    expect(synthesise().map(({ stackName }) => stackName)).toEqual(['shop-table', 'staging-relay']);
  });
});

describe('the installed commands, where neither a clone nor the CDK is', () => {
  let fake: FakeAws;
  let directory: string;
  let folder: string;

  /** An account in which the staging relay is deployed and works. */
  beforeEach(async () => {
    fake = opened(await startFakeAws());
    folder = emptyFolder();
    const app = createApp();
    relayIn(stackIn(app, 'staging-relay', 'eu-central-1'), 'staging', stagingTable());
    directory = app.synth().directory;
    const service = `arn:aws:ecs:eu-central-1:${account}:service/cluster/relay`;
    const group = `arn:aws:elasticloadbalancing:eu-central-1:${account}:targetgroup/relays/0123456789abcdef`;
    fake.stacks['staging-relay'] = {
      ...{ region: 'eu-central-1', status: 'CREATE_COMPLETE' },
      resources: [
        ['Service', 'AWS::ECS::Service', service],
        ['Group', 'AWS::ElasticLoadBalancingV2::TargetGroup', group],
      ],
    };
    fake.services[service] = { runningCount: 4, desiredCount: 4, deployments: [{ rolloutState: 'COMPLETED' }] };
    fake.targets[group] = ['healthy', 'healthy', 'healthy', 'healthy'];
    fake.metrics['EdgeFlagRelay/staging Up'] = [[Date.now() - 60_000, 1]];
  });

  async function run(...args: readonly string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
    const [table, ssm] = await Promise.all([startTable({ tableName: 'staging-flags' }), startSsmServer()]);
    behind(() => Promise.all([table.close(), ssm.close()]));
    const env = {
      ...{ PATH: process.env.PATH ?? '', HOME: folder, AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test' },
      ...{ AWS_ENDPOINT_URL: fake.endpoint, AWS_ENDPOINT_URL_SSM: ssm.endpoint },
      ...{ AWS_ENDPOINT_URL_DYNAMODB: table.endpoint, AWS_MAX_ATTEMPTS: '1' },
    };
    const file = join(await commandBundle(), 'edge-flag-relay.mjs');
    const child = spawn(file, args, { cwd: folder, env });
    const printed = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].on('data', (chunk: Buffer) => {
        printed[name] += chunk.toString();
      });
    }
    const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
    return { code, ...printed };
  }

  /** The findings of `--json` as `state name value: what`. */
  const findings = (stdout: string) =>
    (JSON.parse(stdout).checks as { state: string; name: string; value: string; what: string }[]).map(
      ({ state, name, value, what }) => `${state} ${name} ${value}: ${what}`,
    );

  test('verify says that the deployed app works, and what the templates do not tell @heavy', async () => {
    const { code, stdout } = await run('verify', 'staging', '--app', directory, '--json');
    expect(findings(stdout)).toEqual(
      expect.arrayContaining([
        'good stack staging-relay: CREATE_COMPLETE',
        'good relay eu-central-1: 4 of 4 tasks run, steady',
        'good targets eu-central-1: internal: 4 of 4 targets healthy',
        'good table eu-central-1: staging-flags is ACTIVE',
        'note flags eu-central-1: not checked, since the stage names no environments',
        expect.stringMatching(/^good streams eu-central-1: the relays have flags and streams from LaunchDarkly/),
      ]),
    );
    expect(code).toBe(0);
  });

  test('verify says how to deploy what is not deployed @heavy', async () => {
    fake.stacks = {};
    const { code, stdout } = await run('verify', 'staging', '--app', directory);
    expect({ code, stdout }).toEqual({
      code: 1,
      stdout: expect.stringMatching(/none of its stacks exists\n {4}→ npx cdk deploy\n/),
    });
  });

  test('verify names a relay with fewer tasks than the app gives it @heavy', async () => {
    for (const service of Object.keys(fake.services)) {
      fake.services[service] = { runningCount: 1, desiredCount: 1, deployments: [{ rolloutState: 'COMPLETED' }] };
    }
    const { code, stdout } = await run('verify', 'staging', '--app', directory, '--json');
    expect(findings(stdout)).toContain('bad relay eu-central-1: 1 of 1 tasks run, and the stage wants at least 4');
    expect(code).toBe(1);
  });

  test('preflight finds what the first deployment lacks @heavy', async () => {
    fake.stacks = {};
    const { code, stdout, stderr } = await run('preflight', 'staging', '--app', directory, '--offline', '--json');
    expect(stderr).toBe('');
    expect(findings(stdout)).toEqual(
      expect.arrayContaining([
        'good stage staging: stage staging is valid',
        'bad key eu-central-1: no environments in eu-central-1',
        'good table staging-flags: the table staging-flags exists in eu-central-1',
      ]),
    );
    expect(findings(stdout).filter((one) => /cannot be synthesised/.test(one))).toEqual([]);
    expect(code).toBe(1);
  });

  test('preflight compares the app with what is deployed, by the rules in the package @heavy', async () => {
    const template = JSON.parse(readFileSync(join(directory, 'staging-relay.template.json'), 'utf8'));
    fake.stacks['staging-relay'] = { ...fake.stacks['staging-relay']!, template };
    const same = await run('preflight', 'staging', '--app', directory, '--offline', '--json');
    expect(findings(same.stdout)).toContain(
      'good update 1: the deployment replaces nothing that has data or an address',
    );

    const [group] = Object.entries(template.Resources as Record<string, { Type: string; Properties: object }>).find(
      ([, { Type }]) => Type === 'AWS::ElasticLoadBalancingV2::LoadBalancer',
    )!;
    // AWS: "AWS::ElasticLoadBalancingV2::LoadBalancer", Scheme: update requires replacement.
    template.Resources[group].Properties.Scheme = 'internet-facing';
    const { stdout } = await run('preflight', 'staging', '--app', directory, '--offline', '--json');
    expect(findings(stdout).filter((one) => / update /.test(one))).toEqual([expect.stringContaining(group)]);
  });

  test('dashboard shows that of the app @heavy', async () => {
    const { code, stdout } = await run('dashboard', 'staging', '--app', directory);
    expect({ code, stdout }).toEqual({ code: 0, stdout: `${join(folder, 'dashboard-staging.html')}\n` });
    const page = readFileSync(join(folder, 'dashboard-staging.html'), 'utf8');
    expect(page).toContain('<h1>Feature flags: staging</h1>');
    expect(page.match(/<svg/g)?.length).toBeGreaterThan(5);
  });
});
