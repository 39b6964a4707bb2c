/** The published package: what is in its tarball, and what linters of packages say. How people use it is in consumers/. */
import { execFile, execFileSync } from 'node:child_process';
import { lstatSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { buildSync } from 'esbuild';
import { readEntries } from '../../bin/pack/entries.ts';
import { packedTarball } from '../support/tarball.ts';

const root = join(import.meta.dirname, '../..');

let directory: string;
let tarball: string;
let unpacked: string;

type Manifest = Readonly<Record<string, Record<string, unknown>>>;
const manifestIn = (path: string): Manifest => JSON.parse(readFileSync(join(path, 'package.json'), 'utf8'));

/** Its files below a directory, relative to it. */
const filesIn = (path: string): string[] =>
  readdirSync(path, { recursive: true, encoding: 'utf8' })
    .filter((name) => lstatSync(join(path, name)).isFile())
    .sort();

const run = async (program: string, ...args: string[]) =>
  promisify(execFile)(process.execPath, [join(root, 'node_modules', program), ...args], { cwd: directory }).then(
    ({ stdout, stderr }) => ({ code: 0, said: stdout + stderr }),
    ({ code, stdout, stderr }) => ({ code, said: stdout + stderr }),
  );

/** What a file imports from elsewhere. */
const packagesIn = (file: string): string[] => {
  const text = readFileSync(file, 'utf8');
  const names = text.matchAll(/(?:\bfrom\s*|\bimport\s*\(?\s*|\brequire\()["']([^."'][^"']*)["']/g);
  return [...names].map(([, name = '']) => /^(node:)?(@[^/]+\/)?[^/]+/.exec(name)![0]);
};

test('each subpath of the package stands for a source in the repository, and nothing is installed with it', () => {
  const manifest = manifestIn(root);
  const names = readEntries().map(({ name }) => name);
  expect(names.length).toBeGreaterThan(5);
  expect(Object.keys(manifest.exports!)).toEqual([...names.map((name) => `./${name}`), './package.json']);
  expect(Object.keys(manifest.typesVersions!['*'] as object)).toEqual(names);
  expect(manifest.dependencies).toBeUndefined();
});

describe('the tarball', () => {
  beforeAll(async () => {
    tarball = await packedTarball();
    directory = mkdtempSync(join(tmpdir(), 'tarball-'));
    execFileSync('tar', ['-xzf', tarball, '-C', directory]);
    unpacked = join(directory, 'package');
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  test('every file that its package.json names exists @heavy', () => {
    const { exports, bin, typesVersions } = manifestIn(unpacked);
    const targets = (value: unknown): string[] =>
      typeof value === 'string' ? [value] : Object.values(value as object).flatMap(targets);
    const named = [exports, bin, typesVersions].flatMap(targets);
    expect(named.length).toBeGreaterThan(5 * readEntries().length);
    for (const path of named) expect([path, statSync(join(unpacked, path)).size]).toEqual([path, expect.any(Number)]);
  });

  test('it contains these files and directories, and nothing else @heavy', () => {
    expect(readdirSync(unpacked).sort()).toEqual(['LICENSE', 'README.md', 'dist', 'package.json']);
    expect(readdirSync(join(unpacked, 'dist')).sort()).toEqual([
      'THIRD-PARTY-NOTICES.txt',
      'assets',
      'bin',
      'cjs',
      'esm',
    ]);
    expect(readdirSync(join(unpacked, 'dist/assets')).sort()).toEqual([
      ...[
        'canary-caller',
        'canary-edge',
        'canary-reader',
        'edge',
        'edge-logs',
        'exposures-collector',
        'exposures-sender',
      ],
      ...['image', 'reader-layer', 'replacement-rules.json.gz', 'start'],
    ]);
    const kinds = new Set(filesIn(join(unpacked, 'dist')).map((name) => /(\.d)?\.\w+$/.exec(name)?.[0] ?? name));
    expect([...kinds].sort()).toEqual(
      [
        '.cjs',
        '.d.ts',
        '.gz',
        '.js',
        '.json',
        '.mjs',
        '.txt',
        'assets/image/Dockerfile',
        'assets/image/LICENSE',
        'assets/image/ld-relay',
      ].sort(),
    );
  });

  test('no file names the machine on which it was built, or a source map @heavy', () => {
    const places = [root, homedir(), tmpdir()].filter((place) => place.length > 4);
    const files = filesIn(unpacked);
    expect(files.length).toBeGreaterThan(200);
    const found = files.flatMap((file) => {
      const text = readFileSync(join(unpacked, file), 'latin1');
      return [...places, '# sourceMappingURL='].filter((one) => text.includes(one)).map((one) => `${file}: ${one}`);
    });
    expect(found).toEqual([]);
  });

  test('it depends on no package, and what it can use of others is optional @heavy', () => {
    const manifest = manifestIn(unpacked);
    const { dependencies, optionalDependencies, bundledDependencies } = manifest;
    expect([dependencies, optionalDependencies, bundledDependencies]).toEqual([undefined, undefined, undefined]);
    expect(Object.keys(manifest.peerDependenciesMeta!)).toEqual(Object.keys(manifest.peerDependencies!));
    for (const meta of Object.values(manifest.peerDependenciesMeta!)) expect(meta).toEqual({ optional: true });
  });

  test('what is imported and its types need only Node.js, but the constructs, OpenFeature and CloudFront’s events @heavy', () => {
    const needs = (format: 'esm' | 'cjs', ending: string) => {
      const found = filesIn(join(unpacked, 'dist', format))
        .filter((file) => file.endsWith(ending) && !file.includes('constructs') && !file.includes('infrastructure/'))
        .flatMap((file) => packagesIn(join(unpacked, 'dist', format, file)));
      return [...new Set(found)].filter((name) => !name.startsWith('node:')).sort();
    };
    expect([needs('esm', '.js'), needs('cjs', '.js')]).toEqual([[], []]);
    expect(needs('esm', '.d.ts')).toEqual(['@openfeature/server-sdk', 'aws-lambda']);
    expect(needs('cjs', '.d.ts')).toEqual(needs('esm', '.d.ts'));
  });

  test('the constructs need the CDK, and bundlers only for functions of one’s own @heavy', () => {
    const constructs = packagesIn(join(unpacked, 'dist/cjs/constructs.js')).filter((name) => !name.startsWith('node:'));
    expect([...new Set(constructs)].sort()).toEqual(['aws-cdk-lib', 'constructs']);
  });

  test('declarations have the docstrings of the sources, and every one is reached from a subpath @heavy', () => {
    const types = join(unpacked, 'dist/esm/types');
    expect(readFileSync(join(types, 'lambda/edge-reader/index.d.ts'), 'utf8')).toMatch(
      /\*\/\nexport declare function createReader/,
    );
    const reached = new Set<string>();
    const reach = (file: string) => {
      if (reached.has(file)) return;
      reached.add(file);
      const text = readFileSync(join(types, file), 'utf8');
      for (const [, path = ''] of text.matchAll(/(?:from |import\()'(\.[^']+)\.js'/g))
        reach(join(dirname(file), `${path}.d.ts`));
    };
    for (const { source } of readEntries()) reach(source.replace(/\.ts$/, '.d.ts'));
    expect(filesIn(types)).toEqual([...reached].sort());
    for (const file of reached) {
      const text = readFileSync(join(types, file), 'utf8');
      expect([file, /['"]\.[^'"]*\.ts['"]/.exec(text)]).toEqual([file, null]);
      expect([file, readFileSync(join(unpacked, 'dist/cjs/types', file), 'utf8') === text]).toEqual([file, true]);
    }
  });

  test('publint finds nothing @heavy', async () => {
    const { code, said } = await run('publint/src/cli.js', 'run', tarball, '--strict');
    expect(said).toContain('All good!');
    expect(code).toBe(0);
  });

  test('the types of every subpath are found by every kind of resolution, in the format of the code @heavy', async () => {
    const { code, said } = await run('@arethetypeswrong/cli/dist/index.js', tarball, '--format', 'json');
    const { analysis } = JSON.parse(said);
    expect(analysis.problems).toEqual([]);
    expect(Object.keys(analysis.entrypoints)).toEqual(
      expect.arrayContaining(readEntries().map(({ name }) => `./${name}`)),
    );
    expect(code).toBe(0);
  });

  test('docs/installing.md has the oldest versions of what it uses @heavy', () => {
    const page = readFileSync(join(root, 'docs/installing.md'), 'utf8');
    const { peerDependencies } = manifestIn(unpacked);
    for (const name of ['aws-cdk-lib', 'esbuild']) {
      const [, oldest] = /^(?:\^|>=)(\d+\.\d+)/.exec(String(peerDependencies![name])) ?? [];
      expect(page).toContain(`\`${name}\` ${oldest} or later`);
    }
  });

  test('bundlers have nothing to warn of @heavy', () => {
    const contents = ['edge-reader', 'edge-router', 'chain', 'evaluation', 'flag-table'].map(
      (name, index) => `export * as part${index} from './${name}.js'`,
    );
    const { warnings } = buildSync({
      stdin: { contents: contents.join('\n'), resolveDir: join(unpacked, 'dist/esm') },
      ...{ bundle: true, write: false, platform: 'node', format: 'cjs', logLevel: 'silent' },
    });
    expect(warnings).toEqual([]);
  });

  test('docs/installing.md has its sizes @heavy', () => {
    const page = readFileSync(join(root, 'docs/installing.md'), 'utf8');
    const limit = (name: string) => {
      const [, number, unit] = new RegExp(`^\\| ${name} \\| ([\\d.]+) (MB|kB) \\|$`, 'm').exec(page) ?? [];
      return Number(number) * (unit === 'MB' ? 1_000_000 : 1_000);
    };
    const installed = filesIn(unpacked).reduce((sum, file) => sum + statSync(join(unpacked, file)).size, 0);
    const { outputFiles } = buildSync({
      stdin: { contents: "export { createReader } from './edge-reader.js'", resolveDir: join(unpacked, 'dist/esm') },
      ...{ bundle: true, minify: true, write: false, platform: 'node', format: 'cjs' },
    });
    const reader = outputFiles[0]!.contents;
    for (const [name, bytes] of [
      ['the download', statSync(tarball).size],
      ['installed', installed],
      ['`edge-flag-relay/edge-reader` in a bundle, minified', reader.length],
    ] as const) {
      // Neither too small nor far too large.
      expect([name, bytes <= limit(name), bytes > limit(name) / 1.5]).toEqual([name, true, true]);
    }
  });

  test('it is built with the same bytes again, elsewhere @heavy', async () => {
    const again = join(directory, 'again');
    expect(await run('tsx/dist/cli.mjs', join(root, 'bin/pack.ts'), again)).toEqual({ code: 0, said: '' });
    const built = filesIn(again);
    expect(built).toEqual(filesIn(join(unpacked, 'dist')));
    const different = built.filter(
      (file) => !readFileSync(join(again, file)).equals(readFileSync(join(unpacked, 'dist', file))),
    );
    expect(different).toEqual([]);
  });
});
