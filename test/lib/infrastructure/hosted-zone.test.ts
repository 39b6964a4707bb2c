/** Names in a hosted zone: their records and certificates. */
import { Template } from 'aws-cdk-lib/assertions';
import { edgeProblems } from '../../../lib/infrastructure/check-edge.ts';
import { EdgeStack } from '../../../lib/infrastructure/edge-stack.ts';
import { readStage } from '../../../lib/infrastructure/parse-stage.ts';
import type { EdgeSettings, RelaySettings } from '../../../lib/infrastructure/stage-settings.ts';
import { createApp, type Synthesised, synthesise } from '../../support/synthesise.ts';

const zone = { id: 'Z0123456789ABCDEFGHIJ', name: 'example.com' };
const arn = 'arn:aws:acm:eu-west-1:123456789012:certificate/12345678-1234-1234-1234-123456789012';
const stage = {
  account: '123456789012',
  homeRegion: 'eu-west-1',
  replicaRegions: ['us-east-1'],
  tableName: 'flags',
  production: true,
  environments: ['production'],
};
const edge: EdgeSettings = {
  prefix: 'production',
  flagKey: 'new-site',
  origins: { old: { domainName: 'old.example.com' }, new: { domainName: 'new.example.com' } },
  defaultVariant: 'old',
};

type Properties = Record<string, unknown>;
const propertiesOf = (template: Template, type: string): Properties[] =>
  Object.values(template.findResources(type)).map(({ Properties }) => Properties as Properties);
const recordsOf = (template: Template) =>
  propertiesOf(template, 'AWS::Route53::RecordSet').map(({ Name, Type, Region, HostedZoneId }) =>
    [Name, Type, Region, HostedZoneId].filter((one) => one !== undefined).join(' '),
  );

describe('a relay in two regions, with a public load balancer', () => {
  let made: Synthesised;
  beforeAll(() => {
    const hostedZone = zone;
    made = synthesise('zone', {
      ...{ ...stage, relayRegions: ['us-east-1'] },
      relay: { hostName: 'relay.example.com', hostedZone, publicAccess: { hostName: 'flags.example.com', hostedZone } },
    });
  });

  test.each([
    ['Relay', 'eu-west-1'],
    ['Relay-us-east-1', 'us-east-1'],
  ])('%s has latency records of its own under the same names, which follow the health of its tasks', (id, region) => {
    const template = made.template(id);
    expect(recordsOf(template)).toEqual([
      `relay.example.com. A ${region} ${zone.id}`,
      `flags.example.com. A ${region} ${zone.id}`,
    ]);
    for (const record of propertiesOf(template, 'AWS::Route53::RecordSet')) {
      expect(record).toMatchObject({ SetIdentifier: expect.any(String), AliasTarget: { EvaluateTargetHealth: true } });
    }
  });

  test.each(['Relay', 'Relay-us-east-1'])('%s validates its certificates in the zone and listens with them', (id) => {
    const template = made.template(id);
    const certificates = Object.entries(template.findResources('AWS::CertificateManager::Certificate'));
    expect(certificates.map(([, { Properties }]) => Properties)).toEqual(
      ['relay.example.com', 'flags.example.com'].map((DomainName) =>
        expect.objectContaining({
          DomainName,
          ValidationMethod: 'DNS',
          DomainValidationOptions: [{ DomainName, HostedZoneId: zone.id }],
        }),
      ),
    );
    const listeners = propertiesOf(template, 'AWS::ElasticLoadBalancingV2::Listener');
    expect(listeners.map(({ Port, Certificates }) => [Port, Certificates])).toEqual(
      certificates.map(([logicalId]) => [443, [{ CertificateArn: { Ref: logicalId } }]]),
    );
  });

  test('no stack imports a certificate, and those that were made have alarms in their region', () => {
    const alarms = (id: string) =>
      propertiesOf(made.template(id), 'AWS::CloudWatch::Alarm').filter((one) =>
        JSON.stringify(one).includes('DaysToExpiry'),
      );
    expect(alarms('Observability')).toHaveLength(2);
    expect(alarms('Relay-us-east-1')).toHaveLength(2);
    expect(JSON.stringify(alarms('Observability'))).not.toContain('ImportValue');
  });

  test('the synthetic check speaks TLS and knows the name', () => {
    const environments = propertiesOf(made.template('Observability'), 'AWS::Lambda::Function').map(
      ({ Environment }) => (Environment as { Variables: Properties }).Variables,
    );
    expect(JSON.stringify(environments)).toMatch(/"https:\/\//);
    expect(environments).toContainEqual(expect.objectContaining({ RELAY_SERVER_NAME: 'relay.example.com' }));
  });
});

describe('an edge', () => {
  const edgeStack = (settings: Partial<EdgeSettings>) =>
    Template.fromStack(
      new EdgeStack(createApp(), 'Edge', {
        env: { account: stage.account, region: 'us-east-1' },
        ...{ stage: 'zone', edge: { ...edge, ...settings } },
      }),
    );

  test('has one certificate for all its names, and a record for each, for IPv4 and IPv6 @heavy', () => {
    const template = edgeStack({ hostedZone: zone, domainNames: ['example.com', '*.example.com'] });
    const [[logicalId, certificate] = []] = Object.entries(
      template.findResources('AWS::CertificateManager::Certificate'),
    );
    expect(certificate?.Properties).toMatchObject({
      DomainName: 'example.com',
      SubjectAlternativeNames: ['*.example.com'],
      DomainValidationOptions: [{ DomainName: 'example.com', HostedZoneId: zone.id }],
    });
    template.hasResourceProperties('AWS::CloudFront::Distribution', {
      DistributionConfig: {
        Aliases: ['example.com', '*.example.com'],
        ViewerCertificate: { AcmCertificateArn: { Ref: logicalId } },
      },
    });
    expect(recordsOf(template)).toEqual(
      ['example.com. A', 'example.com. AAAA', '*.example.com. A', '*.example.com. AAAA'].map(
        (one) => `${one} ${zone.id}`,
      ),
    );
  });

  test('with a certificate of its own only gets the records', () => {
    const certificateArn = arn.replace('eu-west-1', 'us-east-1');
    const template = edgeStack({ hostedZone: zone, domainNames: ['www.example.com'], certificateArn });
    template.resourceCountIs('AWS::CertificateManager::Certificate', 0);
    expect(recordsOf(template)).toEqual(
      ['www.example.com. A', 'www.example.com. AAAA'].map((one) => `${one} ${zone.id}`),
    );
  });

  test('that others distribute has no names', () => {
    const problems = edgeProblems({ ...edge, distributionId: 'EDFDVBD6EXAMPLE', hostedZone: zone });
    expect(problems.map(({ at }) => at)).toContain('hostedZone');
  });
});

function messageOf(relay: RelaySettings, more: { readonly edge?: Partial<EdgeSettings> } = {}): string {
  try {
    readStage('x', { ...stage, relay, ...(more.edge && { edge: { ...edge, ...more.edge } }) });
  } catch (error) {
    return (error as Error).message;
  }
  return 'accepted';
}

const named = { hostName: 'relay.example.com', hostedZone: zone };
const secured = { certificates: { 'eu-west-1': arn } };

test.each<[string, RelaySettings, { readonly edge?: Partial<EdgeSettings> }, string]>([
  ['a zone instead of certificates in production', named, {}, 'accepted'],
  [
    'a private zone without certificates in production',
    { ...named, hostedZone: { ...zone, private: true } },
    {},
    'relay.certificates has no certificate for eu-west-1',
  ],
  [
    'a private zone with certificates',
    { ...named, ...secured, hostedZone: { ...zone, private: true } },
    {},
    'accepted',
  ],
  [
    'a name outside the zone',
    { ...named, hostName: 'relay.notexample.com' },
    {},
    'relay.hostedZone.name="example.com" is invalid: expected a zone that contains relay.notexample.com',
  ],
  [
    'a zone without a name in it',
    { hostedZone: zone },
    {},
    'relay.hostName is missing: relay.hostedZone has no use without it',
  ],
  [
    'a zone by its path',
    { ...named, hostedZone: { id: '/hostedzone/Z0123456789', name: 'example.com' } },
    {},
    'relay.hostedZone.id="/hostedzone/Z0123456789" is invalid: expected the ID of a hosted zone',
  ],
  [
    'a zone with a dot at its end',
    { ...named, hostedZone: { ...zone, name: 'example.com.' } },
    {},
    'relay.hostedZone.name="example.com." is invalid: expected a lower-case domain name without a dot',
  ],
  [
    'the same name inside and outside',
    { ...named, publicAccess: named },
    {},
    'relay.publicAccess.hostName="relay.example.com" is invalid: expected another name than relay.hostName in the same zone',
  ],
  [
    'a public zone without a name in it',
    { ...named, publicAccess: { hostedZone: zone } },
    {},
    'relay.publicAccess.hostName is missing',
  ],
  [
    'a site of the name of the public load balancer',
    { ...named, publicAccess: { ...named, hostName: 'www.example.com' } },
    { edge: { hostedZone: zone, domainNames: ['example.com', 'www.example.com'] } },
    'edge.domainNames="www.example.com" is invalid: expected another name than relay.publicAccess.hostName in the same zone',
  ],
  [
    'a site of the name of the internal load balancer',
    named,
    { edge: { hostedZone: zone, domainNames: ['relay.example.com'] } },
    'edge.domainNames="relay.example.com" is invalid: expected another name than relay.hostName in the same zone',
  ],
  [
    'one name in a private zone and in a public one',
    { ...named, ...secured, hostedZone: { ...zone, id: 'Z0123456789PRIVATE', private: true }, publicAccess: named },
    {},
    'accepted',
  ],
  [
    'a public load balancer whose name is in no certificate',
    { ...named, publicAccess: {} },
    {},
    'relay.publicAccess.certificates has no certificate for eu-west-1, and the one that is made for relay.hostName only has the name relay.example.com: give',
  ],
  [
    'a public load balancer with the certificate that is given for the internal one',
    { ...named, ...secured, publicAccess: {} },
    {},
    'accepted',
  ],
  [
    'a name that is too long for a certificate',
    { ...named, hostName: `${'a'.repeat(53)}.example.com` },
    {},
    'is invalid: expected a name of at most 64 characters, since ACM',
  ],
  ['a name that is just short enough', { ...named, hostName: `${'a'.repeat(52)}.example.com` }, {}, 'accepted'],
  [
    'a long name and a certificate for it',
    { ...named, ...secured, hostName: `${'a'.repeat(63)}.example.com` },
    {},
    'accepted',
  ],
  [
    'a label that is too long for DNS',
    { ...named, ...secured, hostName: `${'a'.repeat(64)}.example.com` },
    {},
    'is invalid: expected a lower-case host name',
  ],
  [
    'a name below an internationalised top-level domain',
    { hostName: 'relay.xn--e1afmkfd.xn--p1ai', hostedZone: { ...zone, name: 'xn--e1afmkfd.xn--p1ai' } },
    {},
    'accepted',
  ],
  [
    'a namespace of the name of the private zone',
    {
      ...{ ...named, ...secured, hostedZone: { ...zone, private: true } },
      prometheus: { namespace: 'example.com' },
    },
    {},
    'relay.prometheus.namespace="example.com" is invalid: expected another name than that of the private zone relay.hostedZone',
  ],
  [
    'a namespace of a wildcard',
    { ...named, prometheus: { namespace: '*.flags.internal' } },
    {},
    'relay.prometheus.namespace="*.flags.internal" is invalid: expected a lower-case host name',
  ],
  [
    'a site outside the zone',
    secured,
    { edge: { hostedZone: zone, domainNames: ['www.example.org'] } },
    'edge.hostedZone.name="example.com" is invalid: expected a zone that contains www.example.org',
  ],
  ['a site without names', secured, { edge: { hostedZone: zone } }, 'edge.domainNames is missing'],
  [
    'a site in a private zone',
    secured,
    { edge: { hostedZone: { ...zone, private: true }, domainNames: ['www.example.com'] } },
    'edge.hostedZone.private=true is invalid: expected a public zone',
  ],
])('a stage with %s is accepted or told what is wrong', (_, relay, more, message) => {
  expect(messageOf(relay, more)).toContain(message);
});
