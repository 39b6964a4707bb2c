/** Options of a stage that the shipped stages do not use: what each adds, in stages that combine those that do not interact. */
import type { Stack } from 'aws-cdk-lib';
import { Match, type Template } from 'aws-cdk-lib/assertions';
import { readStage } from '../../../lib/infrastructure/parse-stage.ts';
import { managedVariables, otherSources, redisVariables } from '../../../lib/infrastructure/relay-contract.ts';
import type { StageSettings } from '../../../lib/infrastructure/stage-settings.ts';
import { parseConfig } from '../../../relay-task/config/config.ts';
import { settings, settingsIn } from '../../../relay-task/config/settings.ts';
import { asStarted, propertiesOf, taskOf } from '../../support/relay-task.ts';
import { type Synthesised, shipped, synthesise } from '../../support/synthesise.ts';

const small: StageSettings = { ...shipped.dev, edge: undefined, readerLayer: false, environments: [] };

/** A made-up key. */
function keyIn(region: string): string {
  return `arn:aws:kms:${region}:123456789012:key/12345678-1234-1234-1234-123456789012`;
}

const variants = {
  /** For somebody who has Prometheus, a Redis Cluster and auto-configuration. */
  prometheus: {
    ...small,
    redis: { url: 'rediss://cache.example.com:6380', cluster: true },
    relay: {
      prometheus: { namespace: 'flags.internal' },
      secrets: { AUTO_CONFIG_KEY: '/mine/auto-config-key' },
      agent: { otel: { endpoint: 'https://otlp.example.com/v1', headers: { 'api-key': '/mine/otlp-key' } } },
    },
  },
  /** For somebody whose applications only read stores, with keys of their own, and who has Datadog. */
  daemon: {
    ...shipped.dev,
    replicaRegions: ['us-east-1'],
    encryptionKeys: { 'eu-west-1': keyIn('eu-west-1'), 'us-east-1': keyIn('us-east-1') },
    redis: { serverless: {} },
    relay: {
      loadBalancer: false,
      agent: {
        datadog: {
          apiKey: 'arn:aws:secretsmanager:eu-west-1:123456789012:secret:datadog-AbCdEf:api_key',
          site: 'datadoghq.eu',
          tags: ['team:platform'],
        },
      },
    },
  },
} satisfies Record<string, StageSettings>;

const made = new Map<string, Synthesised>();

/** Synthesised once, when it is asked for. */
export function variant(name: keyof typeof variants): Synthesised {
  const known = made.get(name) ?? synthesise(name, variants[name]);
  made.set(name, known);
  return known;
}

/** The relay of a variant: its template, container and variables. */
function relayOf(name: keyof typeof variants) {
  const template = variant(name).template('Relay');
  return { template, ...taskOf(template) };
}

/** What may reach which port of tasks: address ranges, or the kind of what is named. */
function mayReachTasks(template: Template): [port: unknown, from: unknown][] {
  const groups = Object.entries(template.findResources('AWS::EC2::SecurityGroup'));
  const [, group] = groups.find(([id]) => id.startsWith('RelayServiceSecurityGroup'))!;
  const inline = (group.Properties.SecurityGroupIngress ?? []) as { FromPort: number; CidrIp: string }[];
  const rules = propertiesOf(template, 'AWS::EC2::SecurityGroupIngress').filter(({ GroupId }) =>
    JSON.stringify(GroupId).includes('RelayServiceSecurityGroup'),
  );
  return [
    ...inline.map(({ FromPort, CidrIp }): [unknown, unknown] => [FromPort, CidrIp]),
    ...rules.map(({ FromPort, CidrIp }): [unknown, unknown] => [FromPort, CidrIp ?? 'a security group']),
  ];
}

/** The error for a small stage with these changes. */
function messageOf(changes: object): string {
  try {
    readStage('x', { ...small, ...changes });
  } catch (error) {
    return (error as Error).message;
  }
  return 'accepted';
}

describe('a variable that the app decides', () => {
  test.each([...Object.entries(managedVariables), ...redisVariables.map((name) => [name, 'set redis'] as const)])(
    '%s is refused, with what to do instead: %s',
    (name, instead) => {
      const said = messageOf({ redis: { serverless: {} }, relay: { variables: { [name]: '1' } } });
      expect(said).toBe(`stage x: relay.variables.${name} is set by the app: ${instead}`);
      const known = new Set<string>([...settingsIn(settings).map(({ env }) => env), 'HOME', 'NODE_OPTIONS']);
      expect(known).toContain(name);
    },
  );

  test('is decided by a property that exists', () => {
    const properties = Object.values(managedVariables).flatMap((why) => [...why.matchAll(/\bset ([\w.]+\w)/g)]);
    expect(properties.length).toBeGreaterThan(8);
    for (const [, property = ''] of properties) {
      // An unknown property is named; a wrong value is another message.
      const nested = property.split('.').reduceRight<unknown>((inner, name) => ({ [name]: inner }), 0);
      expect(messageOf(nested as object)).not.toContain('is unknown');
    }
  });

  test('is free where nothing decides it: Sentinels without `redis`', () => {
    const sentinels = { USE_REDIS: 'true', REDIS_SENTINELS: 'a:26379', REDIS_SENTINEL_MASTER: 'flags' };
    expect(messageOf({ relay: { variables: sentinels } })).toBe('accepted');
  });
});

describe('relay.prometheus', () => {
  test('opens a port of every task to the VPC, and makes the tasks known by name @heavy', () => {
    const { template, container, environment } = relayOf('prometheus');
    expect(environment).toMatchObject({ USE_PROMETHEUS: 'true', PROMETHEUS_PORT: '8031' });
    expect(container).toMatchObject({ PortMappings: [{ ContainerPort: 8030 }, { ContainerPort: 8031 }] });
    expect(mayReachTasks(template)).toEqual(
      expect.arrayContaining([
        [8031, '10.0.0.0/16'],
        [8030, 'a security group'],
      ]),
    );
    template.hasResourceProperties('AWS::ServiceDiscovery::PrivateDnsNamespace', { Name: 'flags.internal' });
    template.hasResourceProperties('AWS::ECS::Service', { ServiceRegistries: [{ RegistryArn: Match.anyValue() }] });
    template.hasResourceProperties('AWS::ServiceDiscovery::Service', {
      Name: 'relay',
      DnsConfig: { DnsRecords: [{ Type: 'A', TTL: 10 }] },
    });
  });

  test.each([
    [{ port: 8030 }, 'relay.prometheus.port=8030 is invalid: expected another port than 8030'],
    [{ allowedCidrs: ['everyone'] }, 'relay.prometheus.allowedCidrs[0]="everyone" is invalid: expected a CIDR block'],
  ])('%j is refused', (prometheus, message) => {
    expect(messageOf({ relay: { prometheus } })).toContain(message);
  });
});

describe('relay.agent', () => {
  interface Agent {
    readonly Name: string;
    readonly Essential: boolean;
    readonly Image: string;
    readonly Memory: number;
    readonly PortMappings?: unknown;
    readonly Environment: readonly { Name: string; Value: string }[];
    readonly Secrets: readonly { Name: string; ValueFrom: unknown }[];
  }
  function agentOf(name: keyof typeof variants) {
    const [task] = propertiesOf(relayOf(name).template, 'AWS::ECS::TaskDefinition');
    const [relay, agent] = task!.ContainerDefinitions as [Record<string, unknown>, Agent];
    const environment = Object.fromEntries(agent.Environment.map(({ Name, Value }) => [Name, Value]));
    return { relay, agent, environment, memory: Number(task!.Memory) };
  }

  test.each(['prometheus', 'daemon'] as const)(
    'of %s never ends a relay and takes no memory from its heap @heavy',
    (name) => {
      const { relay, agent, memory } = agentOf(name);
      expect(agent).toMatchObject({ Name: 'agent', Essential: false });
      expect(relay).toMatchObject({ Essential: true, Memory: memory - agent.Memory });
      expect(relayOf(name).environment.NODE_OPTIONS).toBe(`--max-old-space-size=${(memory - agent.Memory) * 0.75}`);
      expect(agent.Image).toMatch(/^public\.ecr\.aws\/.+:v?\d+\.\d+\.\d+$/);
    },
  );

  test('of Datadog reads the metrics over the loopback interface, so that their port is closed to everybody else', () => {
    const { relay, agent, environment } = agentOf('daemon');
    expect(environment).toMatchObject({
      ECS_FARGATE: 'true',
      DD_SITE: 'datadoghq.eu',
      DD_TAGS: 'stage:daemon team:platform',
    });
    const [key] = agent.Secrets;
    expect(agent.Secrets).toHaveLength(1);
    expect(key).toEqual({
      Name: 'DD_API_KEY',
      ValueFrom: 'arn:aws:secretsmanager:eu-west-1:123456789012:secret:datadog-AbCdEf:api_key::',
    });
    const labels = relay.DockerLabels as Record<string, string>;
    expect(JSON.parse(labels['com.datadoghq.ad.checks']!)).toMatchObject({
      openmetrics: { instances: [{ openmetrics_endpoint: 'http://localhost:8031/metrics' }] },
    });
    const { template, container, environment: ofRelay } = relayOf('daemon');
    expect(ofRelay).toMatchObject({ USE_PROMETHEUS: 'true', PROMETHEUS_PORT: '8031' });
    expect(container).toMatchObject({ PortMappings: [{ ContainerPort: 8030 }] });
    expect(mayReachTasks(template).map(([port]) => port)).not.toContain(8031);
    const role = JSON.stringify(template.findResources('AWS::IAM::Policy'));
    expect(role).toContain('secretsmanager:GetSecretValue');
  });

  test('of OpenTelemetry gets its configuration and the headers of the endpoint, whose values are in SSM', () => {
    const { agent, environment } = agentOf('prometheus');
    const config = JSON.parse(environment.AOT_CONFIG_CONTENT!);
    expect(config.receivers.prometheus.config.scrape_configs[0].static_configs).toEqual([
      { targets: ['localhost:8031'] },
    ]);
    expect(config.exporters.otlphttp).toEqual({
      endpoint: 'https://otlp.example.com/v1',
      headers: { 'api-key': `\${env:HEADER_API_KEY}` },
    });
    const { receivers, processors, exporters } = config.service.pipelines.metrics;
    for (const [kind, names] of Object.entries({ receivers, processors, exporters })) {
      for (const name of names as string[]) expect(config[kind]).toHaveProperty(name);
    }
    expect(agent.Secrets.map(({ Name }) => Name)).toEqual(['HEADER_API_KEY']);
    expect(JSON.stringify(agent.Secrets)).toContain('parameter/mine/otlp-key');
  });

  const datadog = { apiKey: '/mine/datadog' };
  test.each<[object, string]>([
    [{ agent: { datadog: {} } }, 'relay.agent.datadog.apiKey is missing'],
    [
      { agent: { datadog: { apiKey: 'abc' } } },
      'relay.agent.datadog.apiKey is invalid: expected the name of an SSM parameter',
    ],
    [{ agent: { otel: {} } }, 'relay.agent.otel needs either endpoint or config'],
    [{ agent: { statsd: {} } }, 'relay.agent="{statsd}" is invalid: expected { datadog: … } or { otel: … }'],
    [
      { agent: { datadog }, memoryMiB: 512 },
      'relay.memoryMiB=512 is invalid: expected at least 768: 256 for the agent and 512 for the relay',
    ],
    [
      { agent: { datadog: { ...datadog, image: 'mine' } } },
      'relay.agent.datadog.image="mine" is invalid: expected an image URI',
    ],
  ])('%j is refused', (relay, message) => {
    expect(messageOf({ relay })).toContain(message);
  });

  test.each(['prometheus', 'daemon'] as const)(
    'of %s has the service wait for the permissions with which ECS reads its secrets',
    (name) => {
      const { template } = relayOf(name);
      const [service] = Object.values(template.findResources('AWS::ECS::Service'));
      const [task] = propertiesOf(template, 'AWS::ECS::TaskDefinition');
      const role = (task!.ExecutionRoleArn as { 'Fn::GetAtt': [string] })['Fn::GetAtt'][0];
      const policies = template.findResources('AWS::IAM::Policy', { Properties: { Roles: [{ Ref: role }] } });
      const [[id, policy]] = Object.entries(policies) as [[string, object]];
      expect(JSON.stringify(policy)).toMatch(/ssm:GetParameters|secretsmanager:GetSecretValue/);
      expect(service!.DependsOn).toContain(id);
    },
  );
});

describe('relay.loadBalancer: false', () => {
  test('leaves out the load balancer, its addresses and everything that asks it', () => {
    const { template } = relayOf('daemon');
    const types = variant('daemon').stacks.flatMap(({ node }) =>
      Object.values(variant('daemon').template(node.id).toJSON().Resources as Record<string, { Type: string }>).map(
        ({ Type }) => Type,
      ),
    );
    expect(types.filter((type) => type.startsWith('AWS::ElasticLoadBalancing'))).toEqual([]);
    expect(JSON.stringify(template.toJSON())).not.toContain('/load-balancers/');
    expect(template.findOutputs('InternalAddress')).toEqual({});
    expect(mayReachTasks(template)).toEqual([]);
    const watching = JSON.stringify(variant('daemon').template('Observability').toJSON());
    expect(watching).not.toMatch(/ApplicationELB|load-balancer|StreamLatency|canary-differs/);
    expect(types).toContain('AWS::CloudWatch::Dashboard');
  });

  test('has ECS ask tasks for their readiness, which nobody else does', () => {
    const { template, container } = relayOf('daemon');
    expect(container.HealthCheck).toMatchObject({
      Command: ['CMD', 'ld-relay', '--readycheck', '--from-env'],
      StartPeriod: 300,
    });
    const [service] = propertiesOf(template, 'AWS::ECS::Service');
    // ECS refuses a grace period without a load balancer.
    expect(service).not.toHaveProperty('HealthCheckGracePeriodSeconds');
    expect(service).toMatchObject({ LoadBalancers: [] });
    expect(service).toMatchObject({ DeploymentConfiguration: { DeploymentCircuitBreaker: { Rollback: true } } });
  });

  test('has ECS forget an alarm and a registry that it had before: ECS keeps what an update does not mention', () => {
    const [service] = propertiesOf(relayOf('daemon').template, 'AWS::ECS::Service');
    expect(service).toMatchObject({
      ServiceRegistries: [],
      DeploymentConfiguration: { Alarms: { AlarmNames: [], Enable: false, Rollback: false } },
    });
  });

  test('has a synthetic check of the table alone', () => {
    const functions = propertiesOf(variant('daemon').template('Observability'), 'AWS::Lambda::Function');
    const reader = functions.find(({ FunctionName }) => String(FunctionName).endsWith('-canary-reader'));
    const { Variables } = reader!.Environment as { Variables: object };
    expect(Variables).toMatchObject({ TABLE_NAME: 'edge-flag-relay-dev' });
    expect(Variables).not.toHaveProperty('RELAY_URL');
  });

  test.each<[object, string]>([
    [{ publicAccess: {} }, 'relay.publicAccess has no effect: relay.loadBalancer is false'],
    [{ hostName: 'relay.example.com' }, 'relay.hostName has no effect: relay.loadBalancer is false'],
    [{ accessLogs: true }, 'relay.accessLogs has no effect: relay.loadBalancer is false'],
  ])('refuses %j', (relay, message) => {
    expect(messageOf({ relay: { ...relay, loadBalancer: false } })).toContain(message);
  });

  test('needs no certificate in production, and refuses exposures, which go through it', () => {
    const production = { production: true, relay: { loadBalancer: false } };
    expect(messageOf(production)).toBe('accepted');
    const exposures = { ...shipped.dev.edge, exposures: { environment: 'test' } };
    expect(messageOf({ ...production, environments: ['test'], edge: exposures })).toContain(
      'edge.exposures go through the load balancer',
    );
  });
});

describe('encryptionKeys', () => {
  const keyOf = (stack: Stack) => keyIn(stack.region);
  /** The values of a property of every resource of a type, each with the key that its region has. */
  const keyed = (type: string, property: string) =>
    variant('daemon').stacks.flatMap((stack) =>
      propertiesOf(variant('daemon').template(stack.node.id), type).map((one) => [one[property], keyOf(stack)]),
    );

  test.each([
    ['AWS::Logs::LogGroup', 'KmsKeyId', 5],
    ['AWS::SNS::Topic', 'KmsMasterKeyId', 3],
    ['AWS::ElastiCache::ServerlessCache', 'KmsKeyId', 1],
  ])('encrypt every %s with the key of its region', (type, property, least) => {
    const found = keyed(type, property);
    expect(found.length).toBeGreaterThanOrEqual(least);
    for (const [is, wanted] of found) expect(is).toBe(wanted);
  });

  test('encrypt the table and each replica, and the logs of edge functions', () => {
    const [table] = propertiesOf(variant('daemon').template('Data'), 'AWS::DynamoDB::GlobalTable');
    expect(table).toMatchObject({ SSESpecification: { SSEEnabled: true, SSEType: 'KMS' } });
    const replicas = table!.Replicas as { Region: string; SSESpecification: object }[];
    expect(replicas.map(({ Region, SSESpecification }) => [Region, SSESpecification])).toEqual(
      expect.arrayContaining(['eu-west-1', 'us-east-1'].map((region) => [region, { KMSMasterKeyId: keyIn(region) }])),
    );
    variant('daemon')
      .template('Region-us-east-1')
      .hasResourceProperties('Custom::EdgeLogGroups', { KeysByRegion: variants.daemon.encryptionKeys });
  });

  test('may be used by relay, edge and synthetic check, for the table through DynamoDB alone', () => {
    const statements = (id: string) =>
      propertiesOf(variant('daemon').template(id), 'AWS::IAM::Policy').flatMap(
        ({ PolicyDocument }) =>
          (PolicyDocument as { Statement: { Action: unknown; Resource: unknown; Condition?: object }[] }).Statement,
      );
    const through = (id: string) =>
      statements(id)
        .filter(({ Condition }) => JSON.stringify(Condition ?? {}).includes('kms:ViaService'))
        .map(({ Action, Resource, Condition }) => [
          (Action as string[]).includes('kms:Encrypt') ? 'write' : 'read',
          Resource,
          /dynamodb\.([\w-]+)\./.exec(JSON.stringify(Condition))?.[1],
        ]);
    expect(through('Relay')).toEqual([['write', keyIn('eu-west-1'), 'eu-west-1']]);
    const everywhere = ['eu-west-1', 'us-east-1'].map((region) => ['read', keyIn(region), region]);
    expect(through('EdgeFunctions')).toEqual(expect.arrayContaining(everywhere));
    expect(through('Observability')).toEqual(expect.arrayContaining(everywhere));
    // Those that read keys in SSM, which are encrypted with it as well.
    for (const id of ['Relay', 'Observability']) {
      expect(statements(id)).toContainEqual(
        expect.objectContaining({ Action: 'kms:Decrypt', Resource: keyIn('eu-west-1') }),
      );
    }
  });

  test.each<[object, string]>([
    [
      { 'us-east-1': keyIn('us-east-1') },
      'encryptionKeys has no key for eu-west-1: each region of the stage needs one',
    ],
    [{ 'eu-west-1': keyIn('us-east-1') }, 'is invalid: expected a key in eu-west-1'],
    [{ 'eu-west-1': 'alias/mine' }, 'encryptionKeys.eu-west-1="alias/mine" is invalid: expected a KMS key ARN'],
  ])('%j is refused', (encryptionKeys, message) => {
    expect(messageOf({ encryptionKeys })).toContain(message);
  });
});

describe('auto-configuration', () => {
  test('replaces the keys in SSM as the source, and keeps environments apart in the table', () => {
    const { environment } = relayOf('prometheus');
    expect(environment).not.toHaveProperty('KEYS_FROM_SSM');
    const { config, warnings } = parseConfig(asStarted(environment));
    expect(warnings).toEqual([]);
    expect(config.autoConfig).toMatchObject({ prefix: '$CID' });
    expect(config.redis).toMatchObject({ cluster: [{ host: 'cache.example.com', port: 6380 }] });
  });

  test('is one source of environments, beside which there is no other', () => {
    const both = { variables: { FILE_DATA_SOURCE: '/data.tar.gz' }, secrets: { AUTO_CONFIG_KEY: '/mine/key' } };
    expect(messageOf({ relay: both })).toContain(`${otherSources.join(' and ')}: a relay has one source`);
  });
});
