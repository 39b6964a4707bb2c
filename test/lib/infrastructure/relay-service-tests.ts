/** The relay's task, service and stores, in a stage with every feature and in the two stages that we ship. */
import { Duration, Stack } from 'aws-cdk-lib';
import { Match, type Template } from 'aws-cdk-lib/assertions';
import { Vpc } from 'aws-cdk-lib/aws-ec2';
import { FlagTable } from '../../../lib/infrastructure/flag-table.ts';
import {
  KEEP_ALIVE_SECONDS,
  managedVariables,
  redisVariables,
  spoolVariables,
} from '../../../lib/infrastructure/relay-contract.ts';
import { RelayService } from '../../../lib/infrastructure/relay-service.ts';
import { parseConfig } from '../../../relay-task/config/config.ts';
import { settings, settingsIn } from '../../../relay-task/config/settings.ts';
import { published } from '../../../relay-task/status/published.ts';
import { asStarted, attributesOf, propertiesOf, taskOf } from '../../support/relay-task.ts';
import { createApp, full, type Synthesised } from '../../support/synthesise.ts';
import { type CfnAlarm, metricsOf } from './observability/observe.ts';
import { made, oddStage } from './whole-stages.ts';

let everything: Synthesised;
let dev: Synthesised;
let prod: Synthesised;
beforeAll(() => {
  everything = made.full;
  dev = made.dev;
  prod = made.prod;
});

const relays = (): [string, Template][] => [
  ['full', everything.template('Relay')],
  ['full, us-west-2', everything.template('Relay-us-west-2')],
  ['dev', dev.template('Relay')],
  ['prod', prod.template('Relay')],
];
describe('a relay task', () => {
  test('gets only environment variables that the relay knows', () => {
    const known = new Set<string>(settingsIn(settings).map(({ env }) => env));
    for (const [name, template] of relays()) {
      const { environment } = taskOf(template);
      const { NODE_OPTIONS, HOME, ...variables } = environment;
      expect({ name, NODE_OPTIONS, HOME }).toMatchObject({
        HOME: '/',
        NODE_OPTIONS: expect.stringMatching(/^--max-old-space-size=\d+$/),
      });
      const strangers = Object.keys(variables).filter((variable) => !known.has(variable));
      expect({ name, strangers }).toEqual({ name, strangers: [] });
      const { warnings } = parseConfig(asStarted(environment));
      expect({ name, warnings }).toEqual({ name, warnings: [] });
    }
  });

  test('has no variable of the app that a stage file could override', () => {
    for (const [, template] of relays()) {
      // Whether events are forwarded, and how many wait, may be said by the file.
      const { USE_EVENTS, EVENTS_CAPACITY, ...others } = taskOf(template).environment;
      // So may the places of environments that come from auto-configuration.
      const { BASE_URI, ENV_DATASTORE_PREFIX, ...variables } = others;
      expect([...Object.keys(managedVariables), ...redisVariables, ...spoolVariables]).toEqual(
        expect.arrayContaining(Object.keys(variables)),
      );
    }
  });

  test('reads the keys of its stage, and writes the table only in the home region', () => {
    expect(taskOf(prod.template('Relay')).environment).toMatchObject({
      PORT: '8030',
      HEARTBEAT_INTERVAL: '30s',
      KEYS_FROM_SSM: '/edge-flag-relay/prod/environments/',
      USE_DYNAMODB: 'true',
      DYNAMODB_TABLE: 'edge-flag-relay-prod',
      AWS_REGION: 'eu-west-1',
      STORE_WRITER: 'auto',
      METRICS_EMF: 'true',
    });
    expect(taskOf(prod.template('Relay')).environment).not.toHaveProperty('USE_PROMETHEUS');
    expect(taskOf(everything.template('Relay-us-west-2')).environment).toMatchObject({
      AWS_REGION: 'us-west-2',
      STORE_WRITER: 'never',
    });
  });

  test('is not root, has a read-only disk and no capabilities, and may open a million streams', () => {
    for (const [, template] of relays()) {
      expect(taskOf(template).container).toMatchObject({
        User: '65532:65532',
        ReadonlyRootFilesystem: true,
        LinuxParameters: { Capabilities: { Drop: ['ALL'] } },
        Ulimits: [{ Name: 'nofile', SoftLimit: 1_048_576, HardLimit: 1_048_576 }],
        PortMappings: [{ ContainerPort: 8030 }],
      });
    }
  });

  test('has Fargate’s maximum of two minutes after SIGTERM, and closes its streams in half of them', () => {
    for (const [, template] of relays()) {
      const { container, environment } = taskOf(template);
      expect(container.StopTimeout).toBe(120);
      const { config } = parseConfig(asStarted(environment));
      expect(config.drainWindowMs).toBe(60_000);
      expect(config.gracefulShutdownTimeoutMs).toBeGreaterThan(config.drainWindowMs);
      expect(config.gracefulShutdownTimeoutMs).toBeLessThan(container.StopTimeout * 1000);
    }
  });

  test('has a health check of /livez that needs no curl in the image', () => {
    for (const [, template] of relays()) {
      const { container } = taskOf(template);
      expect(container.HealthCheck.Command).toEqual(['CMD', 'ld-relay', '--healthcheck', ...container.Command]);
    }
  });

  test('logs without blocking, to a log group with a retention', () => {
    for (const [, template] of relays()) {
      const options = { mode: 'non-blocking', 'max-buffer-size': '26214400b' };
      expect(taskOf(template).container.LogConfiguration).toMatchObject({ LogDriver: 'awslogs', Options: options });
    }
    prod.template('Relay').hasResourceProperties('AWS::Logs::LogGroup', { RetentionInDays: 90 });
    dev.template('Relay').hasResourceProperties('AWS::Logs::LogGroup', { RetentionInDays: 14 });
  });

  test('has the size of an m4.xlarge in production and is small in development, on ARM by default', () => {
    const task = 'AWS::ECS::TaskDefinition';
    const arm = { CpuArchitecture: 'ARM64', OperatingSystemFamily: 'LINUX' };
    prod.template('Relay').hasResourceProperties(task, { Cpu: '4096', Memory: '16384', RuntimePlatform: arm });
    dev.template('Relay').hasResourceProperties(task, { Cpu: '256', Memory: '1024', RuntimePlatform: arm });
    everything.template('Relay').hasResourceProperties(task, { RuntimePlatform: { CpuArchitecture: 'X86_64' } });
    expect(taskOf(prod.template('Relay')).environment.NODE_OPTIONS).toBe('--max-old-space-size=12288');
  });

  test("may read the parameters of its own stage and the items of its own region's table, write its spool, and nothing else", () => {
    const ssm = (region: string) =>
      ['', '/*'].map((rest) => arn('ssm', region, `parameter/edge-flag-relay/full/environments${rest}`));
    const read = ['dynamodb:BatchGetItem', 'dynamodb:GetItem', 'dynamodb:Query'];
    const write = ['dynamodb:DeleteItem', 'dynamodb:PutItem', 'dynamodb:UpdateItem'];
    const kms = full.relay!.encryptionKeys!['eu-west-1'];
    const spool = (region: string) => {
      const files = new RegExp(`^arn:aws:elasticfilesystem:${region}:123456789012:file-system/<RelayEventsSpool\\w+>$`);
      const actions = ['elasticfilesystem:ClientMount', 'elasticfilesystem:ClientWrite'];
      return ['elasticfilesystem', actions, [expect.stringMatching(files)]];
    };
    expect(statementsOf(everything.template('Relay'), 'TaskRole')).toEqual([
      spool('eu-west-1'),
      ['dynamodb', [...read, ...write].sort(), [arn('dynamodb', 'eu-west-1', 'table/flags')]],
      ['ssm', ['ssm:GetParameters', 'ssm:GetParametersByPath'], ssm('eu-west-1')],
      ['kms', ['kms:Decrypt'], [kms]],
    ]);
    expect(statementsOf(everything.template('Relay-us-west-2'), 'TaskRole')).toEqual([
      spool('us-west-2'),
      ['dynamodb', read, [arn('dynamodb', 'us-west-2', 'table/flags')]],
      ['ssm', ['ssm:GetParameters', 'ssm:GetParametersByPath'], ssm('us-west-2')],
    ]);
  });

  test('may read the replicas too if it asks any of them for heartbeats @heavy', () => {
    const table = oddStage('measured').template('Relay');
    const tables = statementsOf(table, 'TaskRole').filter(([service]) => service === 'dynamodb');
    const read = ['dynamodb:BatchGetItem', 'dynamodb:GetItem', 'dynamodb:Query'];
    const replicas = ['ap-northeast-1', 'us-west-2'].map((region) =>
      arn('dynamodb', region, 'table/edge-flag-relay-dev'),
    );
    expect(tables).toEqual([expect.anything(), ['dynamodb', read, replicas]]);
  });

  test('gets additional secrets from SSM at start, and may pull its image', () => {
    const template = everything.template('Relay');
    const [secret] = taskOf(template).container.Secrets;
    expect(secret).toMatchObject({ Name: 'AUTO_CONFIG_KEY' });
    expect(JSON.stringify(secret)).toContain('parameter/mine/auto-config-key');
    const granted = statementsOf(template, 'ExecutionRole');
    expect(granted.map(([service]) => service).sort()).toEqual(['ecr', 'ecr', 'kms', 'logs', 'ssm']);
    expect(JSON.stringify(granted)).toContain('repository/relay');
    expect(JSON.stringify(taskOf(template).container.Image)).toContain('relay:1.2.3');
  });

  test('has an image that is built at deployment for its platform, so that synthesis needs no Docker', () => {
    const images = (stage: Synthesised) =>
      stage.stacks.flatMap(({ artifactId }) => Object.values(stage.assets(artifactId).dockerImages ?? {}));
    expect(images(prod)).toMatchObject([{ source: { dockerFile: 'relay-task/Dockerfile', platform: 'linux/arm64' } }]);
    expect(images(everything)).toEqual([]);
  });
});

describe('the relay service', () => {
  test('runs at least three tasks in three zones, for twice the expected streams', () => {
    const least = (template: Template) =>
      propertiesOf(template, 'AWS::ApplicationAutoScaling::ScalableTarget')[0]?.MinCapacity;
    expect(relays().map(([, template]) => least(template))).toEqual([8, 8, 3, 3]);
    const subnets = (template: Template) =>
      Match.objectLike({
        NetworkConfiguration: {
          AwsvpcConfiguration: {
            Subnets: Array.from({ length: template === prod.template('Relay') ? 3 : 2 }, () => Match.anyValue()),
          },
        },
      });
    prod.template('Relay').hasResourceProperties('AWS::ECS::Service', subnets(prod.template('Relay')));
    const elsewhere = everything.template('Relay-us-west-2');
    elsewhere.hasResourceProperties('AWS::ECS::Service', subnets(elsewhere));
  });

  // aws/aws-cdk#3919: a deployment would stop the tasks that autoscaling has added.
  test('has the number of tasks that autoscaling gave it, whatever is deployed', () => {
    for (const [name, template] of relays()) {
      const [service] = propertiesOf(template, 'AWS::ECS::Service');
      expect([name, service]).not.toEqual([name, expect.objectContaining({ DesiredCount: expect.anything() })]);
    }
  });

  test('replaces tasks without stopping one before its successor is healthy, and rolls back if new ones do not become healthy', () => {
    for (const [name, template] of relays()) {
      const [service] = propertiesOf(template, 'AWS::ECS::Service') as unknown as [Service];
      const { MaximumPercent, MinimumHealthyPercent } = service.DeploymentConfiguration;
      expect([name, MaximumPercent]).toEqual([name, name === 'dev' ? 200 : 134]);
      expect(MinimumHealthyPercent).toBe(100);
      expect(service).toMatchObject({
        DeploymentConfiguration: { DeploymentCircuitBreaker: { Enable: true, Rollback: true } },
        AvailabilityZoneRebalancing: 'ENABLED',
        LaunchType: 'FARGATE',
      });
    }
  });

  test('is rolled back if ready relays answer many requests with 5xx, and never because nothing was asked yet', () => {
    for (const [name, template] of relays()) {
      const alarmName = `edge-flag-relay-${name.split(',')[0]}-deployment-5xx`;
      const alarms = template.findResources('AWS::CloudWatch::Alarm', { Properties: { AlarmName: alarmName } });
      const [[id, { Properties: alarm }]] = Object.entries(alarms) as [[string, { Properties: CfnAlarm }]];
      expect(alarm).toMatchObject({
        // The one that the stage sets.
        Threshold: name.startsWith('full') ? 20 : 10,
        ComparisonOperator: 'GreaterThanThreshold',
        TreatMissingData: 'notBreaching',
      });
      // It needs nothing of the service, which must be created after it.
      const [service] = Object.values(template.findResources('AWS::ECS::Service'));
      expect(service!.Properties.DeploymentConfiguration.Alarms).toEqual({
        AlarmNames: [alarmName],
        Enable: true,
        Rollback: true,
      });
      expect(service!.DependsOn).toContain(id);
      // A load balancer answers 503 by itself until the first tasks are ready.
      const asked = metricsOf(alarm).map(({ name }) => name);
      expect(new Set(asked)).toEqual(new Set(['HTTPCode_Target_5XX_Count', 'RequestCount']));
      expect(asked).toHaveLength(name === 'full' || name.startsWith('full,') ? 4 : 2);
      expect(alarm.Metrics?.[0]?.Expression).toMatch(/^IF\(\(FILL\(failed0, 0\).*\) >= 10, 100 \* .*, 0\)$/);
    }
  });

  test('gives a new task more time than the task gives LaunchDarkly', () => {
    const { config } = parseConfig(taskOf(prod.template('Relay')).environment);
    for (const [, template] of relays()) {
      const [service] = propertiesOf(template, 'AWS::ECS::Service') as unknown as [Service];
      expect(service.HealthCheckGracePeriodSeconds * 1000).toBeGreaterThan(config.initTimeoutMs);
    }
  });

  test('scales out by streams per task and by CPU, and scales in slowly', () => {
    const policies = propertiesOf(everything.template('Relay'), 'AWS::ApplicationAutoScaling::ScalingPolicy');
    const slow = { ScaleInCooldown: 900, ScaleOutCooldown: 60 };
    expect(policies.map((policy) => policy.TargetTrackingScalingPolicyConfiguration)).toEqual([
      {
        ...slow,
        TargetValue: 50,
        PredefinedMetricSpecification: { PredefinedMetricType: 'ECSServiceAverageCPUUtilization' },
      },
      {
        ...slow,
        TargetValue: 5_000,
        CustomizedMetricSpecification: expect.objectContaining({
          Namespace: 'EdgeFlagRelay/full',
          MetricName: 'StreamsOpen',
          Statistic: 'Average',
        }),
      },
    ]);
    // Each task reports it without dimensions, so the average is per task.
    const told = published.find(({ name }) => name === 'StreamsOpen');
    expect(told).toMatchObject({ from: 'streams_open', by: expect.arrayContaining([[]]) });
    everything.template('Relay').hasResourceProperties('AWS::ApplicationAutoScaling::ScalableTarget', {
      MinCapacity: 8,
      MaxCapacity: 32,
    });
  });

  test('replaces all tasks when the stage changes relay.redeploy', () => {
    everything.template('Relay').hasResourceProperties('AWS::ECS::Service', {
      ForceNewDeployment: { EnableForceNewDeployment: true, ForceNewDeploymentNonce: '2026-11-22' },
    });
  });

  test('gives tasks public addresses only without a NAT gateway, and accepts connections from load balancers only', () => {
    const assigned = (template: Template) =>
      (propertiesOf(template, 'AWS::ECS::Service') as unknown as [Service])[0].NetworkConfiguration.AwsvpcConfiguration
        .AssignPublicIp;
    expect(relays().map(([, template]) => assigned(template))).toEqual(['DISABLED', 'DISABLED', 'ENABLED', 'DISABLED']);
    for (const [, template] of relays()) {
      const open = propertiesOf(template, 'AWS::EC2::SecurityGroup').filter(
        ({ GroupDescription, SecurityGroupIngress }) =>
          /Service/.test(String(GroupDescription)) && SecurityGroupIngress,
      );
      expect(open).toEqual([]);
    }
  });
});

describe('a load balancer', () => {
  const internal = { Scheme: 'internal' };
  test('has an idle timeout longer than two heartbeats and shorter than the relay’s keep-alive', () => {
    for (const [, template] of relays()) {
      const { config } = parseConfig(asStarted(taskOf(template).environment));
      for (const one of propertiesOf(template, 'AWS::ElasticLoadBalancingV2::LoadBalancer')) {
        const idleMs = Number(attributesOf(one, 'LoadBalancerAttributes')['idle_timeout.timeout_seconds']) * 1000;
        expect(idleMs).toBeGreaterThan(2 * config.heartbeatIntervalMs);
        expect(idleMs).toBeLessThan(KEEP_ALIVE_SECONDS * 1000);
      }
    }
  });

  test('is internal by default, and accepts the addresses that the stage allows', () => {
    for (const stage of [dev, prod]) {
      const template = stage.template('Relay');
      template.resourceCountIs('AWS::ElasticLoadBalancingV2::LoadBalancer', 1);
      template.hasResourceProperties('AWS::ElasticLoadBalancingV2::LoadBalancer', internal);
    }
    const ingress = (template: Template) =>
      propertiesOf(template, 'AWS::EC2::SecurityGroup').flatMap(({ SecurityGroupIngress = [] }) =>
        (SecurityGroupIngress as { CidrIp: string; FromPort: number }[]).map(({ CidrIp, FromPort }) => [
          CidrIp,
          FromPort,
        ]),
      );
    expect(ingress(prod.template('Relay'))).toEqual([['10.0.0.0/16', 443]]);
    expect(ingress(dev.template('Relay'))).toEqual([['10.0.0.0/16', 80]]);
    expect(ingress(everything.template('Relay'))).toEqual([
      ['10.0.0.0/8', 443],
      ['0.0.0.0/0', 443],
    ]);
  });

  test('routes a new stream to the task with the fewest, and checks the readiness of tasks', () => {
    for (const [, template] of relays()) {
      for (const group of propertiesOf(template, 'AWS::ElasticLoadBalancingV2::TargetGroup')) {
        const attributes = attributesOf(group, 'TargetGroupAttributes');
        expect(attributes['load_balancing.algorithm.type']).toBe('least_outstanding_requests');
        // The two are mutually exclusive, which no validator checks.
        expect(attributes).not.toHaveProperty('slow_start.duration_seconds');
        expect(group).toMatchObject({ HealthCheckPath: '/readyz', Matcher: { HttpCode: '200' }, TargetType: 'ip' });
      }
    }
  });

  test('closes the streams of a stopping task after a minute or, with a gentle drain, waits for them to end', () => {
    const delays = (template: Template) =>
      propertiesOf(template, 'AWS::ElasticLoadBalancingV2::TargetGroup').map((group) =>
        Number(attributesOf(group, 'TargetGroupAttributes')['deregistration_delay.timeout_seconds']),
      );
    expect(delays(prod.template('Relay'))).toEqual([60]);
    expect(parseConfig(taskOf(prod.template('Relay')).environment).config.maxClientConnectionTimeMs).toBe(0);
    const gentle = parseConfig(asStarted(taskOf(everything.template('Relay-us-west-2')).environment)).config;
    expect(gentle.maxClientConnectionTimeMs).toBeGreaterThan(0);
    for (const delay of delays(everything.template('Relay-us-west-2'))) {
      expect(delay * 1000).toBeGreaterThan(gentle.maxClientConnectionTimeMs);
      expect(delay).toBeLessThanOrEqual(3600);
    }
  });

  test('uses TLS 1.2 or later with a certificate, and plain HTTP without one', () => {
    const https = { Port: 443, Protocol: 'HTTPS', SslPolicy: 'ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09' };
    prod.template('Relay').hasResourceProperties('AWS::ElasticLoadBalancingV2::Listener', https);
    dev
      .template('Relay')
      .hasResourceProperties('AWS::ElasticLoadBalancingV2::Listener', { Port: 80, Protocol: 'HTTP' });
  });

  test('writes access logs in production, and is protected from deletion and reserves capacity if configured', () => {
    const logging = (template: Template) =>
      attributesOf(propertiesOf(template, 'AWS::ElasticLoadBalancingV2::LoadBalancer')[0], 'LoadBalancerAttributes');
    expect(logging(prod.template('Relay'))).toMatchObject({ 'access_logs.s3.enabled': 'true' });
    expect(logging(everything.template('Relay'))).toMatchObject({ 'deletion_protection.enabled': 'true' });
    // An attribute that is left out keeps the value that it had in production.
    expect(logging(dev.template('Relay'))).toMatchObject({
      'access_logs.s3.enabled': 'false',
      'deletion_protection.enabled': 'false',
    });
    everything.template('Relay').allResourcesProperties('AWS::ElasticLoadBalancingV2::LoadBalancer', {
      MinimumLoadBalancerCapacity: { CapacityUnits: 100 },
    });
  });
});

test('load balancers and target groups have the same attributes in every stage, but for where access logs go: one that is left out keeps its value', () => {
  for (const [type, property] of [
    ['LoadBalancer', 'LoadBalancerAttributes'],
    ['TargetGroup', 'TargetGroupAttributes'],
  ] as const) {
    const sets = relays().flatMap(([, template]) =>
      propertiesOf(template, `AWS::ElasticLoadBalancingV2::${type}`).map((properties) =>
        Object.keys(attributesOf(properties, property))
          .filter((name) => !/^access_logs\.s3\.(bucket|prefix)$/.test(name))
          .sort(),
      ),
    );
    expect(new Set(sets.map((names) => names.join()))).toHaveProperty('size', 1);
    expect(sets[0]).not.toEqual([]);
  }
});

describe('the public load balancer', () => {
  interface Rule {
    Priority: number;
    Actions: { Type: string }[];
    Conditions: { Field: string; PathPatternConfig: { Values: string[] } }[];
  }
  /** As an ALB does: the first matching rule by priority; `*` matches any text, and case matters. */
  function actionFor(path: string): string {
    const template = everything.template('Relay');
    const rules = propertiesOf(template, 'AWS::ElasticLoadBalancingV2::ListenerRule') as unknown as Rule[];
    const matches = (pattern: string) =>
      new RegExp(
        `^${pattern
          .replace(/[.+^$()|[\]\\]/g, '\\$&')
          .replaceAll('*', '.*')
          .replaceAll('?', '.')}$`,
      ).test(path);
    const found = rules
      .sort((a, b) => a.Priority - b.Priority)
      .find(({ Conditions }) => Conditions[0]!.PathPatternConfig.Values.some(matches));
    return found?.Actions[0]?.Type ?? 'default';
  }

  test.each([
    '/meval/eyJrZXkiOiJhIn0',
    '/meval',
    '/mping',
    '/msdk/evalx/contexts/eyJrZXkiOiJhIn0',
    '/msdk/evalx/context',
    '/msdk/evalx/user',
    '/mobile',
    '/mobile/events',
    '/mobile/events/bulk',
    '/mobile/events/diagnostic',
    '/eval/64a0/eyJrZXkiOiJhIn0',
    '/eval/64a0',
    '/ping/64a0',
    '/sdk/evalx/64a0/contexts/eyJrZXkiOiJhIn0',
    '/sdk/evalx/64a0/context',
    '/sdk/evalx/64a0/users/eyJrZXkiOiJhIn0',
    '/sdk/goals/64a0',
    '/events/bulk/64a0',
    '/events/diagnostic/64a0',
    '/a/64a0.gif',
    '/sdk/poll/eval/eyJrZXkiOiJhIn0',
    '/sdk/stream/eval/eyJrZXkiOiJhIn0',
    '/ofrep/v1/evaluate/flags',
    '/ofrep/v1/evaluate/flags/x',
    '/ofrep/v1/events/64a0',
    '/ofrep/v1/configuration',
    '/own/path',
  ])('forwards %s', (path) => {
    expect(actionFor(path)).toBe('forward');
  });

  test.each([
    '/all',
    '/flags',
    '/bulk',
    '/diagnostic',
    '/sdk/latest-all',
    '/sdk/flags',
    '/sdk/flags/x',
    '/sdk/segments/x',
    '/sdk/poll',
    '/sdk/stream',
    '/sdk/evalx/contexts/eyJrZXkiOiJhIn0',
    '/sdk/evalx/users/eyJrZXkiOiJhIn0',
    '/sdk/evalx/context',
    '/sdk/evalx/user',
    '/status',
    '/status/production',
    '/readyz',
    '/livez',
    '/metrics',
    '/',
    '/SDK/latest-all',
  ])('does not forward %s', (path) => {
    expect(actionFor(path)).toMatch(/^(fixed-response|default)$/);
    everything.template('Relay').hasResourceProperties('AWS::ElasticLoadBalancingV2::Listener', {
      DefaultActions: [
        Match.objectLike({
          Type: 'fixed-response',
          FixedResponseConfig: { StatusCode: '404', ContentType: 'application/json', MessageBody: Match.anyValue() },
        }),
      ],
    });
  });

  test('has at most five patterns per rule, AWS’s limit', () => {
    const rules = propertiesOf(everything.template('Relay'), 'AWS::ElasticLoadBalancingV2::ListenerRule');
    expect(rules.length).toBeGreaterThan(3);
    for (const { Conditions } of rules as unknown as Rule[]) {
      expect(Conditions).toHaveLength(1);
      expect(Conditions[0]!.PathPatternConfig.Values.length).toBeLessThanOrEqual(5);
    }
  });

  test('has a web ACL that limits the rate per address and blocks known attacks, but not large contexts', () => {
    const template = everything.template('Relay');
    template.hasResourceProperties('AWS::WAFv2::WebACL', { Scope: 'REGIONAL', DefaultAction: { Allow: {} } });
    template.resourceCountIs('AWS::WAFv2::WebACLAssociation', 1);
    const [acl] = propertiesOf(template, 'AWS::WAFv2::WebACL') as unknown as [{ Rules: WafRule[] }];
    expect(
      acl.Rules.map(
        ({ Statement }) => Statement.ManagedRuleGroupStatement?.Name ?? Statement.RateBasedStatement?.Limit,
      ),
    ).toEqual([
      1_000,
      'AWSManagedRulesAmazonIpReputationList',
      'AWSManagedRulesKnownBadInputsRuleSet',
      'AWSManagedRulesCommonRuleSet',
    ]);
    // SDKs give up permanently after a 403, but retry after a 429.
    expect(acl.Rules[0]?.Action).toEqual({ Block: { CustomResponse: { ResponseCode: 429 } } });
    const counted = acl.Rules.flatMap(
      ({ Statement }) => Statement.ManagedRuleGroupStatement?.RuleActionOverrides ?? [],
    );
    const sizes = ['BODY', 'Cookie_HEADER', 'QUERYSTRING', 'URIPATH'].map((part) => ({
      Name: `SizeRestrictions_${part}`,
      ActionToUse: { Count: {} },
    }));
    expect(counted).toEqual(expect.arrayContaining(sizes));
  });
});

interface WafRule {
  Action?: unknown;
  Statement: {
    RateBasedStatement?: { Limit: number };
    ManagedRuleGroupStatement?: { Name: string; RuleActionOverrides?: unknown[] };
  };
}

describe('an additional store', () => {
  test('is a cache that only the relay can reach, over TLS', () => {
    const template = everything.template('Relay');
    template.hasResourceProperties('AWS::ElastiCache::ServerlessCache', { Engine: 'valkey' });
    const { container } = taskOf(template);
    const [url] = container.Environment.filter(({ Name }) => Name === 'REDIS_URL');
    expect(JSON.stringify(url)).toMatch(/rediss:\/\/.*Endpoint\.Address.*:6379/);
    expect(container.Environment).toEqual(
      expect.arrayContaining([
        { Name: 'USE_REDIS', Value: 'true' },
        { Name: 'REDIS_CLUSTER', Value: 'true' },
      ]),
    );
    const rules = propertiesOf(template, 'AWS::EC2::SecurityGroupIngress').filter(({ FromPort }) => FromPort === 6379);
    expect(rules).toHaveLength(1);
    expect(rules[0]).not.toHaveProperty('CidrIp');
  });

  test('is written by the relay in the home region only', () => {
    expect(taskOf(everything.template('Relay-us-west-2')).environment).not.toHaveProperty('USE_REDIS');
    everything.template('Relay-us-west-2').resourceCountIs('AWS::ElastiCache::ServerlessCache', 0);
  });

  test('can be an existing Redis @heavy', () => {
    const { environment } = taskOf(oddStage('plain').template('Relay'));
    expect(environment).toMatchObject({ USE_REDIS: 'true', REDIS_URL: 'rediss://cache.example.com:6380' });
    expect(parseConfig(environment).warnings).toEqual([]);
  });
});

describe('the RelayService construct', () => {
  const flagTable = FlagTable.fromExisting('flags', { homeRegion: 'eu-west-1', replicaRegions: [] });
  const build = (props: object) => () => {
    const stack = new Stack(createApp(), 'Mine', { env: { region: 'eu-west-1' } });
    const vpc = Vpc.fromVpcAttributes(stack, 'Vpc', {
      vpcId: 'vpc-1',
      availabilityZones: ['eu-west-1a'],
      privateSubnetIds: ['subnet-1'],
    });
    return new RelayService(stack, 'Relay', { stage: 'mine', flagTable, vpc, allowedCidrs: [], ...props });
  };

  test.each([
    [
      { cpu: 256, memoryMiB: 4096 },
      'Mine/Relay: memoryMiB=4096 is invalid: expected 512, 1024, 2048 with a CPU of 256',
    ],
    [
      { heartbeat: Duration.minutes(3) },
      'Mine/Relay/Internal: idleTimeoutSeconds=120 is invalid: expected more than two heartbeats of 180 s',
    ],
  ])('refuses %j', (props, message) => {
    expect(build(props as object)).toThrow(message);
  });

  test('requires no property that has a default @heavy', () => {
    expect(build({})().public).toBeUndefined();
  });
});

interface Service {
  HealthCheckGracePeriodSeconds: number;
  DeploymentConfiguration: { MaximumPercent: number; MinimumHealthyPercent: number };
  NetworkConfiguration: { AwsvpcConfiguration: { AssignPublicIp: string } };
}

function arn(service: string, region: string, resource: string): unknown {
  return `arn:<Partition>:${service}:${region}:<AccountId>:${resource}`;
}

/** What a role is granted: service, actions and resources, with references as `<name>`. */
function statementsOf(template: Template, role: string): [string, string[], unknown[]][] {
  const policies = Object.entries(template.findResources('AWS::IAM::Policy')).filter(([id]) => id.includes(role));
  expect(policies).toHaveLength(1);
  const asList = (value: unknown): unknown[] => (Array.isArray(value) ? value : [value]);
  return policies[0]![1].Properties.PolicyDocument.Statement.map(
    ({ Action, Resource, Effect }: { Action: unknown; Resource: unknown; Effect: string }) => {
      expect(Effect).toBe('Allow');
      const actions = asList(Action) as string[];
      return [actions[0]!.split(':')[0], actions, asList(Resource).map(flat)];
    },
  );
}

function flat(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  const [[name, content]] = Object.entries(value) as [[string, unknown]];
  if (name === 'Ref') return `<${String(content).replace('AWS::', '')}>`;
  if (name === 'Fn::Join') return (content as [string, unknown[]])[1].map(flat).join('');
  return JSON.stringify(value);
}
