import { join } from 'node:path';
import { Template } from 'aws-cdk-lib/assertions';
import { itemsOf, putSnapshot } from '../../lambda/edge-reader/table-writer.ts';
import { startTable } from '../../support/dynalite.ts';
import { evaluateAll, exampleEnvironment } from '../../support/example-environment.ts';
import { runAsLambda } from '../../support/run-as-lambda.ts';
import { full, type Synthesised, shipped, synthesise } from '../../support/synthesise.ts';

let everything: Synthesised;
beforeAll(() => {
  everything = synthesise('full', full);
}, 120_000);

const regions = ['eu-west-1', 'us-east-1', 'ap-northeast-1', 'us-west-2'];

test('every region with a replica has the reader as a layer, for both architectures, under a name in SSM', () => {
  for (const region of regions) {
    const template = everything.template(`Region-${region}`);
    template.hasResource('AWS::Lambda::LayerVersion', {
      // Functions that were deployed with an old version have to find it.
      DeletionPolicy: 'Retain',
      Properties: {
        CompatibleArchitectures: ['arm64', 'x86_64'],
        CompatibleRuntimes: ['nodejs22.x', 'nodejs24.x'],
      },
    });
    template.hasResourceProperties('AWS::SSM::Parameter', {
      Name: '/edge-flag-relay/full/reader-layer-arn',
      Type: 'String',
    });
  }
});

test('edge functions find a log group with a retention in each region, under the name that they log to', () => {
  for (const region of regions) {
    const groups = Object.values(everything.template(`Region-${region}`).findResources('AWS::Logs::LogGroup'));
    expect(groups.map(({ Properties }) => [Properties.LogGroupName, Properties.RetentionInDays])).toEqual(
      ['viewer-request', 'origin-request', 'viewer-response'].map((kind) => [
        `/aws/lambda/us-east-1.edge-flag-relay-full-${kind}`,
        90,
      ]),
    );
  }
});

test('alarms of each region have a topic there that CloudWatch may publish to, and home has one that wakes somebody', () => {
  for (const region of regions) {
    const template = everything.template(`Region-${region}`);
    const topics = Object.values(template.findResources('AWS::SNS::Topic')).map(
      ({ Properties }) => Properties.TopicName,
    );
    const pages = region === 'eu-west-1' ? ['edge-flag-relay-full-pages'] : [];
    expect(topics).toEqual(['edge-flag-relay-full-alarms', ...pages]);
    template.hasResourceProperties('AWS::SNS::Subscription', { Protocol: 'email', Endpoint: 'team@example.com' });
    for (const { Properties } of Object.values(template.findResources('AWS::SNS::TopicPolicy'))) {
      const allowed = Properties.PolicyDocument.Statement.find(({ Effect }: { Effect: string }) => Effect === 'Allow');
      expect(allowed).toMatchObject({
        Action: 'sns:Publish',
        Principal: { Service: ['cloudwatch.amazonaws.com', 'events.amazonaws.com'] },
        Condition: { StringEquals: { 'aws:SourceAccount': '123456789012' } },
      });
    }
  }
  everything
    .template('Region-eu-west-1')
    .hasResourceProperties('AWS::SNS::Subscription', { Endpoint: 'oncall@example.com' });
});

test('a stage without an edge keeps no edge logs, and one without layers has none', () => {
  const bare = synthesise('bare', { ...shipped.dev, edge: undefined, readerLayer: false });
  expect([...bare.stage.regions.keys()]).toEqual(['eu-west-1']);
  const template = bare.template('Region-eu-west-1');
  template.resourceCountIs('AWS::Logs::LogGroup', 0);
  template.resourceCountIs('AWS::Lambda::LayerVersion', 0);
});

describe('the layer in the assembly', () => {
  const layerDirectory = () => {
    const stack = everything.stage.regions.get('eu-west-1')!;
    const [layer] = Object.values(Template.fromStack(stack).findResources('AWS::Lambda::LayerVersion'));
    const { files } = everything.assets(stack.artifactId);
    const path = files[layer!.Properties.Content.S3Key.replace('.zip', '')]!.source.path;
    return join(everything.outdir, 'assembly-full', path, 'nodejs/node_modules');
  };
  const asking = (load: string) => `
    const { createReader } = ${load};
    const reader = createReader(input.config);
    const answers = [];
    for (const [flag, context] of input.questions) answers.push(await reader.variationDetail(flag, context, 'fallback'));
    return answers;`;

  // Lambda finds layers by NODE_PATH for require, and its runtime resolves imports from the same folder.
  test.each([
    ['require', `require('edge-flag-reader')`],
    [
      'import',
      'await import(require("node:url").pathToFileURL(process.env.NODE_PATH + "/edge-flag-reader/index.mjs").href)',
    ],
  ])('answers a handler that got it by %s as LaunchDarkly’s SDK would', async (_, load) => {
    const table = await startTable();
    try {
      await putSnapshot(table, 'production', itemsOf(exampleEnvironment()), { epoch: 1, seq: 1 });
      const expected = [...evaluateAll(exampleEnvironment(), 'fallback')];
      const { tableName, endpoint } = table;
      const config = {
        tableName,
        endpoint,
        prefix: 'production',
        replicas: { default: ['eu-west-1'] },
        coldDeadlineMs: 10_000,
      };
      const input = { config, questions: expected.map(([question]) => JSON.parse(question)) };
      const answers = await runAsLambda('', asking(load), input, { NODE_PATH: layerDirectory() });
      expect(answers).toEqual(JSON.parse(JSON.stringify(expected.map(([, detail]) => detail))));
    } finally {
      await table.close();
    }
  });

  test('says to importers and to requirers which file is theirs', async () => {
    const script = `const p = require(process.env.NODE_PATH + '/edge-flag-reader/package.json'); return p.exports['.'];`;
    expect(await runAsLambda('', script, null, { NODE_PATH: layerDirectory() })).toEqual({
      import: './index.mjs',
      require: './index.cjs',
    });
  });
});
