/** The examples of functions and of a CDK app, as files that people copy: each runs on a table that a relay filled. */
import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type Command, commands, type ExampleName } from '../../examples/run/commands.ts';
import { type Local, startLocal } from '../../examples/run/local.ts';
import { eventually } from '../support/eventually.ts';
import { closeAfterEach } from '../support/opened.ts';

const root = join(import.meta.dirname, '../..');
const { behind } = closeAfterEach();
const run = promisify(execFile);
let local: Local;

beforeAll(async () => {
  local = await startLocal();
});
afterAll(() => local?.close());

/**
 * Runs an example as `examples/run.ts` does; returns the lines that it printed, as JSON. On a busy machine it has to be asked again, since its first
 * read may take longer than a call waits for it.
 */
async function call(name: ExampleName, env: Readonly<Record<string, string>> = {}) {
  const { program, args }: Command = commands[name];
  const { stdout } = await run(program, args, { cwd: root, env: { ...process.env, ...local.env, ...env } });
  return stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
}

const target = { version: 'canary', reason: 'TARGET_MATCH' };

test.each(['lambda', 'lambda-layer', 'lambda-openfeature'] as const)(
  '%s answers with the variation of the flag’s target, and with its fallback under another prefix @heavy',
  async (name) => {
    await eventually(async () => expect(await call(name)).toEqual([target]));
    expect(await call(name, { FLAG_PREFIX: 'lokal' })).toEqual([{ version: 'stable', reason: 'ERROR' }]);
  },
);

test('lambda-reported writes its exposures, without private attributes, and its metrics @heavy', async () => {
  const lines = await eventually(async () => {
    const written = await call('lambda-reported');
    expect(written).toContainEqual({ version: 'canary' });
    return written;
  });
  const { events } = lines.find((line) => line.edgeFlagExposures === 1);
  expect(JSON.stringify(events)).not.toContain('tester@example.com');
  const counters = [expect.objectContaining({ value: 'canary', count: 1 })];
  expect(events).toContainEqual(
    expect.objectContaining({
      kind: 'summary',
      features: { 'canary-checkout': expect.objectContaining({ counters }) },
    }),
  );
  expect(lines).toContainEqual(
    expect.objectContaining({ _aws: expect.anything(), 'canary-checkout=canary': 1, Fallbacks: 0 }),
  );
});

test('lambda-edge sends the viewer of the flag’s target to the canary’s path @heavy', async () => {
  const request = expect.objectContaining({ uri: '/canary/checkout' });
  await eventually(async () => expect(await call('lambda-edge')).toEqual([request]));
});

test('the command of docs/edge.md calls the function with the event that it names @heavy', async () => {
  const page = readFileSync(join(root, 'docs/edge.md'), 'utf8');
  const [, command = ''] = /^```sh\n(npx tsx examples\/run\/invoke\.ts .*)\n```$/m.exec(page) ?? [];
  const asked = command.replace('"alice"', '"tester"');
  expect(asked).not.toBe(command);
  await eventually(async () => {
    const { stdout } = await run('bash', ['-c', asked], { cwd: root, env: { ...process.env, ...local.env } });
    expect(JSON.parse(stdout)).toEqual(target);
  });
});

test('the CDK app has a table with a replica, a relay that writes it, and a function that may read one environment @heavy', async () => {
  const outdir = mkdtempSync(join(tmpdir(), 'example-cdk-'));
  behind(() => rmSync(outdir, { recursive: true }));
  // What the CDK's command line does with `--app`.
  const app = ['--import', 'tsx', 'examples/cdk/app.ts'];
  await run(process.execPath, app, { cwd: root, env: { ...process.env, CDK_OUTDIR: outdir } });
  const { Resources } = JSON.parse(readFileSync(join(outdir, 'Flags.template.json'), 'utf8'));
  const all = Object.values(Resources) as { Type: string; Properties: Record<string, unknown> }[];
  const ofType = (type: string) => all.filter(({ Type }) => Type === type).map(({ Properties }) => Properties);
  expect(ofType('AWS::DynamoDB::GlobalTable')).toEqual([
    expect.objectContaining({
      TableName: 'flags',
      Replicas: [expect.objectContaining({ Region: 'us-east-1' }), expect.objectContaining({ Region: 'eu-west-1' })],
    }),
  ]);
  expect(ofType('AWS::ECS::Service')).toHaveLength(1);
  const tasks = JSON.stringify(ofType('AWS::ECS::TaskDefinition'));
  expect(tasks).toContain('{"Name":"DYNAMODB_TABLE","Value":"flags"}');
  expect(tasks).toContain('{"Name":"STORE_WRITER","Value":"auto"}');
  const shop = ofType('AWS::Lambda::Function').map(({ Environment }) => Environment);
  expect(shop).toContainEqual({ Variables: expect.objectContaining({ FLAG_PREFIX: 'production' }) });
  expect(JSON.stringify(ofType('AWS::IAM::Policy'))).toContain('"dynamodb:LeadingKeys":["production:*"]');
});

test('the examples import this project by its package’s name only', () => {
  const files = readdirSync(join(root, 'examples'), { recursive: true, encoding: 'utf8' }).filter(
    (path) => /\.([cm]?js|ts)$/.test(path) && !path.startsWith('run'),
  );
  expect(files.length).toBeGreaterThan(10);
  const found = files.flatMap((path) =>
    [...readFileSync(join(root, 'examples', path), 'utf8').matchAll(/\bfrom '(\.\.[^']*)'/g)].map(
      ([, target]) => `${path} imports ${target}`,
    ),
  );
  expect(found).toEqual([]);
});
