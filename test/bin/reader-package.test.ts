/** The reader as a package, from the command to a TypeScript project that uses it. */
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { buildSync } from 'esbuild';
import { runReaderPackage } from '../../bin/reader-package/run.ts';

const root = join(import.meta.dirname, '../..');
let project: string;
let installed: string;

/** Each must fail with one error that says this. */
const WRONG = [
  [
    'a misspelt option',
    "createReader({ tableName: 'flags', replicas: { default: [] }, prefx: 'p' });",
    "'prefx' does not exist",
  ],
  [
    'a misspelt hook',
    "createReader({ tableName: 'flags', replicas: { default: [] } }, { onDecided() {} });",
    'onDecided',
  ],
  ['a context without a key', "createOfflineReader({}).variation('a', { kind: 'user' }, 1);", "'key' is missing"],
  ['a fallback of another type', "createOfflineReader({}).boolVariation('a', { key: 'b' }, 'no');", "type 'boolean'"],
] as const;
const SDK = join(root, 'node_modules/@launchdarkly/js-sdk-common/dist/cjs/api/context/LDContext.js');
const RIGHT = `
  import { createOpenFeatureProvider } from 'edge-flag-reader/open-feature';
  import { createChain } from 'edge-flag-reader/chain';
  import { createOfflineReader, type EvaluationContext, type Reader } from 'edge-flag-reader';
  import type { LDContext } from '${SDK}';
  export const same = (context: LDContext): EvaluationContext => context;
  const reader: Reader = createOfflineReader({ flagValues: { checkout: 'new', limit: 3 } });
  const context: EvaluationContext = { kind: 'user', key: 'alice', plan: 'gold' };
  const variant: string = await reader.stringVariation('checkout', context, 'old');
  const limit: number = await reader.variation('limit', context, 1);
  const json: unknown = await reader.jsonVariation('limit', context, {});
  const { value } = await createOpenFeatureProvider(reader).resolveStringEvaluation('checkout', 'old', { targetingKey: 'alice' }, console);
  const chain = createChain({ reader, keys: [{ id: 'a', secret: 'x'.repeat(32) }] });
  const call = chain.join({}, context);
  await call.variation('checkout', context, 'old');
  const { received } = chain.join(call.headers(), context).chained();
  console.log(JSON.stringify([variant, limit, json, value, reader.status().source, received]));`;

const node = async (...args: string[]) => (await promisify(execFile)(process.execPath, args, { cwd: project })).stdout;

beforeAll(() => {
  project = mkdtempSync(join(tmpdir(), 'reader-package-'));
  installed = join(project, 'node_modules/edge-flag-reader');
  expect(runReaderPackage([installed])).toContain(`npm install ${installed}`);
});
afterAll(() => rmSync(project, { recursive: true, force: true }));

test('a project without our sources compiles against its types, and only what is right @heavy', async () => {
  writeFileSync(join(project, 'right.mts'), RIGHT);
  for (const [index, [, line]] of WRONG.entries()) {
    const text = `import { createOfflineReader, createReader } from 'edge-flag-reader';\n${line}`;
    writeFileSync(join(project, `wrong-${index}.mts`), text);
  }
  const files = ['right.mts', ...WRONG.map((_, index) => `wrong-${index}.mts`)];
  const options = [
    '--ignoreConfig',
    '--noEmit',
    '--strict',
    '--module',
    'nodenext',
    '--target',
    'es2023',
    '--skipLibCheck',
  ];
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  const { stdout } = await promisify(execFile)(process.execPath, [tsc, ...options, ...files], { cwd: project }).then(
    () => ({ stdout: '' }),
    (failed: { stdout: string }) => failed,
  );
  const errors = stdout.split('\n').filter((line) => line.includes(': error TS'));
  expect(errors).toEqual(WRONG.map((_, index) => expect.stringContaining(`wrong-${index}.mts`)));
  for (const [index, [name, , said]] of WRONG.entries()) {
    const all = stdout.slice(stdout.indexOf(`wrong-${index}.mts`)).split(/\n(?=wrong-)/)[0];
    expect([name, all]).toEqual([name, expect.stringContaining(said)]);
  }
});

test('its code runs for import and for require @heavy', async () => {
  const plain = RIGHT.replace(/^.*LDContext.*$/gm, '')
    .replace(/, type \w+/g, '')
    .replace(/: (Reader|EvaluationContext|string|number|unknown) =/g, ' =');
  writeFileSync(join(project, 'run.mjs'), plain);
  expect(await node('run.mjs')).toBe('["new",3,3,"new","held","used"]\n');
  writeFileSync(
    join(project, 'run.cjs'),
    "console.log(typeof require('edge-flag-reader').createReader, typeof require('edge-flag-reader/open-feature'))",
  );
  expect(await node('run.cjs')).toBe('function object\n');
});

test('a bundle has only what it imports', () => {
  const bundle = (code: string) => {
    const stdin = { contents: code, resolveDir: project };
    const options = { bundle: true, minify: true, write: false, platform: 'node', format: 'cjs' } as const;
    return buildSync({ stdin, ...options }).outputFiles[0]!.text;
  };
  const parts = { overrides: 'flagValues', hooks: 'onDecision', changes: 'segmentMatch"/', chains: 'edge-flags' };
  const partsOf = (code: string) =>
    Object.entries(parts).flatMap(([name, mark]) => (bundle(code).includes(mark) ? name : []));
  const alone = `import { parseReaderConfig, startReader } from 'edge-flag-reader';
    export const reader = startReader(parseReaderConfig({}));`;
  const whole = "import { createReader } from 'edge-flag-reader'; export const reader = createReader({});";
  const chain = "import { createChain } from 'edge-flag-reader/chain'; export const chain = createChain({});";
  expect(partsOf(alone)).toEqual([]);
  expect(partsOf(whole)).toEqual(['overrides', 'hooks', 'changes']);
  expect(partsOf(whole + chain)).toEqual(['overrides', 'hooks', 'changes', 'chains']);
});

test('it has a version, and is built again over itself @heavy', () => {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  expect(JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8'))).toMatchObject({
    name: 'edge-flag-reader',
    version,
    types: './types/lambda/edge-reader/index.d.ts',
  });
  expect(runReaderPackage([installed])).toContain(installed);
});

test.each([[[]], [['a', 'b']], [['--out', 'a']]])('the arguments %j are answered with the usage', (args) => {
  expect(() => runReaderPackage(args)).toThrow('npm run reader-package -- <directory>');
});

test('a directory that holds something else is left alone', () => {
  expect(() => runReaderPackage([project])).toThrow(`${project} holds something else; name another directory`);
});
