/** The router for a distribution that exists already: in the console, in Terraform, in another CDK app. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { App, DefaultStackSynthesizer, NestedStack, Stack, Tags, Validations } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { Certificate } from 'aws-cdk-lib/aws-certificatemanager';
import { Distribution } from 'aws-cdk-lib/aws-cloudfront';
import { HttpOrigin } from 'aws-cdk-lib/aws-cloudfront-origins';
import { RetentionDays } from 'aws-cdk-lib/aws-logs';
import { Bucket } from 'aws-cdk-lib/aws-s3';
import { Topic } from 'aws-cdk-lib/aws-sns';
import { AwsSolutionsChecks } from 'cdk-nag';
import { edgeProblems } from '../../../lib/infrastructure/check-edge.ts';
import { EdgeFunctionsStack } from '../../../lib/infrastructure/edge-functions-stack.ts';
import { type EdgeParameter, edgeParameterName, PublishedRouter } from '../../../lib/infrastructure/edge-parameters.ts';
import { EdgeRouter, type EdgeRouterProps } from '../../../lib/infrastructure/edge-router.ts';
import { EdgeStack } from '../../../lib/infrastructure/edge-stack.ts';
import { FlagTable } from '../../../lib/infrastructure/flag-table.ts';
import type { EdgeSettings } from '../../../lib/infrastructure/stage-settings.ts';
import { createApp } from '../../support/synthesise.ts';

const account = '123456789012';
const env = { account, region: 'us-east-1' };
const flagTable = FlagTable.fromExisting('flags', {
  homeRegion: 'eu-west-1',
  replicaRegions: ['us-east-1', 'ap-south-1'],
});
const edge: EdgeSettings = {
  prefix: 'production',
  flagKey: 'new-site',
  origins: { old: { domainName: 'old.example.com' }, new: { domainName: 'new.example.com' } },
  defaultVariant: 'old',
};
const kinds = ['viewer-request', 'origin-request', 'viewer-response'];

function resources(template: Template, type: string) {
  return Object.entries(template.findResources(type)).map(([id, one]) => ({
    id,
    ...one.Properties,
    policy: one.DeletionPolicy,
  }));
}

describe('a stage on an existing distribution', () => {
  const attached = { env, stage: 'shop', edge: { ...edge, distributionId: 'EDFDVBD6EXAMPLE' } };
  const template = Template.fromStack(new EdgeFunctionsStack(createApp(), 'Functions', { ...attached, flagTable }));

  test('creates no distribution, and keeps the versions that the existing one uses', () => {
    const stack = new EdgeStack(createApp(), 'Edge', attached);
    Template.fromStack(stack).resourceCountIs('AWS::CloudFront::Distribution', 0);
    expect(stack.distributionId).toBe('EDFDVBD6EXAMPLE');
    const versions = Object.values(template.findResources('AWS::Lambda::Version'));
    expect(versions.map(({ UpdateReplacePolicy }) => UpdateReplacePolicy)).toEqual(['Retain', 'Retain', 'Retain']);
    expect(versions.map(({ DeletionPolicy }) => DeletionPolicy)).toEqual(Array(3).fill('RetainExceptOnCreate'));
  });

  test('has the ARNs of the functions, with their versions, and the policies in its outputs and in SSM', () => {
    const versions = resources(template, 'AWS::Lambda::Version').map(({ id }) => id);
    const parameters = resources(template, 'AWS::SSM::Parameter');
    const names = parameters.map(({ Name }) => Name);
    expect(names).toEqual([
      ...kinds.map((kind) => `/edge-flag-relay/shop/edge/${kind}-arn`),
      '/edge-flag-relay/shop/edge/cache-policy-id',
      '/edge-flag-relay/shop/edge/origin-request-policy-id',
    ]);
    for (const { Type, Value } of parameters.slice(0, 3)) {
      expect(Type).toBe('String');
      expect(versions).toContain(Value.Ref);
    }
    expect(new Set(parameters.slice(0, 3).map(({ Value }) => Value.Ref)).size).toBe(3);
    const { Outputs } = template.toJSON();
    expect(Object.keys(Outputs)).toEqual([
      'ViewerRequestArn',
      'OriginRequestArn',
      'ViewerResponseArn',
      'CachePolicyId',
      'OriginRequestPolicyId',
    ]);
    expect(Object.values(Outputs).map((one) => (one as { Value: unknown }).Value)).toEqual(
      parameters.map(({ Value }) => Value),
    );
  });

  test.each(['behaviors', 'domainNames', 'certificateArn', 'priceClass', 'webAclArn', 'defaultRootObject'])(
    'may not have %s, which belong to the distribution',
    (name) => {
      const value = name === 'defaultRootObject' ? 'index.html' : name.endsWith('s') ? [] : 'x';
      const wrong = { ...edge, distributionId: 'EDFDVBD6EXAMPLE', [name]: value };
      expect(edgeProblems(wrong).map(({ message }) => message)).toEqual([
        `${name}: has no effect with distributionId: set it where that distribution is defined`,
      ]);
    },
  );

  test('is refused with a value that is not a distribution ID', () => {
    const said = edgeProblems({ ...edge, distributionId: 'd111111abcdef8.cloudfront.net' });
    expect(said.map(({ message }) => message)).toEqual([expect.stringContaining('expected the ID of a distribution')]);
  });

  test('is checked at an address, not at a path', () => {
    const attached = { ...edge, distributionId: 'EDFDVBD6EXAMPLE' };
    expect(edgeProblems({ ...attached, check: 'https://shop.example.com/' })).toEqual([]);
    expect(edgeProblems({ ...attached, check: '/health' }).map(({ message }) => message)).toEqual([
      'check="/health" is invalid: expected an https address of the site, since distributionId gives none',
    ]);
  });
});

describe('a router in another CDK app', () => {
  const imports = new Stack(createApp(), 'Imports');
  const imported = (stack: Stack) =>
    Distribution.fromDistributionAttributes(stack, 'Mine', {
      distributionId: 'EDFDVBD6EXAMPLE',
      domainName: 'd111111abcdef8.cloudfront.net',
    });

  function appWith(props: Partial<EdgeRouterProps> = {}, app = createApp()) {
    const stack = new Stack(app, 'Site', { env });
    const router = new EdgeRouter(stack, 'Router', { stage: 'shop', flagTable, edge, ...props });
    return { app, stack, router };
  }

  test('gives its logs a retention, and each region where its functions run a topic and alarms @heavy', () => {
    const chat = `arn:aws:sns:ap-south-1:${account}:chat`;
    const topics = [Topic.fromTopicArn(imports, 'Chat', chat)];
    const monitoring = { logRetention: RetentionDays.ONE_MONTH, emails: ['team@example.com'], topics };
    const { stack, router } = appWith({ monitoring: { ...monitoring, thresholds: { 'edge-errors': 3 } } });
    const regions = router.monitoring!.regions;
    expect([...regions.keys()]).toEqual(['eu-west-1', 'us-east-1', 'ap-south-1']);
    for (const [region, one] of regions) {
      expect([one.region, one.account, one.stackName]).toEqual([region, account, `Site-shop-edge-${region}`]);
      const template = Template.fromStack(one);
      const retention = resources(template, 'Custom::EdgeLogGroups').map(({ LogGroupNames, RetentionInDays }) => [
        LogGroupNames,
        RetentionInDays,
      ]);
      const names = kinds.map((kind) => `/aws/lambda/us-east-1.edge-flag-relay-shop-${kind}`);
      expect([region, retention]).toEqual([region, region === 'us-east-1' ? [[names, 30]] : []]);
      expect(resources(template, 'AWS::CloudWatch::Alarm').map(({ AlarmName }) => AlarmName)).toEqual(
        [...kinds.map((kind) => `edge-errors-edge-flag-relay-shop-${kind}`), 'edge-fallbacks', 'edge-old-data'].map(
          (name) => `edge-flag-relay-shop-${region}-${name}`,
        ),
      );
      template.hasResourceProperties('AWS::SNS::Subscription', { Endpoint: 'team@example.com' });
      const existing = region === 'ap-south-1' ? [chat] : [];
      template.hasResourceProperties('AWS::CloudWatch::Alarm', {
        AlarmName: `edge-flag-relay-shop-${region}-edge-errors-edge-flag-relay-shop-viewer-request`,
        Threshold: 3,
        AlarmActions: [{ Ref: Match.stringLikeRegexp('^Alarms') }, ...existing],
        AlarmDescription: Match.stringLikeRegexp('region=us-east-1#dashboards/dashboard/edge-flag-relay-shop-edge$'),
      });
      template.hasResourceProperties('AWS::CloudWatch::CompositeAlarm', {
        AlarmName: `edge-flag-relay-shop-${region}-edge-impaired`,
        AlarmActions: [{ Ref: Match.stringLikeRegexp('^Pages') }, ...existing],
      });
      expect(stack.dependencies).toContain(one);
    }
  });

  test('has a dashboard and, once it knows the distribution, alarms on it @heavy', () => {
    const { stack, router } = appWith();
    const certificateArn = 'arn:aws:acm:us-east-1:123456789012:certificate/12345678-1234-1234-1234-123456789012';
    router.monitoring!.watch(imported(stack), {
      certificate: Certificate.fromCertificateArn(stack, 'Own', certificateArn),
    });
    const template = Template.fromStack(stack);
    const [dashboard] = resources(template, 'AWS::CloudWatch::Dashboard');
    expect(dashboard!.DashboardName).toBe('edge-flag-relay-shop-edge');
    const body = JSON.stringify(dashboard!.DashboardBody);
    for (const part of [
      'us-east-1.edge-flag-relay-shop-viewer-request',
      'ap-south-1',
      'EDFDVBD6EXAMPLE',
      '5xxErrorRate',
    ])
      expect(body).toContain(part);
    template.hasResourceProperties('AWS::CloudWatch::Alarm', {
      AlarmName: 'edge-flag-relay-shop-edge-distribution-5xx',
      AlarmActions: ['arn:aws:sns:us-east-1:123456789012:edge-flag-relay-shop-alarms'],
    });
    template.hasResourceProperties('AWS::CloudWatch::Alarm', {
      AlarmName: 'edge-flag-relay-shop-edge-certificate-expiry',
    });
  });

  test('names its policies so that two routers of an account have different ones @heavy', () => {
    const named = (id: string, props: Partial<EdgeRouterProps> = {}) => {
      const stack = new Stack(createApp(), id, { env });
      const router = new EdgeRouter(stack, 'Router', {
        ...{ stage: id.toLowerCase(), flagTable, edge, monitoring: false },
        ...props,
      });
      new Distribution(stack, 'Distribution', {
        defaultBehavior: { origin: new HttpOrigin('a.example.com'), ...router.behavior() },
        additionalBehaviors: {
          '/page/*': { origin: new HttpOrigin('a.example.com'), ...router.behavior({ cacheKey: { cookies: ['a'] } }) },
        },
      });
      const policies = resources(Template.fromStack(stack), 'AWS::CloudFront::CachePolicy');
      return policies.map(({ CachePolicyConfig: { Name } }) => String(Name));
    };
    const names = [...named('Shop'), ...named('Blog')];
    // The stage's own behavior has the policy whose ID is in SSM.
    expect(names).toHaveLength(4);
    expect(new Set(names).size).toBe(4);
    // AWS: "CachePolicyConfig", Name.
    expect(names.filter((name) => !/^(Shop|Blog)[\w-]{1,124}$/.test(name))).toEqual([]);
    expect(named('News', { policyName: 'mine' })).toEqual(['mine', expect.stringMatching(/^mine_[\da-f]{8}$/)]);
  });

  test('comes to keep its functions by a deployment of its own, for which their deletion policies are not enough @heavy', () => {
    const policies = ['DeletionPolicy', 'UpdateReplacePolicy'];
    const functions = (retain: boolean) => {
      const { stack } = appWith({ monitoring: false, retain });
      const found = Template.fromStack(stack).findResources('AWS::Lambda::Function');
      return JSON.stringify(found, (name, value) => (policies.includes(name) ? undefined : value));
    };
    expect(functions(true)).not.toBe(functions(false));
  });

  test('is watched in stacks with the tags and the bootstrap qualifier of its own', () => {
    const app = createApp();
    const stack = new Stack(app, 'Site', { env, synthesizer: new DefaultStackSynthesizer({ qualifier: 'team' }) });
    const router = new EdgeRouter(stack, 'Router', { stage: 'shop', flagTable, edge });
    Tags.of(stack).add('cost-centre', '42');
    for (const one of router.monitoring!.regions.values()) {
      expect(one.synthesizer.bootstrapQualifier).toBe('team');
      Template.fromStack(one).hasResourceProperties('AWS::SNS::Topic', {
        Tags: [{ Key: 'cost-centre', Value: '42' }],
      });
    }
  });

  test('may be one of several, and in a nested stack @heavy', () => {
    const stack = new Stack(createApp(), 'Site', { env });
    const of = (scope: Stack, stage: string) => new EdgeRouter(scope, stage, { stage, flagTable, edge });
    const routers = [of(stack, 'shop'), of(new NestedStack(stack, 'Part'), 'blog')];
    expect(
      routers.flatMap(({ monitoring }) => [...monitoring!.regions.values()].map(({ stackName }) => stackName)),
    ).toEqual(
      ['shop', 'blog'].flatMap((stage) =>
        ['eu-west-1', 'us-east-1', 'ap-south-1'].map((region) => `Site-${stage}-edge-${region}`),
      ),
    );
    expect(stack.dependencies).toEqual(routers.flatMap(({ monitoring }) => [...monitoring!.regions.values()]));
  });

  test('notifies topics of other stacks of its app, in their regions @heavy', () => {
    const app = createApp();
    const told = new Topic(new Stack(app, 'Topics', { env }), 'Chat');
    const { router } = appWith({ monitoring: { topics: [told] } }, app);
    const actions = (region: string) =>
      resources(Template.fromStack(router.monitoring!.regions.get(region)!), 'AWS::CloudWatch::Alarm').map(
        ({ AlarmActions }) => AlarmActions.length,
      );
    expect(new Set(actions('us-east-1'))).toEqual(new Set([2]));
    expect(new Set(actions('eu-west-1'))).toEqual(new Set([1]));
    const stack = new Stack(createApp(), 'Site', { env });
    const monitoring = { topics: [new Topic(stack, 'Chat')] };
    expect(() => new EdgeRouter(stack, 'Router', { stage: 'shop', flagTable, edge, monitoring })).toThrow(
      'Site/Chat cannot be a topic of Site/Router/Monitoring: stack Site is deployed after the alarms, so make the topic in another stack',
    );
  });

  test('watches several distributions by name @heavy', () => {
    const { stack, router } = appWith();
    const { monitoring } = router;
    const other = Distribution.fromDistributionAttributes(stack, 'Other', {
      ...{ distributionId: 'E2', domainName: 'd2.cloudfront.net' },
    });
    monitoring!.watch(imported(stack));
    expect(() => monitoring!.watch(other)).toThrow(
      'Site/Router/Monitoring: name is missing: Site/Mine is watched already, so give Site/Other a name for its alarms',
    );
    monitoring!.watch(other, { name: 'blog' });
    const template = Template.fromStack(stack);
    expect(resources(template, 'AWS::CloudWatch::Alarm').map(({ AlarmName }) => AlarmName)).toEqual([
      'edge-flag-relay-shop-edge-distribution-5xx',
      'edge-flag-relay-shop-edge-distribution-5xx-blog',
    ]);
  });

  test('keeps no logs for ever: that is no retention @heavy', () => {
    expect(() => appWith({ monitoring: { logRetention: RetentionDays.INFINITE } })).toThrow(
      'Site/Router/Monitoring: logRetention is invalid: expected a number of days, such as RetentionDays.TEN_YEARS',
    );
  });

  test('takes no settings of a distribution, which would have no effect', () => {
    const site: EdgeRouterProps['edge'] = edge;
    expect(site).not.toHaveProperty('domainNames');
    // @ts-expect-error: the compiler refuses it.
    const named: EdgeRouterProps['edge'] = { ...edge, domainNames: ['www.example.com'] };
    expect(named).toHaveProperty('domainNames');
  });

  test('can leave monitoring to its app @heavy', () => {
    const { app, stack } = appWith({ monitoring: false });
    expect(app.node.children.filter(Stack.isStack)).toEqual([stack]);
    Template.fromStack(stack).resourceCountIs('AWS::CloudWatch::Dashboard', 0);
  });

  test('creates nothing that cdk-nag reports @heavy', () => {
    const app = createApp();
    Validations.of(app).addPlugins(new AwsSolutionsChecks(app));
    const { stack, router } = appWith({ monitoring: { regions: ['us-east-1'], emails: ['team@example.com'] } }, app);
    router.monitoring!.watch(imported(stack));
    // Shows that it looks.
    new Bucket(stack, 'Stray');
    const quiet = jest.spyOn(console, 'error').mockImplementation(() => {});
    expect(() => app.synth()).toThrow();
    quiet.mockRestore();
    const report: { pluginReports: { violations?: { ruleName: string; violatingConstructs?: object[] }[] }[] } =
      JSON.parse(readFileSync(join(app.outdir, 'validation-report.json'), 'utf8'));
    const findings = report.pluginReports.flatMap(({ violations = [] }) =>
      violations.map((one) => JSON.stringify(one)),
    );
    expect(findings.filter((finding) => finding.includes('Stray')).length).toBeGreaterThan(0);
    expect(findings.filter((finding) => !finding.includes('Stray'))).toEqual([]);
  });
});

describe('a distribution in another app', () => {
  const behaviorOf = (stack: Stack) => {
    const { behavior } = new PublishedRouter(stack, 'Router', { stage: 'prod' });
    new Distribution(stack, 'Distribution', {
      defaultBehavior: { origin: new HttpOrigin('a.example.com'), ...behavior },
    });
    const template = Template.fromStack(stack).toJSON();
    const one = Object.values(
      template.Resources as Record<string, { Type: string; Properties: { DistributionConfig: object } }>,
    );
    return {
      template,
      config: one.find(({ Type }) => Type === 'AWS::CloudFront::Distribution')!.Properties.DistributionConfig,
    };
  };

  test('gets functions and policies from SSM when it is deployed', () => {
    const { template, config } = behaviorOf(new Stack(createApp(), 'Site', { env }));
    const names: Record<string, EdgeParameter> = Object.fromEntries(
      Object.entries(template.Parameters as Record<string, { Type: string; Default: string }>)
        .filter(([, { Type }]) => Type === 'AWS::SSM::Parameter::Value<String>')
        .map(([id, { Default }]) => [id, Default]),
    ) as never;
    const named = (reference: { Ref: string }) => names[reference.Ref];
    const behavior = (config as { DefaultCacheBehavior: Record<string, never> }).DefaultCacheBehavior;
    const associations: { EventType: string; LambdaFunctionARN: { Ref: string } }[] =
      behavior.LambdaFunctionAssociations!;
    expect(associations.map(({ EventType, LambdaFunctionARN }) => [EventType, named(LambdaFunctionARN)])).toEqual(
      kinds.map((kind) => [kind, edgeParameterName('prod', `${kind}-arn` as EdgeParameter)]),
    );
    expect(named(behavior.CachePolicyId!)).toBe('/edge-flag-relay/prod/edge/cache-policy-id');
    expect(named(behavior.OriginRequestPolicyId!)).toBe('/edge-flag-relay/prod/edge/origin-request-policy-id');
  });

  test('must be in us-east-1, where the parameters are', () => {
    const elsewhere = (region?: string) => new Stack(new App(), 'Site', region ? { env: { account, region } } : {});
    expect(() => behaviorOf(elsewhere('eu-west-1'))).toThrow(
      "Site/Router is in eu-west-1: the router's parameters are in us-east-1",
    );
    expect(() => behaviorOf(elsewhere())).toThrow('a published router needs a stack with a region');
  });
});
