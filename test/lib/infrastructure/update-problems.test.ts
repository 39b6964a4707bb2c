/** What is found in small templates; updates.test.ts compares those of whole stages. */
import { readReplacementRules } from '../../../lib/infrastructure/replacement-rules.ts';
import type { StackTemplate, Template } from '../../../lib/infrastructure/template.ts';
import { describeUpdateProblems } from '../../../lib/infrastructure/update-problems.ts';

const rules = readReplacementRules();
const stack = (stackName: string, template: Template, region = 'eu-west-1'): StackTemplate => ({
  stackName,
  region,
  template,
});
const one = (Type: string, Properties: Record<string, unknown> = {}, more = {}) => ({ Type, Properties, ...more });
const resources = (Resources: Template['Resources']): Template => ({ Resources: Resources ?? {} });
const problemsOf = (before: Template, after: Template) =>
  describeUpdateProblems([stack('s', before)], [stack('s', after)], rules);

test('AWS’s rules: what is replaced, and what identifies a resource', () => {
  expect(rules.replaces('AWS::ECS::Service', 'LaunchType')).toBe(true);
  expect(rules.replaces('AWS::ECS::Service', 'TaskDefinition')).toBe(false);
  expect(rules.identity('AWS::SSM::Parameter')).toEqual(['Name']);
  expect(rules.identity('AWS::SNS::Topic')).toBeUndefined();
  expect(rules.replaces('Custom::Mine', 'Anything')).toBe(false);
});

test('nothing is wrong with a new stage, nor with one that did not change', () => {
  const network = stack('network', {
    ...resources({ Vpc: one('AWS::EC2::VPC', { CidrBlock: '10.0.0.0/16' }) }),
    Outputs: { Vpc: { Value: { Ref: 'Vpc' }, Export: { Name: 'vpc' } } },
  });
  const relay = stack(
    'relay',
    resources({ Group: one('AWS::EC2::SecurityGroup', { VpcId: { 'Fn::ImportValue': 'vpc' } }) }),
  );
  expect(describeUpdateProblems([], [network, relay], rules)).toEqual([]);
  expect(describeUpdateProblems([network, relay], [network, relay], rules)).toEqual([]);
});

describe('an export', () => {
  const exporting = (value: unknown, more: Template['Resources'] = {}) =>
    stack('a', { Resources: more, Outputs: { X: { Value: value, Export: { Name: 'x' } } } });
  const importing = stack('b', resources({ P: one('AWS::SSM::Parameter', { Value: { 'Fn::ImportValue': 'x' } }) }));
  const without = stack('b', resources({ P: one('AWS::SSM::Parameter', { Value: 'y' }) }));

  test('that another stack uses until it is deployed itself can neither disappear nor change', () => {
    for (const next of [stack('a', resources({})), exporting('other')]) {
      const problems = describeUpdateProblems([exporting('value'), importing], [next, without], rules);
      expect(problems).toEqual([expect.objectContaining({ kind: 'import', refused: true, stackName: 'a' })]);
    }
  });

  test('may disappear when its user is deployed before, is in another region, or never used it', () => {
    const gone = stack('a', resources({}));
    expect(describeUpdateProblems([exporting('value'), importing], [without, gone], rules)).toEqual([]);
    expect(describeUpdateProblems([exporting('value'), { ...importing, region: 'us-east-1' }], [gone], rules)).toEqual(
      [],
    );
    expect(describeUpdateProblems([exporting('value'), without], [gone], rules)).toEqual([]);
  });

  test('changes with a resource that is replaced', () => {
    const vpc = (CidrBlock: string) => exporting({ Ref: 'Vpc' }, { Vpc: one('AWS::EC2::VPC', { CidrBlock }) });
    const kinds = describeUpdateProblems([vpc('10.0.0.0/16'), importing], [vpc('10.1.0.0/16')], rules);
    expect(kinds.map(({ kind }) => kind)).toEqual(['import', 'replaced']);
  });

  test('that is imported must exist', () => {
    expect(describeUpdateProblems([], [importing], rules)).toMatchObject([{ kind: 'import', stackName: 'b' }]);
  });
});

describe('a name', () => {
  const topic = (TopicName: unknown) => one('AWS::SNS::Topic', { TopicName });

  test('cannot pass to a resource with another logical ID, in the same stack or in another one', () => {
    const before = resources({ Old: topic('alarms') });
    const after = resources({ New: topic('alarms') });
    expect(problemsOf(before, after)).toMatchObject([{ kind: 'taken', resource: 'New' }, { kind: 'removed' }]);
    const moved = describeUpdateProblems([stack('s', before)], [stack('t', after), stack('s', resources({}))], rules);
    expect(moved).toMatchObject([
      { kind: 'taken', stackName: 't' },
      { kind: 'removed', stackName: 's' },
    ]);
    expect(describeUpdateProblems([stack('s', before)], [stack('t', after, 'us-east-1')], rules)).toEqual([]);
  });

  test('is taken by the resource itself when that has to be replaced', () => {
    const cluster = (LaunchType: string) =>
      resources({ S: one('AWS::ECS::Service', { Cluster: 'c', ServiceName: 'relay', LaunchType }) });
    expect(problemsOf(cluster('FARGATE'), cluster('EC2'))).toMatchObject([{ kind: 'taken', resource: 'S' }]);
    expect(problemsOf(cluster('FARGATE'), cluster('FARGATE'))).toEqual([]);
  });

  test('that changes with the resource is free', () => {
    expect(problemsOf(resources({ A: topic('a') }), resources({ A: topic('b') }))).toMatchObject([
      { kind: 'replaced' },
    ]);
    const route = (VpcId: string) =>
      resources({
        Table: one('AWS::EC2::RouteTable', { VpcId }),
        Route: one('AWS::EC2::Route', { RouteTableId: { Ref: 'Table' }, DestinationCidrBlock: '0.0.0.0/0' }),
      });
    expect(problemsOf(route('vpc-1'), route('vpc-2'))).toEqual([]);
  });

  test('of a distribution’s policies and of dashboards is taken in every region', () => {
    const policy = resources({ P: one('AWS::CloudFront::CachePolicy', { CachePolicyConfig: { Name: 'p' } }) });
    expect(describeUpdateProblems([stack('s', policy)], [stack('t', policy, 'us-east-1')], rules)).toMatchObject([
      { kind: 'taken', what: expect.stringContaining('P of stack s has the name p') },
    ]);
  });

  test('of a stack in another region is not the stack’s own, even if both have one name', () => {
    const board = resources({ D: one('AWS::CloudWatch::Dashboard', { DashboardName: 'd' }) });
    const [here, there] = [stack('s', board), stack('s', board, 'us-east-1')];
    const what =
      'D (AWS::CloudWatch::Dashboard) cannot be created in stack s: D of stack s in eu-west-1 has the name d';
    expect(describeUpdateProblems([here], [there, here], rules)).toMatchObject([{ kind: 'taken', what }]);
  });

  test('so an address range of the same VPC is taken until its subnet is gone', () => {
    const subnet = (CidrBlock: string, AvailabilityZone = 'eu-west-1a') =>
      one('AWS::EC2::Subnet', { VpcId: 'vpc-1', CidrBlock, AvailabilityZone });
    const before = resources({ A: subnet('10.0.0.0/19'), B: subnet('10.0.32.0/19') });
    const problems = problemsOf(before, resources({ A: subnet('10.0.0.0/18') }));
    expect(problems).toMatchObject([{ kind: 'taken', resource: 'A', advice: expect.stringContaining('networks') }]);
    expect(problemsOf(before, resources({ A: subnet('10.0.0.0/19'), C: subnet('10.0.64.0/19') }))).toEqual([]);
    const elsewhere = resources({ A: subnet('10.0.0.0/19', 'eu-west-1b'), B: subnet('10.0.32.0/19') });
    expect(problemsOf(before, elsewhere)).toMatchObject([{ kind: 'taken', resource: 'A' }]);
  });
});

describe('what has data or an address', () => {
  const table = (TableName: string, regions = ['eu-west-1']) =>
    one('AWS::DynamoDB::GlobalTable', { TableName, Replicas: regions.map((Region) => ({ Region })) });

  test('is not replaced, and the stage’s property is named', () => {
    expect(problemsOf(resources({ T: table('a') }), resources({ T: table('b') }))).toEqual([
      {
        kind: 'replaced',
        refused: true,
        stackName: 's',
        resource: 'T',
        what: expect.stringMatching(/^tableName cannot change/),
        advice: expect.stringContaining('another name'),
      },
    ]);
    const vpc = (CidrBlock: string) => resources({ V: one('AWS::EC2::VPC', { CidrBlock }) });
    expect(problemsOf(vpc('10.0.0.0/16'), vpc('10.1.0.0/16'))).toMatchObject([
      { kind: 'replaced', what: expect.stringContaining('networks.eu-west-1.cidr') },
    ]);
    const cache = (...SubnetIds: string[]) =>
      resources({ C: one('AWS::ElastiCache::ServerlessCache', { ServerlessCacheName: 'c', SubnetIds }) });
    const told = problemsOf(cache('a', 'b'), cache('b', 'c'));
    expect(told).toMatchObject([{ kind: 'taken', what: expect.stringContaining('networks.eu-west-1.zones') }]);
    expect(told).toHaveLength(1);
  });

  test('may be a cache that gets another key, and with it another name', () => {
    const cache = (ServerlessCacheName: string, more = {}) =>
      resources({ C: one('AWS::ElastiCache::ServerlessCache', { ServerlessCacheName, ...more }) });
    const what = expect.stringMatching(
      /^encryptionKeys\.eu-west-1: Redis is replaced by the cache efr-2, which has another address/,
    );
    const note = { kind: 'replaced', refused: false, what, advice: expect.stringContaining('efr-2') };
    expect(problemsOf(cache('efr-1'), cache('efr-2', { KmsKeyId: 'k' }))).toMatchObject([note]);
    // The new cache cannot be created beside the old one.
    expect(problemsOf(cache('efr-1'), cache('efr-1', { KmsKeyId: 'k' }))).toMatchObject([
      { kind: 'taken', refused: true, what: expect.stringContaining('since KmsKeyId changes') },
    ]);
  });

  test('may be a record, a certificate or a private namespace, which are told', () => {
    const names = (name: string) =>
      resources({
        R: one('AWS::Route53::RecordSet', { Name: `relay.${name}.`, Type: 'A', HostedZoneId: 'Z1' }),
        C: one('AWS::CertificateManager::Certificate', { DomainName: `relay.${name}` }),
        N: one('AWS::ServiceDiscovery::PrivateDnsNamespace', { Name: name, Vpc: 'vpc-1' }),
      });
    const told = (kind: string, ...texts: string[]) =>
      texts.map((text) => ({ kind, refused: false, what: expect.stringContaining(text) }));
    expect(problemsOf(names('a.com'), names('b.com'))).toMatchObject(
      told('replaced', 'relay.a.com (A) of stack s is replaced by relay.b.com (A)', 'one for relay.b.com', 'by b.com'),
    );
    expect(problemsOf(names('a.com'), resources({}))).toMatchObject(
      told('removed', 'record relay.a.com (A)', 'certificate for relay.a.com', 'namespace a.com'),
    );
    expect(problemsOf(resources({}), names('a.com'))).toEqual([]);
  });

  test('may be a certificate, of which only names that it loses are told', () => {
    const certificate = (DomainName: string, ...SubjectAlternativeNames: string[]) =>
      resources({ C: one('AWS::CertificateManager::Certificate', { DomainName, SubjectAlternativeNames }) });
    expect(problemsOf(certificate('a.com'), certificate('a.com', 'b.com'))).toEqual([]);
    expect(problemsOf(certificate('a.com', 'b.com'), certificate('b.com', 'a.com'))).toEqual([]);
    expect(problemsOf(certificate('www.a.com'), certificate('a.com', '*.a.com'))).toEqual([]);
    expect(problemsOf(certificate('a.com', 'b.com'), certificate('a.com', '*.b.com'))).toMatchObject([
      { kind: 'replaced', refused: false, what: expect.stringMatching(/one for a\.com, without b\.com$/) },
    ]);
  });

  test('may be a name of the site, which the distribution loses', () => {
    const site = (...Aliases: string[]) =>
      resources({ D: one('AWS::CloudFront::Distribution', { DistributionConfig: { Aliases } }) });
    expect(problemsOf(site('a.com', 'b.com'), site('b.com'))).toMatchObject([
      { kind: 'removed', refused: false, what: 'edge.domainNames: the distribution no longer answers to a.com' },
    ]);
    expect(problemsOf(site('b.com'), site('a.com', 'b.com'))).toEqual([]);
  });

  test('may be addresses that others have in their allow lists', () => {
    const addresses = (...ids: string[]) => resources(Object.fromEntries(ids.map((id) => [id, one('AWS::EC2::EIP')])));
    expect(problemsOf(addresses('A', 'B', 'C'), addresses('A', 'D'))).toMatchObject([
      {
        ...{ kind: 'addresses', refused: false },
        what: expect.stringMatching(/^networks\.eu-west-1: .* 2 of 3 are released for good, 1 added$/),
      },
    ]);
    expect(problemsOf(addresses('A'), addresses('A', 'B'))).toMatchObject([{ kind: 'addresses' }]);
    // Tasks had public addresses of their own, which nobody could know.
    expect(problemsOf(addresses(), addresses('A'))).toEqual([]);
  });

  test('is cut off when its listener leaves its port, which comes first', () => {
    const listener = (Port: number, Protocol: string, more = {}) =>
      resources({
        B: one('AWS::ElasticLoadBalancingV2::LoadBalancer'),
        L: one('AWS::ElasticLoadBalancingV2::Listener', { LoadBalancerArn: { Ref: 'B' }, Port, Protocol }),
        ...more,
      });
    const cut = (text: string) => ({
      ...{ kind: 'cut', refused: false, resource: 'L' },
      what: expect.stringMatching(new RegExp(`^every client is cut, and none can connect again .*${text}`)),
    });
    const log = { G: one('AWS::Logs::LogGroup') };
    expect(problemsOf(listener(80, 'HTTP', log), listener(443, 'HTTPS'))).toMatchObject([
      cut('from HTTP on port 80 to HTTPS on port 443'),
      { kind: 'removed', resource: 'G' },
    ]);
    const without = resources({ B: one('AWS::ElasticLoadBalancingV2::LoadBalancer') });
    expect(problemsOf(listener(443, 'HTTPS'), without)).toMatchObject([cut('is removed')]);
    expect(problemsOf(listener(443, 'HTTPS'), resources({}))).toMatchObject([{ kind: 'removed', resource: 'B' }]);
    expect(problemsOf(listener(443, 'HTTPS'), listener(443, 'HTTPS'))).toEqual([]);
  });

  test('leaves the stage with its stack, if that has the table', () => {
    const [data, relay] = [stack('s-data', resources({ T: table('a') })), stack('s-relay', resources({}))];
    expect(describeUpdateProblems([data, relay], [relay], rules)).toMatchObject([
      { kind: 'removed', refused: true, resource: 'T', what: expect.stringMatching(/^table cannot become 'existing'/) },
    ]);
    expect(describeUpdateProblems([relay], [relay], rules)).toEqual([]);
  });

  test('is refused if it would be lost or could not be deleted, and told otherwise', () => {
    const balancer = (value: string) =>
      resources({
        Public: one('AWS::ElasticLoadBalancingV2::LoadBalancer', {
          LoadBalancerAttributes: [{ Key: 'deletion_protection.enabled', Value: value }],
        }),
      });
    const empty = resources({});
    expect(problemsOf(resources({ T: table('a') }), empty)).toMatchObject([{ kind: 'removed', refused: true }]);
    expect(problemsOf(balancer('true'), empty)).toMatchObject([{ kind: 'removed', refused: true }]);
    expect(problemsOf(balancer('false'), empty)).toMatchObject([{ kind: 'removed', refused: false }]);
    const log = resources({ L: one('AWS::Logs::LogGroup', {}, { DeletionPolicy: 'Retain' }) });
    expect(problemsOf(log, empty)).toMatchObject([{ refused: false, what: expect.stringContaining('stays') }]);
  });

  test('does not move to another VPC, as far as the templates tell', () => {
    const target = (VpcId: unknown, more = {}) =>
      resources({ Relays: one('AWS::ElasticLoadBalancingV2::TargetGroup', { VpcId }), ...more });
    const own = target({ Ref: 'Vpc' }, { Vpc: one('AWS::EC2::VPC', { CidrBlock: '10.0.0.0/16' }) });
    const named = { kind: 'replaced', refused: true, what: expect.stringMatching(/^networks\.eu-west-1\.vpc cannot/) };
    expect(problemsOf(target('vpc-1'), own)).toMatchObject([named]);
    expect(problemsOf(own, target('vpc-1'))).toMatchObject([{ kind: 'removed', refused: true, what: named.what }]);
    expect(problemsOf(target('vpc-1'), target('vpc-2'))).toMatchObject([named]);
    // A stage of former versions, whose network had a stack of its own.
    const network = stack('n', { Outputs: { V: { Value: { Ref: 'V' }, Export: { Name: 'v' } } } });
    const before = [network, stack('s', target({ 'Fn::ImportValue': 'v' }))];
    expect(describeUpdateProblems(before, [stack('s', own)], rules)).toMatchObject([named]);
    expect(describeUpdateProblems(before, [stack('s', target('vpc-1'))], rules)).toEqual([]);
  });

  test('does not move to another home region', () => {
    const here = stack('s-relay', resources({}));
    const there = stack('s-relay', resources({}), 'us-east-1');
    expect(describeUpdateProblems([here], [there], rules)).toMatchObject([
      { kind: 'replaced', refused: true, what: expect.stringMatching(/^homeRegion cannot change/) },
    ]);
    expect(describeUpdateProblems([here], [there, here], rules)).toEqual([]);
  });

  test('changes one replica at a time', () => {
    const before = resources({ T: table('a', ['eu-west-1', 'us-east-1']) });
    expect(problemsOf(before, resources({ T: table('a', ['eu-west-1', 'us-east-1', 'us-west-2']) }))).toEqual([]);
    expect(problemsOf(before, resources({ T: table('a', ['eu-west-1', 'us-west-2']) }))).toMatchObject([
      { kind: 'replicas', what: expect.stringContaining('us-east-1 and us-west-2 change at once') },
    ]);
    expect(problemsOf(before, resources({ T: table('a') }))).toMatchObject([
      { kind: 'replicas', refused: false, what: expect.stringContaining('replica in us-east-1 is deleted') },
    ]);
  });
});

describe('what AWS refuses or leaves behind', () => {
  // aws-cloudformation/cloudformation-coverage-roadmap#1313.
  test('is a service’s first load balancer together with a grace period, and not one after the other', () => {
    const service = (LoadBalancers: unknown[] | undefined, HealthCheckGracePeriodSeconds?: number) =>
      resources({
        S: one('AWS::ECS::Service', {
          ...(LoadBalancers && { LoadBalancers }),
          ...(HealthCheckGracePeriodSeconds && { HealthCheckGracePeriodSeconds }),
        }),
      });
    const balancers = [{ ContainerName: 'relay' }];
    for (const without of [service([]), service(undefined)]) {
      expect(problemsOf(without, service(balancers, 60))).toMatchObject([
        {
          ...{ kind: 'order', refused: true, resource: 'S' },
          what: expect.stringMatching(/^relay\.loadBalancer cannot come back in one deployment/),
          advice: expect.stringContaining('relay.healthCheckGraceSeconds: 0'),
        },
      ]);
      expect(problemsOf(without, service(balancers))).toEqual([]);
    }
    expect(problemsOf(service(balancers), service(balancers, 60))).toEqual([]);
    expect(problemsOf(service(balancers, 60), service([]))).toEqual([]);
    expect(problemsOf(resources({}), service(balancers, 60))).toEqual([]);
  });

  // AWS::DynamoDB::GlobalTable, Replicas.
  test('may be a replica that comes or goes together with another change of the table', () => {
    const table = (regions: string[], more = {}, ofReplica = {}) =>
      resources({
        T: one('AWS::DynamoDB::GlobalTable', {
          ...{ TableName: 'flags', ...more },
          Replicas: regions.map((Region) => ({ Region, ...ofReplica })),
        }),
      });
    const before = table(['eu-west-1']);
    const together = expect.objectContaining({
      ...{ kind: 'replicas', refused: false, resource: 'T' },
      what: expect.stringMatching(/^replicaRegions changes together with/),
    });
    const kms = { SSESpecification: { SSEEnabled: true, SSEType: 'KMS' } };
    expect(problemsOf(before, table(['eu-west-1', 'us-east-1'], kms))).toEqual([together]);
    expect(problemsOf(before, table(['eu-west-1', 'us-east-1'], {}, { DeletionProtectionEnabled: true }))).toEqual([
      together,
    ]);
    expect(problemsOf(table(['us-east-1', 'eu-west-1'], kms), before)).toContainEqual(together);
    expect(problemsOf(before, table(['eu-west-1', 'us-east-1']))).toEqual([]);
    expect(problemsOf(before, table(['eu-west-1'], kms))).toEqual([]);
  });

  test('may be a policy of distributions elsewhere, which have other functions until they are deployed', () => {
    const policy = (kind: 'Cache' | 'OriginRequest', headers: string[]) =>
      one(`AWS::CloudFront::${kind}Policy`, { [`${kind}PolicyConfig`]: { Name: 'edge-flag-relay-s', headers } });
    const before = resources({ C: policy('Cache', ['a']), O: policy('OriginRequest', ['a']) });
    const after = resources({ C: policy('Cache', ['b']) });
    expect(problemsOf(before, after)).toMatchObject([
      {
        kind: 'order',
        refused: false,
        resource: 'C',
        what: expect.stringContaining('edge-flag-relay-s changes at once'),
      },
      {
        ...{ kind: 'leftover', refused: false, resource: 'O' },
        advice: expect.stringContaining('aws cloudfront delete-origin-request-policy'),
      },
    ]);
    expect(problemsOf(before, before)).toEqual([]);
    // With a distribution of its own, whose policies are others, nobody uses the router's.
    const site = stack('edge', resources({ D: one('AWS::CloudFront::Distribution') }));
    expect(describeUpdateProblems([stack('s', before)], [stack('s', after), site], rules)).toEqual([]);
    const together = resources({ ...before.Resources, ...site.template.Resources });
    expect(problemsOf(together, resources({}))).toMatchObject([{ kind: 'removed', resource: 'D' }]);
  });

  test('may be reserved capacity whose property is gone', () => {
    const balancer = (units?: number) =>
      resources({
        B: one('AWS::ElasticLoadBalancingV2::LoadBalancer', {
          ...(units && { MinimumLoadBalancerCapacity: { CapacityUnits: units } }),
        }),
      });
    expect(problemsOf(balancer(200), balancer())).toMatchObject([
      {
        ...{ kind: 'leftover', refused: false, resource: 'B' },
        what: expect.stringMatching(/^relay\.reservedCapacityUnits: .* 200 reserved units/),
        advice: expect.stringContaining('--reset-capacity-reservation --region eu-west-1'),
      },
    ]);
    for (const after of [100, 300]) expect(problemsOf(balancer(200), balancer(after))).toEqual([]);
    expect(problemsOf(balancer(), balancer(200))).toEqual([]);
  });

  test('may be a subnet of the two zones in which functions have network interfaces', () => {
    const subnets = (...letters: string[]) => {
      const all = letters.flatMap((letter) =>
        ['Inside', 'Public'].map((kind, index) => [
          `${kind}${letter}`,
          one('AWS::EC2::Subnet', {
            VpcId: 'vpc-1',
            CidrBlock: `10.0.${index * 128 + letter.charCodeAt(0)}.0/24`,
            AvailabilityZone: `eu-west-1${letter}`,
          }),
        ]),
      );
      return resources(Object.fromEntries(all));
    };
    expect(problemsOf(subnets('c', 'a', 'b'), subnets('a', 'b'))).toEqual([]);
    expect(problemsOf(subnets('a', 'b', 'c'), subnets('a', 'c'))).toMatchObject([
      {
        ...{ kind: 'leftover', refused: false, resource: 'Insideb' },
        what: expect.stringMatching(/^networks\.eu-west-1\.zones: .* in eu-west-1b /),
        advice: expect.stringContaining('Name=availability-zone,Values=eu-west-1b'),
      },
    ]);
    // The network belongs to the stage no longer, which is told as such.
    expect(problemsOf(subnets('a', 'b'), resources({}))).toEqual([]);
  });
});

describe('a fleet', () => {
  const fleet = (MinCapacity: number, MaxCapacity: number, MaximumPercent: number) =>
    resources({
      S: one('AWS::ECS::Service', { DeploymentConfiguration: { MaximumPercent } }),
      T: one('AWS::ApplicationAutoScaling::ScalableTarget', { MinCapacity, MaxCapacity }),
    });

  test('that is too small for the percentage of its next deployment could never be replaced', () => {
    expect(problemsOf(fleet(2, 8, 200), fleet(3, 12, 134))).toMatchObject([{ kind: 'stalls', refused: true }]);
    expect(problemsOf(fleet(3, 12, 200), fleet(20, 80, 134))).toEqual([]);
  });

  test('loses tasks when its maximum falls, which is told', () => {
    expect(problemsOf(fleet(20, 80, 134), fleet(3, 12, 134))).toMatchObject([
      { kind: 'fewer-tasks', refused: false, what: expect.stringContaining('from 80 to 12') },
    ]);
    expect(problemsOf(fleet(3, 12, 134), fleet(20, 80, 134))).toEqual([]);
  });
});
