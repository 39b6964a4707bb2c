/** The edge stack: its template, and its functions in the synthesised assembly. */
import { join } from 'node:path';
import { Duration, Stack } from 'aws-cdk-lib';
import type { Template } from 'aws-cdk-lib/assertions';
import { LayerVersion } from 'aws-cdk-lib/aws-lambda';
import { parseReaderConfig } from '../../../lambda/edge-reader/config.ts';
import type { CustomOrigin } from '../../../lambda/edge-router/config.ts';
import { EdgeFlagFunction } from '../../../lib/infrastructure/edge-flag-function.ts';
import { describeEdgeProblems, type EdgeEventType } from '../../../lib/infrastructure/edge-restrictions.ts';
import { FlagTable } from '../../../lib/infrastructure/flag-table.ts';
import { EDGE_EXECUTION_REGIONS } from '../../../lib/infrastructure/regions.ts';
import { itemsOf, putSnapshot } from '../../lambda/edge-reader/table-writer.ts';
import { requestEvent, responseEvent } from '../../lambda/edge-router/events.ts';
import { startTable, type TestTable } from '../../support/dynalite.ts';
import { exampleEnvironment } from '../../support/example-environment.ts';
import { decideSource, runAsLambda } from '../../support/run-as-lambda.ts';
import { createApp, type Synthesised, shipped } from '../../support/synthesise.ts';
import { made } from './whole-stages.ts';

let everything: Synthesised;
let prod: Synthesised;
beforeAll(() => {
  everything = made.full;
  prod = made.prod;
});

interface Resource {
  readonly Properties: Record<string, unknown>;
}
interface Association {
  readonly EventType: EdgeEventType;
  /** The parameter of an ARN in SSM. */
  readonly LambdaFunctionARN: { readonly Ref: string };
}
const distributionOf = (template: Template) =>
  Object.values(template.findResources('AWS::CloudFront::Distribution'))[0]!.Properties.DistributionConfig;
const associationsOf = (template: Template): Association[] =>
  distributionOf(template).DefaultCacheBehavior.LambdaFunctionAssociations;

/** The function of an association, whose ARN in SSM must be that of a numbered version. */
function functionOf(stage: Synthesised, { LambdaFunctionARN }: Association): Resource {
  const functions = stage.template('EdgeFunctions');
  const { Default } = stage.template('Edge').toJSON().Parameters[LambdaFunctionARN.Ref];
  const [parameter] = Object.values(functions.findResources('AWS::SSM::Parameter', { Properties: { Name: Default } }));
  const version = functions.findResources('AWS::Lambda::Version')[parameter!.Properties.Value.Ref];
  expect(version).toBeDefined();
  return functions.findResources('AWS::Lambda::Function')[version!.Properties.FunctionName.Ref] as Resource;
}

describe('the edge stack', () => {
  test('has three functions that CloudFront accepts', () => {
    for (const stage of [everything, prod]) {
      const template = stage.template('Edge');
      const region = stage.stage.edge!.region;
      const associations = associationsOf(template);
      expect(associations.map(({ EventType }) => EventType)).toEqual([
        'viewer-request',
        'origin-request',
        'viewer-response',
      ]);
      for (const association of associations) {
        const { Properties } = functionOf(stage, association);
        expect(describeEdgeProblems(Properties, { eventType: association.EventType, region })).toEqual([]);
        expect(Properties).toMatchObject({ Runtime: 'nodejs24.x', Architectures: ['x86_64'] });
      }
    }
  });

  test('has roles that Lambda and Lambda@Edge may assume and that may read one environment in every replica', () => {
    const template = everything.template('EdgeFunctions');
    const roles = Object.entries(template.findResources('AWS::IAM::Role')).filter(([id]) => id.startsWith('Router'));
    expect(roles).toHaveLength(3);
    for (const [, { Properties }] of roles) {
      expect(Properties.AssumeRolePolicyDocument.Statement[0].Principal.Service).toEqual([
        'edgelambda.amazonaws.com',
        'lambda.amazonaws.com',
      ]);
    }
    const reads = Object.values(template.findResources('AWS::IAM::Policy')).flatMap(({ Properties }) =>
      (Properties.PolicyDocument.Statement as { Action: string[]; Condition: unknown }[]).filter(({ Action }) =>
        Action[0]!.startsWith('dynamodb:'),
      ),
    );
    expect(reads).toHaveLength(1);
    expect(reads[0]!.Action).toEqual(['dynamodb:BatchGetItem', 'dynamodb:GetItem', 'dynamodb:Query']);
    expect(reads[0]!.Condition).toEqual({ 'ForAllValues:StringLike': { 'dynamodb:LeadingKeys': ['production:*'] } });
    const tables = [...JSON.stringify(reads).matchAll(/:dynamodb:([a-z\d-]+):.*?:table\/([\w.-]+)/g)].map(
      ([, ...found]) => found,
    );
    expect(tables.sort()).toEqual(
      ['ap-northeast-1', 'eu-west-1', 'us-east-1', 'us-west-2'].map((region) => [region, 'flags']),
    );
  });

  test('caches by variant, credentials and cookies but its own, and sends everything but Host to origins', () => {
    everything.template('Edge').hasResourceProperties('AWS::CloudFront::CachePolicy', {
      CachePolicyConfig: {
        ParametersInCacheKeyAndForwardedToOrigin: {
          HeadersConfig: { HeaderBehavior: 'whitelist', Headers: ['x-flag-variant', 'authorization'] },
          CookiesConfig: { CookieBehavior: 'allExcept', Cookies: ['shop-viewer'] },
        },
      },
    });
    // Managed-AllViewerExceptHostHeader.
    const { OriginRequestPolicyId } = distributionOf(everything.template('Edge')).DefaultCacheBehavior;
    expect(OriginRequestPolicyId).toBe('b689b0a8-53d0-40ab-baf2-68738e2966ac');
  });

  test('uses https with viewers (TLS 1.2 or later) and origins, and its own domain names if it has a certificate', () => {
    const config = distributionOf(everything.template('Edge'));
    expect(config).toMatchObject({
      Aliases: ['www.example.com'],
      ViewerCertificate: { MinimumProtocolVersion: 'TLSv1.2_2021' },
      DefaultCacheBehavior: { ViewerProtocolPolicy: 'redirect-to-https' },
      Origins: expect.arrayContaining([
        expect.objectContaining({
          DomainName: 'old.example.com',
          OriginPath: '/v1',
          CustomOriginConfig: expect.objectContaining({ OriginProtocolPolicy: 'https-only' }),
        }),
      ]),
    });
  });
});

describe('the edge functions in the assembly', () => {
  let table: TestTable;
  beforeAll(async () => {
    table = await startTable({ tableName: prod.stage.config.tableName });
    await putSnapshot(table, 'production', itemsOf(exampleEnvironment()), { epoch: 1, seq: 1 });
  });
  afterAll(() => table.close());

  const fileOf = (stage: Synthesised, eventType: EdgeEventType): string => {
    const association = associationsOf(stage.template('Edge')).find(({ EventType }) => EventType === eventType)!;
    const { Properties } = functionOf(stage, association);
    const { S3Key } = Properties.Code as { S3Key: string };
    const functions = stage.stacks.find(({ node }) => node.id === 'EdgeFunctions')!;
    const { files } = stage.assets(functions.artifactId);
    return join(
      stage.outdir,
      `assembly-${stage.stage.node.id}`,
      files[S3Key.replace('.zip', '')]!.source.path,
      'index.cjs',
    );
  };
  /** Redirects the function's calls to DynamoDB to the table in this process, and records their hosts. */
  const intercept = () => `
    const http = require('node:http'), https = require('node:https');
    https.request = (url, options) => { const to = new URL(${JSON.stringify(table.endpoint)}); asked.push(url.host);
      return http.request(to, { ...options, agent: undefined, headers: { ...options.headers, host: url.host } }); };
    const asked = [];`;

  // The events are those of the CloudFront Developer Guide, "Lambda@Edge event structure": see events.ts.
  test('set the variant, its origin and the cookie for the events that AWS documents @heavy', async () => {
    const [decided, asked] = (await runAsLambda(
      fileOf(prod, 'viewer-request'),
      `${intercept()} ${decideSource} return [await decide(require(file).handler, input), asked];`,
      requestEvent('viewer-request'),
      { AWS_REGION: 'us-west-2' },
    )) as [Request, string[]];
    const variant = decided.headers['x-flag-variant']![0]!.value;
    expect(decided.headers['x-flag-decision']![0]!.value).toMatch(
      /^canary-checkout=(stable|canary); reason=(FALLTHROUGH|RULE_MATCH)$/,
    );
    // Oregon has no replica; Virginia is the nearest.
    expect(new Set(asked)).toEqual(new Set(['dynamodb.us-east-1.amazonaws.com']));

    const mapped = (await runAsLambda(
      fileOf(prod, 'origin-request'),
      'return require(file).handler(input)',
      requestEvent('origin-request', { 'x-flag-variant': variant }),
    )) as Request;
    const { domainName } = shipped.prod.edge!.origins[variant] as CustomOrigin;
    expect(mapped.origin.custom.domainName).toBe(domainName);
    expect(mapped.headers.host).toEqual([{ key: 'host', value: domainName }]);

    const viewer = decided.headers['x-flag-viewer']![0]!.value;
    const answered = (await runAsLambda(
      fileOf(prod, 'viewer-response'),
      'return require(file).handler(input)',
      responseEvent({ 'x-flag-new-viewer': viewer }),
    )) as Request;
    expect(answered.headers['set-cookie']![0]!.value).toContain(`flag-viewer=${viewer}; Path=/;`);
  });

  test('identify viewers and set the cookie as the stage says @heavy', async () => {
    const first = requestEvent('viewer-request', { Cookie: 'consent=yes' });
    const [decided] = (await runAsLambda(
      fileOf(everything, 'viewer-request'),
      `${intercept()} return [await require(file).handler(input)];`,
      first,
      { AWS_REGION: 'us-east-1' },
    )) as [Request];
    // The table of this stage does not answer, so nothing is stored.
    expect(decided.headers['x-flag-decision']![0]!.value).toContain('reason=ERROR');
    const answered = (await runAsLambda(
      fileOf(everything, 'viewer-response'),
      'return require(file).handler(input)',
      responseEvent({ 'x-flag-new-viewer': '6d2f7f3e-3f0a-4b0c-9a51-0d1f1d0c7a11' }),
    )) as Request;
    expect(answered.headers['set-cookie']![0]!.value).toBe(
      'shop-viewer=2.6d2f7f3e-3f0a-4b0c-9a51-0d1f1d0c7a11; Path=/; Max-Age=34560000; Domain=example.com; Secure; SameSite=Strict',
    );
    const code = (await runAsLambda(
      fileOf(everything, 'viewer-request'),
      'return require("node:fs").readFileSync(file, "utf8")',
    )) as string;
    for (const part of ['x-user-id', 'without:"address"', 'cookie:"consent"', 'epoch:"2"'])
      expect(code).toContain(part);
  });

  test('contain a list of replicas for each region in which they run, and no token', async () => {
    const configs = (await runAsLambda(
      fileOf(everything, 'viewer-request'),
      'return require("node:fs").readFileSync(file, "utf8")',
    )) as string;
    expect(configs).not.toMatch(/\$\{Token|Fn::|"Ref"/);
    const lists = /replicas:(\{.*?\})/.exec(configs)![1]!.replace(/([{,])"?([\w-]+)"?:/g, '$1"$2":');
    const replicas = JSON.parse(lists);
    expect(Object.keys(replicas).sort()).toEqual([...EDGE_EXECUTION_REGIONS, 'default'].sort());
    expect(() => parseReaderConfig({ tableName: 'flags', replicas })).not.toThrow();
    expect(replicas['us-west-1'][0]).toBe('us-west-2');
  });
});

describe('a custom edge function', () => {
  const flagTable = FlagTable.fromExisting('flags', { homeRegion: 'eu-west-1', replicaRegions: ['us-east-1'] });
  const code = { router: 'viewer-response', config: {} } as const;
  const stackIn = (region?: string) => new Stack(createApp(), 'Mine', region ? { env: { region } } : {});

  test.each([
    ['us-east-1', { memorySize: 256 }, 'edge function Mine/Fn has 256 MB at viewer-response: at most 128'],
    ['us-east-1', { timeout: Duration.seconds(60) }, 'edge function Mine/Fn has a timeout of 60 s: at most 30'],
    ['eu-west-1', {}, 'edge function Mine/Fn is in eu-west-1: edge functions must be created in us-east-1'],
    [undefined, {}, 'an edge function needs a stack with a region: give Mine an env.region'],
  ])('in %s with %j is rejected by its constructor', (region, props, message) => {
    expect(() => new EdgeFlagFunction(stackIn(region), 'Fn', { code, functionName: 'mine', ...props })).toThrow(
      message,
    );
  });

  test.each<[string, (one: EdgeFlagFunction, stack: Stack) => void, string]>([
    [
      'a layer',
      ({ function: fn }, stack) =>
        fn.addLayers(LayerVersion.fromLayerVersionArn(stack, 'L', 'arn:aws:lambda:us-east-1:1:layer:x:1')),
      'has layers',
    ],
    [
      'tracing',
      ({ function: fn }) =>
        (fn.node.defaultChild as unknown as { addPropertyOverride(a: string, b: string): void }).addPropertyOverride(
          'TracingConfig.Mode',
          'Active',
        ),
      'is traced by X-Ray',
    ],
  ])('to which %s is added later fails synthesis', (_, change, message) => {
    const stack = stackIn('us-east-1');
    change(new EdgeFlagFunction(stack, 'Fn', { code, functionName: 'mine' }), stack);
    expect(() => (stack.node.root as ReturnType<typeof createApp>).synth()).toThrow(`edge function Mine/Fn ${message}`);
  });

  test('is bundled with its own configuration @heavy', async () => {
    const stack = stackIn('us-east-1');
    const entryFile = join(import.meta.dirname, '../../fixtures/infrastructure/own-edge.ts');
    new EdgeFlagFunction(stack, 'Fn', {
      code: { entryFile, eventType: 'origin-response', config: { greeting: 'hello from the edge' } },
      functionName: 'mine',
      flagTable,
      prefix: 'production',
    });
    const app = stack.node.root as ReturnType<typeof createApp>;
    const assembly = app.synth();
    const template = assembly.getStackArtifact(stack.artifactId).template;
    const fn = Object.values(
      template.Resources as Record<string, { Type: string; Properties: { Code: { S3Key: string } } }>,
    ).find(({ Type }) => Type === 'AWS::Lambda::Function')!;
    const file = join(app.outdir, `asset.${fn.Properties.Code.S3Key.replace('.zip', '')}`, 'index.cjs');
    expect(await runAsLambda(file, 'return require(file).handler(input)', {})).toBe('hello from the edge');
  });
});

interface Request {
  readonly headers: Record<string, { readonly key: string; readonly value: string }[]>;
  readonly origin: { readonly custom: { readonly domainName: string } };
}
