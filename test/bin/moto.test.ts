/** `preflight` and `verify` against moto, whose answers have AWS's own shapes: XML of the Query protocol, JSON, REST. */
import { type Aws, createAws } from '../../bin/aws/ask.ts';
import {
  type DeployedStack,
  describeStack,
  resourcesOf,
  type StackResource,
  templateOf,
} from '../../bin/aws/stacks.ts';
import type { Check } from '../../bin/checks/check.ts';
import { certificateChecks } from '../../bin/preflight/certificates.ts';
import { runPreflight } from '../../bin/preflight/run.ts';
import { zoneChecks } from '../../bin/preflight/zones.ts';
import { stageOf } from '../../bin/stage-of.ts';
import type { Deployment } from '../../bin/verify/deployment.ts';
import { serviceChecks, streamChecks } from '../../bin/verify/relays.ts';
import { runVerify } from '../../bin/verify/run.ts';
import { alarmChecks } from '../../bin/verify/watching.ts';
import type { StackTemplate } from '../../lib/infrastructure/template.ts';
import { PATIENCE_MS } from '../support/eventually.ts';
import { motoHas, startMoto } from '../support/moto-server.ts';

const region = 'eu-west-1';
const account = '123456789012';
const zoneName = 'example.com';
const stage = {
  ...{ account, homeRegion: region, replicaRegions: [], tableName: 'flags-of-moto', production: false },
  ...{ environments: ['production'], readerLayer: false },
};
const one = (Type: string, Properties: Record<string, unknown> = {}) => ({ Type, Properties });
const named = (stageName: string) => ({
  Alarms: one('AWS::SNS::Topic', { TopicName: `edge-flag-relay-${stageName}-alarms` }),
  Log: one('AWS::Logs::LogGroup', { LogGroupName: `/edge-flag-relay/${stageName}/relay`, RetentionInDays: 14 }),
});
const template = {
  Resources: {
    ...named('test'),
    Cluster: one('AWS::ECS::Cluster', { ClusterName: 'edge-flag-relay-test' }),
    Zone: one('AWS::Route53::HostedZone', { Name: `${zoneName}.` }),
    Record: one('AWS::Route53::RecordSet', {
      ...{ HostedZoneId: { Ref: 'Zone' }, Name: `relay.${zoneName}.`, Type: 'CNAME', TTL: '60' },
      ResourceRecords: ['elsewhere.example.net'],
    }),
  },
  Outputs: { Address: { Value: 'a < b & "c"' } },
};
const stackName = 'edge-flag-relay-test-relay';
const wanted: StackTemplate[] = [{ stackName, region, template: { Resources: template.Resources } }];

/** moto is slow on a busy machine. */
const times = { deadlineMs: 10 * PATIENCE_MS, timeoutMs: PATIENCE_MS };

const suite = motoHas('cloudformation') ? describe : describe.skip;
suite('with moto (needs moto[cloudformation])', () => {
  const before = { ...process.env };
  let aws: Aws;
  let close: () => Promise<void>;

  beforeAll(async () => {
    const moto = await startMoto();
    close = moto.close;
    Object.assign(process.env, {
      ...{
        AWS_ACCESS_KEY_ID: 'test',
        AWS_SECRET_ACCESS_KEY: 'test',
        AWS_ENDPOINT_URL: moto.endpoint,
        AWS_MAX_ATTEMPTS: '1',
      },
    });
    const credentials = async () => ({ accessKeyId: 'test', secretAccessKey: 'test' });
    // moto loads what a stack needs with the first request for it.
    aws = createAws({ credentials, agents: undefined, env: process.env, timeoutMs: 2 * PATIENCE_MS });
    await create(stackName, template);
  });
  afterAll(async () => {
    process.env = { ...before };
    await close();
  });

  const create = (name: string, body: object) =>
    aws.query('cloudformation', region, 'CreateStack', { StackName: name, TemplateBody: JSON.stringify(body) });

  async function found(run: (out: (text: string) => void) => Promise<number>): Promise<string[]> {
    let printed = '';
    await run((text) => {
      printed += text;
    });
    const { checks } = JSON.parse(printed) as { checks: Record<'state' | 'name' | 'what', string>[] };
    return checks.map(({ state, name, what }) => `${state} ${name}: ${what}`);
  }
  const preflight = (stageName: string, synthesised: readonly StackTemplate[]) =>
    found((out) =>
      runPreflight(
        {
          ...{ stage: stageName, offline: true, json: true, synthesise: () => synthesised, times },
          stages: { [stageName]: stage },
        },
        out,
      ),
    );

  test('preflight finds names that are taken @heavy', async () => {
    await create('somebody-else', { Resources: named('other') });
    const lines = await preflight('other', [
      { stackName: 'edge-flag-relay-other-relay', region, template: { Resources: named('other') } },
    ]);
    expect(lines).toContain(`good account: the credentials belong to account ${account}, the stage’s account`);
    expect(lines.filter((line) => line.startsWith('bad name:'))).toEqual([
      expect.stringContaining('the topic edge-flag-relay-other-alarms exists in eu-west-1'),
      expect.stringContaining('the log group /edge-flag-relay/other/relay exists in eu-west-1'),
    ]);
  });

  test('preflight does not count names that belong to a stack of the stage @heavy', async () => {
    const lines = await preflight('test', wanted);
    expect(lines).toContain(`good stack: the stack ${stackName} is CREATE_COMPLETE`);
    expect(lines.filter((line) => /^\w+ (name|update):/.test(line))).toEqual([
      'good update: the deployment replaces nothing that has data or an address',
    ]);
  });

  test('stacks, their resources, outputs and templates are read as they are @heavy', async () => {
    expect(await describeStack(aws, region, 'nosuch')).toBeUndefined();
    expect(await describeStack(aws, region, stackName)).toMatchObject({
      ...{ name: stackName, status: 'CREATE_COMPLETE', isProtected: false, outputs: { Address: 'a < b & "c"' } },
    });
    const types = (await resourcesOf(aws, region, stackName)).map(({ type }) => type);
    expect(types.sort()).toEqual(
      Object.values(template.Resources)
        .map(({ Type }) => Type)
        .sort(),
    );
    expect(JSON.parse(await templateOf(aws, region, stackName))).toEqual(template);
  });

  test('preflight looks into hosted zones and certificates @heavy', async () => {
    const resources = await resourcesOf(aws, region, stackName);
    const id = resources.find(({ logicalId }) => logicalId === 'Zone')!.id.replace('/hostedzone/', '');
    const { CertificateArn } = await aws.json<{ CertificateArn: string }>('acm', region, 'RequestCertificate', {
      ...{ DomainName: `*.${zoneName}`, ValidationMethod: 'DNS' },
    });
    const relay = { hostName: `relay.${zoneName}`, certificates: { [region]: CertificateArn } };
    const parsed = stageOf('test', { test: { ...stage, relay } });
    const [certificate] = await certificateChecks(aws, parsed);
    expect(certificate?.what).toMatch(/^the certificate (for \*.example.com is issued|arn:\S+ is PENDING_VALIDATION)/);
    // IDs of moto's zones do not begin with Z, as AWS's do.
    const about = async (hostName: string, made: readonly StackResource[] = [], zone = id) => {
      const named = { ...parsed, relay: { ...parsed.relay, hostName, hostedZone: { id: zone, name: zoneName } } };
      const Properties = { HostedZoneId: zone, Name: `${hostName}.`, Type: 'A' };
      const Record = { Type: 'AWS::Route53::RecordSet', Properties };
      const looked = {
        ...{ stage: named, aws, wanted: [{ stackName, region, template: { Resources: { Record } } }] },
        ...{ deployed: new Map(), owned: new Set<string>(), unseen: new Set<string>() },
        resources: new Map([[stackName, made]]),
      };
      return (await zoneChecks(looked)).map(({ state, what }) => `${state} ${what}`).join();
    };
    const taken = `relay.${zoneName}`;
    expect(await about(taken)).toMatch(
      /^bad .* relay.example.com already has a record of type CNAME \(elsewhere.example.net\)/,
    );
    expect(await about(taken, resources)).toMatch(/^good/);
    expect(await about(`free.${zoneName}`)).toMatch(/^good the names in the hosted zone example.com can be made/);
    expect(await about(taken, [], 'ZNOSUCH12345')).toMatch(/^bad .* does not exist in this account/);
  });

  test('verify reads alarms, subscriptions, logs and the table @heavy', async () => {
    const lines = await found((out) =>
      runVerify(
        {
          ...{ stage: 'test', json: true, waitMs: 0, synthesise: () => wanted, times },
          stages: { test: stage },
        },
        { out, say() {} },
      ),
    );
    expect(lines).toEqual([
      `good account: the credentials belong to account ${account}, the stage’s account`,
      'good stack: CREATE_COMPLETE',
      'bad streams: the relays have not reported for ten minutes',
      'bad table: flags-of-moto does not exist',
      'bad flags: production: there is no table here',
      'note recipients: nobody is notified of alarms',
      'good logs: all 1 log groups expire',
    ]);
  });

  test('verify reads alarms, the synthetic check’s metric and services @heavy', async () => {
    const AlarmName = 'edge-flag-relay-test-impaired';
    const ofCheck = { Namespace: 'EdgeFlagRelayCanary/test', MetricName: 'Success' };
    await aws.query('monitoring', region, 'PutMetricAlarm', {
      ...{ ...ofCheck, AlarmName, Statistic: 'Minimum', Period: '60', EvaluationPeriods: '1', Threshold: '1' },
      ComparisonOperator: 'LessThanThreshold',
    });
    const at = new Date(Date.now() - 60_000);
    await aws.query('monitoring', region, 'PutMetricData', {
      ...{ Namespace: ofCheck.Namespace, 'MetricData.member.1.MetricName': 'Success' },
      ...{ 'MetricData.member.1.Value': '1', 'MetricData.member.1.Timestamp': at.toISOString() },
    });
    const place = { region, stack: 'edge-flag-relay-test-observability', logicalId: 'Alarm' };
    const deployment: Deployment = {
      ...{ stage: stageOf('test', { test: { ...stage, readerLayer: true } }), aws, deploy: '' },
      resources: [
        { ...place, type: 'AWS::CloudWatch::Alarm', id: AlarmName },
        {
          ...place,
          type: 'AWS::ECS::Service',
          id: `arn:aws:ecs:${region}:${account}:service/edge-flag-relay-test/relay`,
        },
      ],
      stacks: new Map([['edge-flag-relay-test-observability', {} as DeployedStack]]),
    };
    const states = async (checks: Promise<readonly Check[]>) =>
      (await checks).map(({ state, what }) => `${state} ${what}`);
    expect(await states(alarmChecks(deployment))).toEqual([expect.stringMatching(/^good (0|1) of 1 alarms are OK/)]);
    const set = (StateValue: string) =>
      aws.query('monitoring', region, 'SetAlarmState', { AlarmName, StateValue, StateReason: 'a < b' });
    await set('ALARM');
    expect(await states(alarmChecks(deployment))).toEqual([`bad ${AlarmName}: a < b`]);
    expect(await states(streamChecks(deployment))).toEqual([
      expect.stringMatching(/^good the synthetic check opened a stream and read the table, \d+ min ago$/),
    ]);
    expect(await states(serviceChecks(deployment))).toEqual(['bad the service does not exist']);
  });
});
