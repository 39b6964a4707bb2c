/** How what watches hangs on what is watched: in a stage with everything on, and in the one that we ship for development. */
import type { Stack } from 'aws-cdk-lib';
import type { Template } from 'aws-cdk-lib/assertions';
import { full, type Synthesised, shipped, synthesise } from '../../support/synthesise.ts';
import { alarmsIn } from './observability/observe.ts';

let everything: Synthesised;
let dev: Synthesised;
beforeAll(() => {
  everything = synthesise('full', { ...full, relay: { ...full.relay, hostName: 'relay.example.com' } });
  dev = synthesise('dev', shipped.dev);
}, 120_000);

/** The construct ids of the stacks that CloudFormation deploys before this one. */
const before = ({ stage }: Synthesised, id: string) =>
  (stage.node.findChild(id) as Stack).dependencies.map(({ node }) => node.id).sort();
/** What a template reads from SSM: logical id to name. */
const readBy = (template: Template) =>
  new Map(
    Object.entries(template.findParameters('*', { Type: 'AWS::SSM::Parameter::Value<String>' })).map(
      ([id, { Default }]) => [id, Default as string],
    ),
  );
const canary = ({ template }: Synthesised, kind: string) =>
  Object.values(template('Observability').findResources('AWS::Lambda::Function')).find(({ Properties }) =>
    Properties.FunctionName.endsWith(`-${kind}`),
  )!.Properties;
const short = ({ AlarmName }: { AlarmName: string }) => AlarmName.replace('edge-flag-relay-full-', '');

test('what is read from SSM is written by stacks that come before', () => {
  for (const synthesised of [everything, dev]) {
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
  expect(before(everything, 'Relay-us-west-2')).toContain('Region-us-west-2');
});

test('nothing of a relay, of a topic or of a layer is exported: each can be replaced or removed by its own stack', () => {
  for (const { template, stacks } of [everything, dev]) {
    const able = stacks.map(({ node }) => node.id).filter((id) => !/^(Network|Data)/.test(id));
    expect(able.length).toBeGreaterThan(3);
    for (const id of able)
      expect([id, JSON.stringify(template(id).toJSON())]).not.toEqual([id, expect.stringContaining('"Export"')]);
  }
});

test('alarms and dashboard look at the load balancers that the relay has', () => {
  const template = everything.template('Observability');
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
  const published = Object.values(everything.template('Relay').findResources('AWS::SSM::Parameter')).find(
    ({ Properties }) => Properties.Name === `${path}/public/full-name`,
  );
  expect(published!.Properties.Value).toEqual({
    'Fn::GetAtt': [expect.stringMatching(/^RelayPublic/), 'LoadBalancerFullName'],
  });
  expect(readBy(dev.template('Observability')).size).toBeGreaterThan(0);
  expect([...readBy(dev.template('Observability')).values()].join()).not.toContain('/public/');
});

test('alarms tell the topic of their region, and the one that wakes somebody its own', () => {
  const topic = (region: string, kind = 'alarms') => [
    `arn:aws:sns:${region}:123456789012:edge-flag-relay-full-${kind}`,
  ];
  /** With the partition that CloudFormation fills in. */
  const actionsOf = (actions: unknown) =>
    JSON.parse(JSON.stringify(actions).replaceAll('{"Ref":"AWS::Partition"}', '"aws"'), (_, value) =>
      value?.['Fn::Join'] ? value['Fn::Join'][1].join(value['Fn::Join'][0]) : value,
    );
  for (const [id, region] of [
    ['Observability', 'eu-west-1'],
    ['Relay-us-west-2', 'us-west-2'],
    ['Edge', 'us-east-1'],
  ] as const) {
    const alarms = alarmsIn(everything.template(id));
    expect(alarms.length).toBeGreaterThan(1);
    for (const { AlarmActions } of alarms) expect([id, actionsOf(AlarmActions)]).toEqual([id, topic(region)]);
  }
  const [composite] = Object.values(
    everything.template('Observability').findResources('AWS::CloudWatch::CompositeAlarm'),
  );
  expect(actionsOf(composite!.Properties.AlarmActions)).toEqual(topic('eu-west-1', 'pages'));
  const topics = Object.values(everything.template('Region-eu-west-1').findResources('AWS::SNS::Topic'));
  expect(topics.map(({ Properties }) => Properties.TopicName)).toEqual([
    'edge-flag-relay-full-alarms',
    'edge-flag-relay-full-pages',
  ]);
});

test('a relay elsewhere has the alarms of the one at home, but for writing, replicating and the synthetic check', () => {
  const elsewhere = alarmsIn(everything.template('Relay-us-west-2')).map(short);
  const home = alarmsIn(everything.template('Observability')).map(short);
  expect(elsewhere.filter((name) => !home.includes(name))).toEqual([]);
  expect(home.filter((name) => !elsewhere.includes(name)).sort()).toEqual([
    'canary',
    'canary-differs',
    'no-writer',
    'replication-latency-ap-northeast-1',
    'replication-latency-us-east-1',
    'replication-latency-us-west-2',
  ]);
});

test('each region that holds a replica watches it, and the edge its distribution', () => {
  for (const region of ['eu-west-1', 'us-east-1', 'ap-northeast-1', 'us-west-2']) {
    expect(alarmsIn(everything.template(`Region-${region}`)).map(short)).toContain(`${region}-read-throttle`);
  }
  expect(alarmsIn(everything.template('Edge')).map(short)).toEqual([
    'edge-distribution-5xx',
    'edge-certificate-expiry',
  ]);
});

test('the synthetic check stands beside the relay, and asks for the name that the stage gives it', () => {
  const { VpcConfig, Environment, Layers } = canary(everything, 'reader');
  expect(Environment.Variables.RELAY_SERVER_NAME).toBe('relay.example.com');
  const names = readBy(everything.template('Observability'));
  const [, [scheme, { Ref: host }]] = Environment.Variables.RELAY_URL['Fn::Join'];
  expect([scheme, names.get(host)]).toEqual(['https://', '/edge-flag-relay/full/load-balancers/internal/dns-name']);
  expect(names.get(Layers[0].Ref)).toBe('/edge-flag-relay/full/reader-layer-arn');
  // In the subnets of the internal load balancer.
  const [balancer] = Object.values(
    everything
      .template('Relay')
      .findResources('AWS::ElasticLoadBalancingV2::LoadBalancer', { Properties: { Scheme: 'internal' } }),
  );
  expect(VpcConfig.SubnetIds).toEqual(balancer!.Properties.Subnets);
});

test('without a certificate it asks in clear, as the load balancer does, and without a name for none', () => {
  const { Environment } = canary(dev, 'reader');
  expect(Environment.Variables.RELAY_URL['Fn::Join'][1][0]).toBe('http://');
  expect(Environment.Variables).not.toHaveProperty('RELAY_SERVER_NAME');
  dev.template('Observability').hasResourceProperties('AWS::EC2::SecurityGroupIngress', { FromPort: 80, ToPort: 80 });
});

test('a stage without environments or without layers has no synthetic check, and no alarm that waits for it', () => {
  for (const lacking of [{ environments: [] }, { readerLayer: false }]) {
    const template = synthesise('bare', { ...shipped.dev, edge: undefined, ...lacking }).template('Observability');
    template.resourceCountIs('AWS::Lambda::Function', 0);
    expect(alarmsIn(template).filter(({ AlarmName }) => AlarmName.includes('canary'))).toEqual([]);
  }
});
