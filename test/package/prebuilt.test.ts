/** The functions in the published package are those that a clone builds from its sources. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { deflateRawSync } from 'node:zlib';
import { bootstrapOf } from '../../lambda/edge-router/bootstrap.ts';
import type * as EdgeBundle from '../../lib/infrastructure/edge-bundle.ts';
import { buildEdge, type EdgeConfigs, type EdgeEntry } from '../../lib/infrastructure/edge-bundle.ts';
import { bundleDirectory, type OwnBundle } from '../../lib/infrastructure/own-bundles.ts';
import { itemsOf, putSnapshot } from '../lambda/edge-reader/table-writer.ts';
import { requestEvent, responseEvent } from '../lambda/edge-router/events.ts';
import { startTable, type TestTable } from '../support/dynalite.ts';
import { exampleContexts, exampleEnvironment } from '../support/example-environment.ts';
import { runAsLambda } from '../support/run-as-lambda.ts';
import { unpackedPackage } from '../support/unpacked-package.ts';

type Build = typeof buildEdge;

/** `buildEdge` as in the package, with its prebuilt functions in `assets`. */
async function buildFrom(assets: string): Promise<Build> {
  let loaded: typeof EdgeBundle | undefined;
  await jest.isolateModulesAsync(async () => {
    jest.doMock('../../lib/infrastructure/prebuilt.ts', () => ({ prebuilt: (path: string) => join(assets, path) }));
    loaded = await import('../../lib/infrastructure/edge-bundle.ts');
    jest.dontMock('../../lib/infrastructure/prebuilt.ts');
  });
  return loaded!.buildEdge;
}

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'prebuilt-'));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

test('a package without its functions says which file is missing', async () => {
  const build = await buildFrom(join(directory, 'none'));
  const config = { tableName: 'flags', replicas: { default: ['eu-west-1'] } };
  expect(() => build({ entry: 'reader', config, outdir: join(directory, 'out') })).toThrow(
    /no such file.*edge\/reader\.cjs/,
  );
});

test.each<OwnBundle>([
  ...(['canary-caller', 'canary-edge', 'canary-reader', 'edge-logs'] as const),
  ...(['exposures-collector', 'exposures-sender', 'reader-layer'] as const),
])('%s has the same files and bytes @heavy', async (name) => {
  const [ours, theirs] = [bundleDirectory(name), join(await unpackedPackage(), 'dist/assets', name)];
  const filesOf = (path: string) =>
    readdirSync(path, { recursive: true, encoding: 'utf8', withFileTypes: true })
      .filter((one) => one.isFile())
      .map((one) => join(one.parentPath, one.name))
      .map((file) => [file.slice(path.length), readFileSync(file, 'utf8')])
      .sort();
  expect(filesOf(theirs).length).toBeGreaterThan(0);
  expect(filesOf(theirs)).toEqual(filesOf(ours));
});

/** The examples, and a flag with a Big Segment. */
function environment() {
  const { flags, segments } = exampleEnvironment();
  const clauses = [{ op: 'segmentMatch', values: ['all'] }];
  const big = { key: 'big', version: 1, on: true, variations: [0, 1], fallthrough: { variation: 0 } };
  return {
    flags: { ...flags, big: { ...big, rules: [{ variation: 1, clauses }] } },
    segments: { ...segments, all: { key: 'all', version: 1, unbounded: true, generation: 1 } },
  };
}

describe('edge functions', () => {
  let table: TestTable;
  let reader: EdgeConfigs['reader'];
  let prebuilt: Build;
  beforeAll(async () => {
    table = await startTable();
    await putSnapshot(table, 'p', itemsOf(environment()), { epoch: 1, seq: 1 });
    const { tableName, endpoint } = table;
    reader = { tableName, endpoint, prefix: 'p', replicas: { default: ['eu-west-1'] }, coldDeadlineMs: 60_000 };
    prebuilt = await buildFrom(join(await unpackedPackage(), 'dist/assets'));
  });
  afterAll(() => table.close());

  /** What a function built in each way answers, and what it writes to its log. */
  async function answers<E extends EdgeEntry>(entry: E, config: EdgeConfigs[E], script: string, input: unknown) {
    const ways = { sources: buildEdge, prebuilt };
    const asked = Object.entries(ways).map(async ([name, build]) => {
      const outdir = mkdtempSync(join(directory, `${name}-`));
      const file = build({ entry, config, outdir, target: 'node20' });
      // A clock that stands still, and ids that can be repeated.
      const still = `let id = 0; require('node:crypto').randomUUID = () => 'id-' + id++; Date.now = () => 1_700_000_000_000;`;
      const log = `const log = []; const { write } = process.stdout; process.stdout.write = (line) => log.push(line) > 0;`;
      const full = `${still} ${log} const bundle = require(file); const answers = await (async () => { ${script} })();
        process.stdout.write = write; return { answers, log };`;
      return runAsLambda(file, full, input) as Promise<{ answers: unknown[]; log: string[] }>;
    });
    const [sources, built] = await Promise.all(asked);
    expect(built).toEqual(sources);
    return sources!;
  }

  test('the reader answers the same, with and without Big Segments @heavy', async () => {
    const questions = Object.keys(environment().flags).flatMap((flag) =>
      exampleContexts.map((context) => [flag, context]),
    );
    const script = `const all = []; for (const [flag, context] of input) all.push(await bundle.reader.variationDetail(flag, context, 'fallback')); return all;`;
    for (const bigSegments of [true, false]) {
      const { answers: all } = await answers('reader', { ...reader, bigSegments }, script, questions);
      expect(all).toHaveLength(questions.length);
      expect(new Set(all.map((one) => JSON.stringify(one))).size).toBeGreaterThan(5);
      // Nobody has ever filled it.
      expect(JSON.stringify(all)).toContain(bigSegments ? 'STALE' : 'NOT_CONFIGURED');
    }
  });

  const site = () => ({ reader, variants: ['stable', 'canary'], defaultVariant: 'stable' });
  const single = { flagKey: 'canary-checkout' };
  const rules = {
    rules: [
      {
        when: { path: '/checkout/*' },
        flagKey: 'canary-checkout',
        variations: { canary: { rewrite: '/v2/*', requestHeaders: { 'x-a': '1' }, responseHeaders: { 'x-b': '1' } } },
      },
    ],
  };
  const preview = { publicKeys: ['11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo'], stage: 'prod' };
  const testers = { preview, shadow: { header: 'x-load-test', value: 'a secret of 20 bytes' } };
  const exposures = { exposures: { everyMs: 3_600_000, privateAttributes: ['ip'] } };
  const bootstrap = { bootstrap: bootstrapOf(exampleEnvironment(), ['canary-checkout']) };

  const requests = ['/', '/checkout/basket', '/__flag-preview'].flatMap((uri) =>
    Array.from({ length: 6 }, (_, index) => {
      const headers: Record<string, string> = { cookie: `flag-viewer=viewer-${index}` };
      if (index === 4) headers['x-load-test'] = testers.shadow.value;
      const event = requestEvent('viewer-request', index === 5 ? {} : headers);
      Object.assign(event.Records[0]!.cf.request, { uri });
      return event;
    }),
  );

  test.each<[string, object]>([
    ['a single flag', single],
    ['rules', rules],
    ['a single flag and testers', { ...single, ...testers }],
    ['rules and testers', { ...rules, ...testers }],
    ['a single flag and exposures', { ...single, ...exposures }],
    ['rules and exposures', { ...rules, ...exposures }],
    ['a single flag, testers and exposures', { ...single, ...testers, ...exposures }],
    ['everything', { ...rules, ...testers, ...exposures, ...bootstrap, metricsNamespace: 'Edge' }],
  ])('viewer-request with %s answers the same @heavy', async (_, more) => {
    const script = `await bundle.status(); const all = []; for (const event of input) all.push(await bundle.handler(event)); return all;`;
    const config = { ...site(), ...more } as EdgeConfigs['viewer-request'];
    const { answers: all } = await answers('viewer-request', config, script, requests);
    expect(all).toHaveLength(requests.length);
    expect(new Set(all.map((one) => JSON.stringify(one))).size).toBeGreaterThan(5);
  });

  test('a prebuilt function is at most 5 % larger than one from sources, zipped @heavy', () => {
    const zippedBy = (build: Build, entry: 'reader' | 'viewer-request', config: object) => {
      const file = build({ entry, config: config as never, outdir: mkdtempSync(join(directory, 'size-')) });
      return deflateRawSync(readFileSync(file), { level: 9 }).length;
    };
    for (const [entry, config] of [
      ['reader', reader],
      ['viewer-request', { ...site(), ...single }],
      ['viewer-request', { ...site(), ...rules }],
    ] as const) {
      expect(zippedBy(prebuilt, entry, config)).toBeLessThanOrEqual(1.05 * zippedBy(buildEdge, entry, config));
    }
  });

  test('origin-request and viewer-response answer the same @heavy', async () => {
    const script = `const all = []; for (const event of input) all.push(await bundle.handler(event)); return all;`;
    const origins = { canary: { domainName: 'canary.example.com' }, stable: { domainName: 'stable.example.com' } };
    const asked = ['canary', 'stable', 'nobody'].map((variant) =>
      requestEvent('origin-request', { 'x-flag-variant': variant }),
    );
    const { answers: routed } = await answers('origin-request', { origins, defaultVariant: 'stable' }, script, asked);
    expect(JSON.stringify(routed)).toContain('canary.example.com');
    const viewer = '6f9619ff-8b86-4d01-b42d-00c04fc964ff';
    const cookies = responseEvent({ 'x-flag-new-viewer': viewer });
    const { answers: responses } = await answers('viewer-response', {}, script, [cookies, responseEvent({})]);
    expect(JSON.stringify(responses)).toContain(`flag-viewer=${viewer}`);
  });
});
