import { execFile } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { deflateRawSync } from 'node:zlib';
import type { HeldFlags } from '../../../lambda/edge-reader/index.ts';
import { bootstrapOf } from '../../../lambda/edge-router/bootstrap.ts';
import { buildEdge, buildOwnEdge } from '../../../lib/infrastructure/edge-bundle.ts';
import { bundleEdge } from '../../../lib/infrastructure/edge-size.ts';
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
async function runBundle(file: string, script: string, input: unknown = null, printed?: string[]): Promise<unknown> {
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
  const lines = stdout.trimEnd().split('\n');
  const result = JSON.parse(lines.pop() ?? '');
  if (printed) printed.push(...lines);
  else expect(lines).toEqual([]);
  return result;
}

test.each(['snap', 'official'])(
  'the built reader gives the evaluator’s answers from the %s layout, and prints nothing @heavy',
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

test('code for Big Segments is in a bundle unless its configuration switches them off, and then they are NOT_CONFIGURED @heavy', async () => {
  const flag = { key: 'big', version: 1, on: true, salt: '', variations: [0, 1], fallthrough: { variation: 0 } };
  const clauses = [{ op: 'segmentMatch', values: ['all'] }];
  const segment = { key: 'all', version: 1, salt: '', unbounded: true, generation: 1 };
  const environment = { flags: { big: { ...flag, rules: [{ variation: 1, clauses }] } }, segments: { all: segment } };
  await putSnapshot(table, 'big', itemsOf(environment), { epoch: 1, seq: 1 });
  const router = { flagKey: 'big', variants: ['stable'], defaultVariant: 'stable' };
  const build = (name: string, bigSegments: boolean, entryFile?: string) => {
    const outdir = join(directory, `big-${name}`);
    const config = { ...reader, prefix: 'big', bigSegments };
    if (entryFile) return buildOwnEdge({ entryFile, config, outdir });
    return name.startsWith('router')
      ? buildEdge({ entry: 'viewer-request', config: { ...router, reader: config }, outdir })
      : buildEdge({ entry: 'reader', config, outdir });
  };
  const own = join(import.meta.dirname, '../../../lambda/edge-reader/reader.entry.ts');
  const bundles = {
    with: build('with', true),
    without: build('without', false),
    routerWith: build('routerWith', true),
    routerWithout: build('routerWithout', false),
    // Its configuration may mean anything.
    own: build('own', false, own),
  };
  const has = Object.entries(bundles).filter(([, file]) => readFileSync(file, 'utf8').includes('big_segments_user'));
  expect(has.map(([name]) => name)).toEqual(['with', 'routerWith', 'own']);

  const ask = `return (await bundle.reader.variationDetail('big', { kind: 'user', key: 'alice' }, null)).reason`;
  const reason = (bigSegmentsStatus: string) => ({ kind: 'FALLTHROUGH', bigSegmentsStatus });
  // No metadata: nobody has ever filled them.
  expect(await runBundle(bundles.with, ask)).toEqual(reason('STALE'));
  expect(await runBundle(bundles.without, ask)).toEqual(reason('NOT_CONFIGURED'));
});

test('the bundled router selects the variant that the flag gives @heavy', async () => {
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

describe('a router with a bootstrap', () => {
  const unreachable = { ...reader, ...{ tableName: 'flags', replicas: { default: ['eu-west-1'] } } };
  const config = {
    reader: { ...unreachable, endpoint: 'http://127.0.0.1:1' },
    ...{
      flagKey: 'canary-checkout',
      variants: ['stable', 'canary'],
      defaultVariant: 'stable',
      metricsNamespace: 'Edge',
    },
  };
  const build = (name: string, bootstrap?: HeldFlags) =>
    buildEdge({
      entry: 'viewer-request',
      config: { ...config, ...(bootstrap && { bootstrap }) },
      outdir: join(directory, name),
      target: 'node20',
    });

  test('decides from it while the table cannot be read, and says so @heavy', async () => {
    const file = build('bootstrap', bootstrapOf(exampleEnvironment(), ['canary-checkout']));
    const script = `return (await bundle.handler(input)).headers['x-flag-decision'][0].value;`;
    const printed: string[] = [];
    const decision = await runBundle(file, script, requestEvent('viewer-request'), printed);
    const [state, metrics] = printed.map((line) => JSON.parse(line));
    expect(decision).toMatch(/^canary-checkout=(stable|canary); reason=\w+; source=bootstrap$/);
    const message = 'Flags cannot be read; callers are answered from the bootstrap';
    expect(state).toMatchObject({
      level: 'ERROR',
      state: 'unreachable',
      message,
      reason: expect.stringContaining('REFUSED'),
    });
    expect(metrics).toMatchObject({ Fallbacks: 1, fallbacks: { BOOTSTRAP: 1 } });
    expect(Object.keys(metrics!)).toContainEqual(expect.stringMatching(/^canary-checkout=(stable|canary)$/));
  });

  test('carries its code and the flags only then, and of the flags only what its own depend on @heavy', () => {
    const [without, withIt] = [
      build('without'),
      build('with', bootstrapOf(exampleEnvironment(), ['canary-checkout'])),
    ].map((file) => readFileSync(file, 'utf8'));
    expect(without).not.toContain('flagValues');
    expect(withIt).toContain('flagValues');
    const flag = (more: object) => ({ key: 'any', on: true, variations: [1], ...more });
    const matches = (segment: string) => ({ rules: [{ clauses: [{ op: 'segmentMatch', values: [segment] }] }] });
    const flags = {
      a: flag({
        prerequisites: [
          { key: 'b', variation: 0 },
          { key: 'gone', variation: 0 },
        ],
      }),
      b: flag({ prerequisites: [{ key: 'a', variation: 0 }], ...matches('s') }),
      c: flag({}),
    };
    const segments = { s: { key: 's', salt: '', included: [], excluded: [], ...matches('t') }, t: {}, u: {} };
    expect(bootstrapOf({ flags, segments }, ['a'])).toEqual({
      flags: { a: flags.a, b: flags.b },
      segments: { s: segments.s, t: segments.t },
    });
  });

  test('is refused if it is larger than a viewer function may be @heavy', () => {
    const included = Array.from({ length: 60_000 }, () => randomUUID());
    const bootstrap = { flags: { a: { key: 'a' } }, segments: { many: { key: 'many', included } } };
    expect(() => build('large', bootstrap)).toThrow(
      /viewer-request has 1\.\d MB zipped with its bootstrap, and a viewer function at most 1\.0 MB/,
    );
  });
});

test('the code of previews is in the bundle only if the configuration has them, and answers links there @heavy', async () => {
  const base = { reader, flagKey: 'canary-checkout', variants: ['stable', 'canary'], defaultVariant: 'stable' };
  const built = (name: string, more: object) =>
    bundleEdge({
      entry: 'viewer-request',
      config: { ...base, ...more },
      outdir: join(directory, name),
      target: 'node20',
    });
  const without = await built('no-testers', {});
  expect(readFileSync(without.file, 'utf8')).not.toMatch(/flag-preview|Ed25519/);
  // RFC 8032, 7.1, TEST 1: the public key.
  const publicKey = Buffer.from('d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a', 'hex');
  const shadow = { header: 'x-load-test', value: 'a secret of 20 bytes' };
  const { file } = await built('testers', {
    preview: { publicKeys: [publicKey.toString('base64url')], stage: 'prod' },
    shadow,
  });
  const event = (uri: string, headers: Record<string, string> = {}) => {
    const made = requestEvent('viewer-request', headers);
    made.Records[0]!.cf.request.uri = uri;
    return made;
  };
  const answers = (await runBundle(file, 'return [await bundle.handler(input[0]), await bundle.handler(input[1])];', [
    event('/__flag-preview'),
    event('/', { 'X-Load-Test': shadow.value }),
  ])) as [object, object];
  expect(answers[0]).toMatchObject({ status: '200', body: 'No preview is on.\n' });
  expect(answers[1]).toMatchObject({
    headers: { 'x-flag-shadow': [{ value: '1' }], 'x-flag-variant': [{ value: expect.any(String) }] },
  });
});

test('the router writes exposures of what is shown, if it is told to, and has no code for them otherwise @heavy', async () => {
  const config = { reader, flagKey: 'canary-checkout', variants: ['stable', 'canary'], defaultVariant: 'stable' };
  const entry = 'viewer-request';
  const without = buildEdge({ entry, config, outdir: join(directory, 'silent') });
  expect(readFileSync(without, 'utf8')).not.toMatch(/edgeFlagExposures|redactedAttributes|sec-purpose/);
  const exposures = { everyMs: 3_600_000, privateAttributes: ['ip'] };
  const shadow = { header: 'x-load-test', value: 'a secret of 20 bytes' };
  const file = buildEdge({
    entry,
    config: { ...config, exposures, shadow },
    outdir: join(directory, 'told'),
    target: 'node20',
  });
  const shown = requestEvent('viewer-request');
  const asked = (method: string, headers: Record<string, string> = {}) => {
    const event = requestEvent('viewer-request', headers);
    Object.assign(event.Records[0]!.cf.request, { method });
    return event;
  };
  const hidden = [
    asked('HEAD'),
    asked('OPTIONS'),
    asked('GET', { 'Sec-Purpose': 'prefetch;prerender' }),
    asked('GET', { Purpose: 'prefetch' }),
    asked('GET', { 'X-Purpose': 'preview' }),
    asked('GET', { 'X-Moz': 'prefetch' }),
    asked('GET', { 'X-Load-Test': shadow.value }),
  ];
  const lines = await runBundle(
    file,
    `${decideSource} const lines = []; const { write } = process.stdout; process.stdout.write = (line) => lines.push(line) > 0;
     for (const event of input) await decide(bundle.handler, event);
     process.stdout.write = write; return lines;`,
    [...hidden, shown, asked('POST')],
  );
  expect(lines).toHaveLength(1);
  const { events } = JSON.parse((lines as string[])[0]!);
  expect(events).toMatchObject([
    { kind: 'index', context: { kind: 'user', path: '/picture.jpg', _meta: { redactedAttributes: ['ip'] } } },
    { kind: 'summary', features: { 'canary-checkout': { default: 'stable', counters: [{ count: 1 }] } } },
  ]);
});

test('the bundle contains no code of AWS or LaunchDarkly, and its zip is reproducible @heavy', async () => {
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
  expect([...new Set(modules)].sort()).toEqual(['node:crypto', 'node:http', 'node:https', 'node:vm', 'node:zlib']);
});

/** Text of each optional part, and what it may add to the reader's bundle, deflated. */
const OPTIONAL = {
  hooks: { from: 'hooks', name: 'withHooks', marks: ['"logger"'], mostBytes: 850 },
  exposures: {
    from: 'index',
    name: 'createExposures',
    marks: ['edgeFlagExposures', 'redactedAttributes'],
    mostBytes: 2_600,
  },
  openFeature: {
    from: 'open-feature',
    name: 'createOpenFeatureProvider',
    marks: ['PROVIDER_STALE', 'runsOn'],
    mostBytes: 1_050,
  },
  report: { from: 'index', name: 'createReport', marks: ['CloudWatchMetrics'], mostBytes: 1_200 },
  chain: { from: 'chain', name: 'createChain', marks: ['edge-flags 1', 'other-context'], mostBytes: 3_200 },
  heldFlags: { from: 'index', name: 'withOverrides', marks: ['flagValues'], mostBytes: 700 },
};

test('optional parts of the reader cost nothing unless they are imported, and little if they are @heavy', () => {
  const modules = join(import.meta.dirname, '../../../lambda/edge-reader');
  const own = (name: string, ...imports: readonly { readonly from: string; readonly name: string }[]) => {
    const entryFile = join(directory, `${name}.ts`);
    const lines = imports.map(({ from, name }) => `export { ${name} } from '${join(modules, `${from}.ts`)}';`);
    writeFileSync(entryFile, lines.join('\n'));
    const code = readFileSync(buildOwnEdge({ entryFile, config: null, outdir: join(directory, name) }));
    return { code: code.toString(), bytes: deflateRawSync(code, { level: 9 }).length };
  };
  const reader = { from: 'index', name: 'startReader' };
  const bare = own('bare', reader);
  const created = own('created', { from: 'index', name: 'createReader' });
  const has = ({ code }: { readonly code: string }) =>
    Object.entries(OPTIONAL).flatMap(([name, { marks }]) => (marks.some((mark) => code.includes(mark)) ? [name] : []));
  expect(has(bare)).toEqual([]);
  // `createReader` takes hooks, overrides and a bootstrap as options.
  expect(has(created)).toEqual(['hooks', 'heldFlags']);
  for (const [name, part] of Object.entries(OPTIONAL)) {
    const bundle = own(`with-${name}`, reader, part);
    expect([name, part.marks.filter((mark) => !bundle.code.includes(mark))]).toEqual([name, []]);
    expect(has(bundle)).toEqual([name]);
    expect(bundle.bytes - bare.bytes).toBeLessThanOrEqual(part.mostBytes);
  }
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
