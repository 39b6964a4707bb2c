import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { buildEdge, bundleEdge } from '../../../lib/infrastructure/edge-bundle.ts';
import { itemsOf, putOfficial, putSnapshot } from '../../lambda/edge-reader/table-writer.ts';
import { requestEvent } from '../../lambda/edge-router/events.ts';
import { startTable, type TestTable } from '../../support/dynalite.ts';
import { evaluateAll, exampleEnvironment } from '../../support/example-environment.ts';
import { decideSource } from '../../support/run-as-lambda.ts';

const directory = mkdtempSync(join(tmpdir(), 'edge-bundle-'));
let table: TestTable;
let reader: {
  tableName: string;
  prefix: string;
  endpoint: string;
  replicas: { default: string[] };
  coldDeadlineMs: number;
};

beforeAll(async () => {
  table = await startTable();
  await putSnapshot(table, 'snap', itemsOf(exampleEnvironment()), { epoch: 1, seq: 1 });
  await putOfficial(table, 'official', itemsOf(exampleEnvironment()));
  const { tableName, endpoint } = table;
  reader = { tableName, endpoint, prefix: 'snap', replicas: { default: ['eu-west-1'] }, coldDeadlineMs: 10_000 };
});
afterAll(async () => {
  await table.close();
  rmSync(directory, { recursive: true });
});

/** Runs a script against a bundle as Lambda would: with its memory and reserved variables, outside of our directory. */
async function runBundle(file: string, script: string, input: unknown = null): Promise<unknown> {
  const code = `const bundle = require(${JSON.stringify(file)}); const input = ${JSON.stringify(input)};
    (async () => { ${script} })().then((result) => console.log(JSON.stringify(result)));`;
  const { stdout, stderr } = await promisify(execFile)(
    process.execPath,
    ['--max-old-space-size=115', '--max-semi-space-size=7', '-e', code],
    {
      cwd: tmpdir(),
      env: { AWS_REGION: 'eu-west-1', AWS_ACCESS_KEY_ID: 'a', AWS_SECRET_ACCESS_KEY: 'b', AWS_SESSION_TOKEN: 'c' },
      timeout: 170_000,
    },
  );
  expect(stderr).toBe('');
  return JSON.parse(stdout);
}

test.each(['snap', 'official'])(
  'the built reader gives the evaluator’s answers from the %s layout, and prints nothing',
  async (prefix) => {
    const file = buildEdge({
      entry: 'reader',
      config: { ...reader, prefix },
      outdir: join(directory, prefix),
      target: 'node20',
    });
    const expected = [...evaluateAll(exampleEnvironment(), 'fallback')];
    const questions = expected.map(([question]) => JSON.parse(question));
    const answers = await runBundle(
      file,
      `const answers = [];
     for (const [flag, context] of input) answers.push(await bundle.reader.variationDetail(flag, context, 'fallback'));
     return answers;`,
      questions,
    );
    expect(answers).toEqual(JSON.parse(JSON.stringify(expected.map(([, detail]) => detail))));
  },
);

test('the bundled router selects the variant that the flag gives', async () => {
  const { file } = await bundleEdge({
    entry: 'viewer-request',
    config: { reader, flagKey: 'canary-checkout', variants: ['stable', 'canary'], defaultVariant: 'stable' },
    outdir: join(directory, 'viewer-request'),
    target: 'node20',
  });
  const answer = await runBundle(
    file,
    `${decideSource} return [await decide(bundle.handler, input), await bundle.status()];`,
    requestEvent('viewer-request'),
  );
  const [request, status] = answer as [{ headers: Record<string, { value: string }[]> }, unknown];
  expect(request.headers['x-flag-decision']![0]!.value).toMatch(
    /^canary-checkout=(stable|canary); reason=(FALLTHROUGH|RULE_MATCH)$/,
  );
  expect(status).toMatchObject({ state: 'ready', source: 'snapshot' });
});

test('the bundle contains no code of AWS or LaunchDarkly, and its zip is reproducible', async () => {
  const [first, second] = [
    await bundleEdge({ entry: 'reader', config: reader, outdir: join(directory, 'one') }),
    await bundleEdge({ entry: 'reader', config: reader, outdir: join(directory, 'two') }),
  ];
  const [one, two] = [first, second].map(({ file }) => readFileSync(file));
  expect(createHash('sha256').update(one!).digest()).toEqual(createHash('sha256').update(two!).digest());
  expect({ ...first, file: '' }).toEqual({ ...second, file: '' });
  expect(one!.length).toBe(first.minifiedBytes);
  const code = one!.toString();
  expect(/smithy|launchdarkly|\bfetch\(/i.exec(code)).toBeNull();
  const modules = [...code.matchAll(/require\("([^"]+)"\)/g)].map(([, name]) => name);
  expect([...new Set(modules)].sort()).toEqual(['node:crypto', 'node:http', 'node:https', 'node:zlib']);
});

test('a config that is invalid or contains tokens is rejected before anything is built', () => {
  const outdir = join(directory, 'refused');
  const build = (config: object) => () => buildEdge({ entry: 'reader', config: config as never, outdir });
  // A CDK token as a string.
  expect(build({ ...reader, tableName: `\${Token[TOKEN.12]}` })).toThrow(/\$\{Token\[TOKEN\.12\]\}.*the value itself/);
  expect(build({ ...reader, tableName: { 'Fn::GetAtt': ['Table', 'Name'] } })).toThrow(/Fn::GetAtt/);
  expect(build({ ...reader, refreshMs: Number.NaN })).toThrow(/plain JSON/);
  expect(build({ ...reader, prefix: () => '' })).toThrow(/plain JSON/);
  expect(build({ ...reader, refreshMs: 0 })).toThrow(/refreshMs/);
});
