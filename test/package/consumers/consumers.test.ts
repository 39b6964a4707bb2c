/**
 * The package as its users install it: the packed tarball in fresh projects outside of the repository. Installations are shared where their
 * independence is not what a test is about.
 */
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { deflateRawSync } from 'node:zlib';
import { requestEvent } from '../../lambda/edge-router/events.ts';
import { startTable, testRegion } from '../../support/dynalite.ts';
import { eventually } from '../../support/eventually.ts';
import { exampleContexts, exampleEnvironment, exampleFile } from '../../support/example-environment.ts';
import { initialisedApp, type Synthesised, synthesise } from './cdk-app.ts';
import {
  installedBytes,
  installedPackages,
  npmProject,
  type Project,
  partFile,
  partNames,
  partsAreInstalled,
  pnpmProject,
  projectIn,
  projects,
  removeHome,
  removeProject,
} from './fresh-project.ts';
import { startInstalledRelay } from './installed-relay.ts';

const SUBPATHS = {
  'edge-reader': 'createReader',
  'edge-router': 'createViewerRequestHandler',
  openfeature: 'createOpenFeatureProvider',
  chain: 'createChain',
  evaluation: 'createEvaluator',
  'flag-table': 'tableSchema',
  constructs: 'FlagTable',
};
const OURS = 'node_modules/edge-flag-relay';
/** Lambda switches it off, as older versions of Node.js do: https://docs.aws.amazon.com/lambda/latest/dg/lambda-nodejs.html. */
const NO_REQUIRE_OF_ESM = '--no-experimental-require-module';
const strictly = process.allowedNodeEnvironmentFlags.has(NO_REQUIRE_OF_ESM) ? [NO_REQUIRE_OF_ESM] : [];

const behind: (() => unknown)[] = [removeHome];
/** Made when the first test needs it. */
function shared<T>(make: () => Promise<T>, close: (made: T) => unknown): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => {
    if (made === undefined) {
      const making = make();
      made = making;
      behind.push(() => making.then(close, () => {}));
    }
    return made;
  };
}
afterAll(async () => {
  for (const close of behind.reverse()) await close();
});

const project = (name: string) => join(projects, name);
const runtime = join(import.meta.dirname, 'lambda-runtime/run.mjs');

/** A project with nothing but the package. */
const alone = shared(() => npmProject('alone', undefined, project('lambda-commonjs')), removeProject);
const application = shared(
  () => npmProject('shop', 'application', ...['edge-function', 'openfeature', 'sdk'].map(project)),
  removeProject,
);
const cdkApp = shared(initialisedApp, removeProject);
const synthesised = shared(
  async () => synthesise(await cdkApp()),
  () => {},
);
/** A folder without packages. */
const layered = shared(
  async () => projectIn(mkdtempSync(join(tmpdir(), 'layered-'))),
  ({ folder }) => rmSync(folder, { recursive: true }),
);
const pnpmApp = shared(() => pnpmProject('site', 'pnpm', project('cdk-javascript')), removeProject);

/** A folder next to the CDK app, for what `cdk init` did not make; it has the app's packages. */
async function besideApp(source: string, name: string): Promise<Project> {
  const { folder: app } = await cdkApp();
  const folder = join(dirname(app), name);
  cpSync(project(source), folder, { recursive: true });
  symlinkSync(join(app, 'node_modules'), join(folder, 'node_modules'));
  return projectIn(folder);
}

const credentials = { AWS_REGION: testRegion, AWS_ACCESS_KEY_ID: 'a', AWS_SECRET_ACCESS_KEY: 'b' };
const table = shared(startTable, ({ close }) => close());
/** The installed relay serves a flags file and fills the table from it. */
const relay = shared(
  async () =>
    startInstalledRelay(await alone(), {
      ...credentials,
      LD_ENV_shop: 'sdk-shop',
      LD_FLAGS_FILE_shop: exampleFile,
      LD_PREFIX_shop: 'production',
      USE_DYNAMODB: 'true',
      DYNAMODB_URL: (await table()).endpoint,
      DYNAMODB_TABLE: (await table()).tableName,
    }),
  ({ close }) => close(),
);
const questions = Object.keys(exampleEnvironment().flags).flatMap((flag) =>
  exampleContexts.map((context) => ({ flag, context, fallback: 'fallback' })),
);

/** Runs a function of a project as Lambda does. */
async function invoke({ folder, run }: Project, file: string, event: unknown, env: Record<string, string> = {}) {
  const { endpoint } = await table();
  const variables = { ...credentials, FLAGS_ENDPOINT: endpoint, ...env };
  const args = [...strictly, runtime, join(folder, file), JSON.stringify(event)];
  return JSON.parse(await run(process.execPath, args, variables));
}

/** The answers of LaunchDarkly's SDK for Node, connected to the relay, once the relay has filled the table. */
const expected = shared(
  async () => {
    const { uri } = await relay();
    const answers = await invoke(await application(), 'ask-sdk.mjs', { questions }, { RELAY_URI: uri });
    await eventually(async () => {
      const { environments } = await (await fetch(`${uri}/status`)).json();
      expect(environments.shop).toMatchObject({ dataStoreStatus: { state: 'VALID' } });
    });
    return answers as { value: unknown; reason: { kind: string } }[];
  },
  () => {},
);

/** Both formats, so that `import` and `require` are resolved. */
const SOURCES = ['every-subpath.mts', 'every-subpath.cts'];
const TS_NODE_APP = 'npx ts-node --prefer-ts-exts bin/shop.ts';
const USERS = ['tester', 'alice', ...Array.from({ length: 4 }, (_, index) => `viewer-${index}`)];

if (partsAreInstalled) describe('a fresh project', inFreshProjects);
else test.skip('fresh projects (needs test/interop/install.sh)', () => {});

test('fresh projects get the versions that the repository itself is tested with', () => {
  const own = JSON.parse(readFileSync(join(import.meta.dirname, '../../../package.json'), 'utf8'));
  const ours: Record<string, string> = { ...own.dependencies, ...own.devDependencies };
  const theirs = partNames.flatMap((part) => {
    const { dependencies, devDependencies } = JSON.parse(partFile(part, 'package.json'));
    const all: Record<string, string> = { ...dependencies, ...devDependencies };
    return Object.entries(all).filter(([name]) => ours[name] !== undefined);
  });
  expect(theirs.map(([name]) => name)).toEqual(expect.arrayContaining(['aws-cdk-lib', 'constructs', 'esbuild']));
  for (const [name, version] of theirs) expect([name, version]).toEqual([name, ours[name]]);
});

function inFreshProjects(): void {
  test('that takes the reader installs one package, which runs nothing when it is installed @heavy', async () => {
    const { folder } = await alone();
    expect(installedPackages(await alone())).toEqual([OURS]);
    // docs/installing.md.
    expect(installedBytes(await alone())).toBeLessThan(14_000_000);
    const manifest = JSON.parse(readFileSync(join(folder, 'node_modules/edge-flag-relay/package.json'), 'utf8'));
    expect(Object.keys(manifest.dependencies ?? {})).toEqual([]);
    const run = ['preinstall', 'install', 'postinstall'].filter((name) => name in (manifest.scripts ?? {}));
    expect(run).toEqual([]);
  });

  test('loads every subpath by import and by require, with the same exports @heavy', async () => {
    const names = Object.keys(SUBPATHS);
    const script = `
      const both = async (name) => [Object.keys(await import(name)), Object.keys(require(name))].map((keys) => keys.sort());
      const all = ${JSON.stringify(names)}.map(async (name) => [name, await both('edge-flag-relay/' + name)]);
      Promise.all(all).then((loaded) => console.log(JSON.stringify(loaded)));`;
    const { run } = await cdkApp();
    const loaded = JSON.parse(await run(process.execPath, [...strictly, '--eval', script]));
    for (const [name, [imported, required]] of loaded) {
      expect([name, imported]).toEqual([name, expect.arrayContaining([SUBPATHS[name as keyof typeof SUBPATHS]])]);
      expect([name, required]).toEqual([name, imported]);
    }
    expect(loaded).toHaveLength(names.length);
  });

  test.each([
    ['import', ['--input-type=module', '--eval', "import 'edge-flag-relay/constructs'"]],
    ['require', ['--eval', "require('edge-flag-relay/constructs')"]],
  ])('without the CDK gets an error of %s that says what to install @heavy', async (_, args) => {
    const { run } = await alone();
    await expect(run(process.execPath, [...strictly, ...args])).rejects.toThrow(
      /npm install .*aws-cdk-lib.* constructs/,
    );
  });

  test('has the commands, which name themselves as they were called @heavy', async () => {
    const { folder, run } = await alone();
    const { version } = JSON.parse(readFileSync(join(folder, 'node_modules/edge-flag-relay/package.json'), 'utf8'));
    const help = await run('npx', ['edge-flag-relay', '--help']);
    for (const command of ['relay', 'start', 'keys', 'preflight', 'verify', 'store', 'dashboard', 'preview'])
      expect(help).toMatch(new RegExp(`^ +${command}\\b`, 'm'));
    expect(help).not.toContain('npm run');
    expect(await run('npx', ['ld-relay', '--version'])).toContain(version);
  });

  test('starts the relay, which serves its status and LaunchDarkly’s SDK for Node @heavy', async () => {
    const answers = await expected();
    const { environments } = await (await fetch(`${(await relay()).uri}/status`)).json();
    expect(environments.shop).toMatchObject({ status: 'connected' });
    expect(answers).toHaveLength(questions.length);
    // examples/flags.json: a target of the flag, and a flag that is off.
    const tester = questions.findIndex(({ flag, context }) => flag === 'canary-checkout' && context.key === 'tester');
    expect(answers[tester]).toMatchObject({ value: 'canary', reason: { kind: 'TARGET_MATCH' } });
  });

  test('bundles the reader into a Lambda@Edge function of its own, whose answers are those of the SDK @heavy', async () => {
    const answers = await expected();
    const { endpoint } = await table();
    const { folder, run } = await application();
    const bundle = ['--bundle', '--minify', '--platform=node', '--target=node22', '--outfile=dist/index.js'];
    await run('npx', ['esbuild', 'checkout.js', ...bundle, `--define:FLAGS_ENDPOINT=${JSON.stringify(endpoint)}`]);
    const code = readFileSync(join(folder, 'dist/index.js'));
    // Our own functions have 4 KB less, by a better minifier and without what `createReader` adds to `startReader`.
    expect(deflateRawSync(code, { level: 9 }).length).toBeLessThan(20_000);
    // Nothing but the file goes to Lambda@Edge.
    const alone = projectIn(join(folder, 'dist'));
    for (const user of USERS) {
      const event = requestEvent('viewer-request', { 'X-User': user });
      const { headers } = await invoke(alone, 'index.js', event);
      expect([user, headers['x-checkout'][0].value]).toEqual([user, checkoutOf(answers, user)]);
    }
  });

  test('uses the reader in a CommonJS Lambda with the package @heavy', async () => {
    const answers = await expected();
    expect(await invoke(await alone(), 'index.js', { questions })).toEqual(answers);
  });

  test('compiles a TypeScript Lambda in ESM with the package @heavy', async () => {
    const answers = await expected();
    const source = await besideApp('lambda-esm', 'lambda');
    await source.run('npx', ['tsc', '-p', '.']);
    expect(await invoke(source, 'index.mjs', { questions })).toEqual(answers);
  });

  test('that has other packages gets no more than this one @heavy', async () => {
    const others = Object.keys(JSON.parse(partFile('application', 'package-lock.json')).packages);
    const added = installedPackages(await application()).filter((path) => !others.includes(path));
    expect(added).toEqual([OURS]);
  });

  test('uses the OpenFeature provider with OpenFeature’s SDK @heavy', async () => {
    const answers = await expected();
    const details = await invoke(await application(), 'ask-openfeature.mjs', { users: USERS });
    expect(details.map(({ value, reason }: Record<string, string>) => `${value}; ${reason}`)).toEqual(
      USERS.map((user) => checkoutOf(answers, user)),
    );
  });

  test('made by `cdk init` synthesises the constructs without Docker, account and credentials @heavy', async () => {
    const { run } = await cdkApp();
    // What `cdk init` wrote into cdk.json: TypeScript 7 checks, tsx runs.
    expect(await run('npx', ['tsc', '--version'])).toContain('Version 7.');
    expectShop(await synthesised());
  });

  test('in CommonJS with ts-node and TypeScript 5.9, as `cdk init` made them, synthesises the same @heavy', async () => {
    const older = await synthesise(await cdkApp(), { TS_NODE_COMPILER: 'typescript-5' }, TS_NODE_APP);
    expect(older.resources).toEqual((await synthesised()).resources);
  });

  test('in JavaScript and ESM, installed with pnpm, synthesises an edge function of its own @heavy', async () => {
    const answers = await expected();
    const { endpoint } = await table();
    const { assets, resources } = await synthesise(await pnpmApp(), { FLAGS_ENDPOINT: endpoint });
    expect(typesOf(resources)).toMatchObject({ 'AWS::DynamoDB::GlobalTable': 1, 'AWS::Lambda::Function': 1 });
    const [bundle] = assets.filter((asset) => existsSync(join(asset, 'index.cjs')));
    const event = requestEvent('origin-request', { 'X-User': 'tester' });
    const { uri } = await invoke(projectIn(bundle!), 'index.cjs', event);
    expect(`${uri}; TARGET_MATCH`).toBe(`/${checkoutOf(answers, 'tester').replace(';', '/picture.jpg;')}`);
  });

  describe('with the layer', () => {
    const layer = async () => {
      const { assets } = await synthesised();
      return join(assets.find((asset) => existsSync(join(asset, 'nodejs')))!, 'nodejs/node_modules');
    };
    const importing = (text: string) => text.replace('edge-flag-relay/edge-reader', 'edge-flag-reader');

    test('uses the reader in a CommonJS Lambda @heavy', async () => {
      const { folder } = await layered();
      writeFileSync(
        join(folder, 'index.js'),
        importing(readFileSync(join(project('lambda-commonjs'), 'index.js'), 'utf8')),
      );
      const answers = await expected();
      expect(await invoke(await layered(), 'index.js', { questions }, { NODE_PATH: await layer() })).toEqual(answers);
    });

    test('compiles a TypeScript Lambda in ESM against the types of the package @heavy', async () => {
      const { folder } = await layered();
      const source = await besideApp('lambda-esm', 'layered');
      const code = join(source.folder, 'index.mts');
      writeFileSync(code, importing(readFileSync(code, 'utf8')));
      await source.run('npx', ['tsc', '-p', '.']);
      // As it is deployed: without the project's packages.
      cpSync(join(source.folder, 'index.mjs'), join(folder, 'index.mjs'));
      const answers = await expected();
      expect(await invoke(await layered(), 'index.mjs', { questions }, { NODE_PATH: await layer() })).toEqual(answers);
    });
  });

  describe('with `tsc --strict`', () => {
    const folder = shared(
      async () => {
        const made = await besideApp('types', 'types');
        for (const file of SOURCES) cpSync(join(made.folder, 'every-subpath.ts'), join(made.folder, file));
        return made;
      },
      () => {},
    );

    test.each([
      ['node16', ['--module', 'node16']],
      ['nodenext', ['--module', 'nodenext']],
      ['bundler', ['--module', 'esnext', '--moduleResolution', 'bundler']],
    ])('of TypeScript 7 uses every subpath under %s @heavy', async (_, options) => {
      const { run } = await folder();
      const always = ['--ignoreConfig', '--noEmit', '--strict', '--skipLibCheck', 'false', '--target', 'es2022'];
      expect(await run('npx', ['tsc', ...always, '--types', 'node', ...options, ...SOURCES])).toBe('');
    });

    test('of TypeScript 5.9 uses every subpath under each of them, and its editor shows what we wrote @heavy', async () => {
      const { folder: types, run } = await folder();
      const checked = JSON.parse(
        await run(process.execPath, ['check.cjs', ...SOURCES.map((file) => join(types, file))]),
      );
      expect(checked).toMatchObject({ version: '5.9.3', settings: ['nodenext', 'node16', 'bundler'], errors: [] });
      // lambda/edge-reader/index.ts and config.ts.
      expect(checked.shown.createReader.type).toContain('createReader(config: ReaderConfig');
      expect(checked.shown.createReader.text).toMatch(/^A reader that starts reading at once\./);
      expect(checked.shown.prefix.text).not.toBe('');
      expect(checked.undocumented).toEqual([]);
    });
  });
}

/** What the SDK answers for a user and the flag `canary-checkout`. */
function checkoutOf(answers: readonly { value: unknown; reason: { kind: string } }[], user: string): string {
  const index = questions.findIndex(({ flag, context }) => flag === 'canary-checkout' && context.key === user);
  const { value, reason } = answers[index]!;
  return `${value}; ${reason.kind}`;
}

const typesOf = (resources: Synthesised['resources']): Record<string, number> => {
  const counts: Record<string, number> = {};
  for (const { Type } of resources) counts[Type] = (counts[Type] ?? 0) + 1;
  return counts;
};

/** What the constructs of lib/shop-stack.ts consist of, with their code. */
function expectShop({ resources, assets }: Synthesised): void {
  expect(typesOf(resources)).toMatchObject({
    'AWS::DynamoDB::GlobalTable': 1,
    'AWS::ECS::Service': 1,
    'AWS::Lambda::Function': 3,
    'AWS::Lambda::LayerVersion': 1,
    'AWS::CloudFront::Distribution': 1,
  });
  expect(assets.filter((asset) => existsSync(join(asset, 'index.cjs')))).toHaveLength(3);
  expect(assets.filter((asset) => existsSync(join(asset, 'Dockerfile')))).toHaveLength(1);
}
