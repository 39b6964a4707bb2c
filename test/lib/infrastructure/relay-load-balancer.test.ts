/** The relay's load balancers, in a stage with every feature and in the two stages that we ship. */
import { Match, type Template } from 'aws-cdk-lib/assertions';
import { KEEP_ALIVE_SECONDS } from '../../../lib/infrastructure/relay-contract.ts';
import { parseConfig } from '../../../relay-task/config/config.ts';
import { attributesOf, propertiesOf, taskOf, withRedisOf } from '../../support/relay-task.ts';
import { full, type Synthesised, shipped, synthesise } from '../../support/synthesise.ts';

let everything: Synthesised;
let dev: Synthesised;
let prod: Synthesised;
beforeAll(() => {
  everything = synthesise('full', full);
  dev = synthesise('dev', shipped.dev);
  prod = synthesise('prod', shipped.prod);
});

const relays = (): [string, Template][] => [
  ['full', everything.template('Relay')],
  ['full, us-west-2', everything.template('Relay-us-west-2')],
  ['dev', dev.template('Relay')],
  ['prod', prod.template('Relay')],
];
describe('a load balancer', () => {
  const internal = { Scheme: 'internal' };
  test('has an idle timeout longer than two heartbeats and shorter than the relay’s keep-alive', () => {
    for (const [, template] of relays()) {
      const { config } = parseConfig(withRedisOf(taskOf(template).environment));
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
    const gentle = parseConfig(taskOf(everything.template('Relay-us-west-2')).environment).config;
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

  test('writes access logs and is protected from deletion in production, and reserves capacity if configured', () => {
    const logging = (template: Template) =>
      attributesOf(propertiesOf(template, 'AWS::ElasticLoadBalancingV2::LoadBalancer')[0], 'LoadBalancerAttributes');
    expect(logging(prod.template('Relay'))).toMatchObject({
      'access_logs.s3.enabled': 'true',
      'deletion_protection.enabled': 'true',
    });
    expect(logging(dev.template('Relay'))).toMatchObject({ 'deletion_protection.enabled': 'false' });
    everything.template('Relay').allResourcesProperties('AWS::ElasticLoadBalancingV2::LoadBalancer', {
      MinimumLoadBalancerCapacity: { CapacityUnits: 100 },
    });
  });
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
