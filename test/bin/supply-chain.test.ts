/** What the project is made of: exact versions, a bill of materials, notices, and a bot that keeps it current. */
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { buildSync } from 'esbuild';
import { bundledPackages, noticesOf } from '../../bin/third-party-notices.ts';
import { relayBundle } from '../support/relay-process.ts';

const root = join(import.meta.dirname, '../..');
const read = (path: string) => readFileSync(join(root, path), 'utf8');
const manifest = JSON.parse(read('package.json')) as Record<'dependencies' | 'devDependencies', Record<string, string>>;
const lock = JSON.parse(read('package-lock.json')) as {
  packages: Record<string, { version?: string; integrity?: string; inBundle?: boolean; optional?: boolean }>;
};

test('every dependency has one exact version, and the lock file has it with its checksum', () => {
  for (const [name, version] of Object.entries({ ...manifest.dependencies, ...manifest.devDependencies })) {
    expect([name, version]).toEqual([name, expect.stringMatching(/^\d+\.\d+\.\d+(-[\w.]+)?$/)]);
    expect([name, lock.packages[`node_modules/${name}`]?.version]).toEqual([name, version]);
  }
  // Parts of other packages, and binaries for other platforms than that of the lock file's author, have none.
  const unchecked = Object.entries(lock.packages).filter(
    ([path, { integrity, inBundle, optional }]) => path !== '' && !integrity && !inBundle && !optional,
  );
  expect(unchecked.map(([path]) => path)).toEqual([]);
});

test('the bill of materials is CycloneDX and names every dependency with its version @heavy', async () => {
  const args = ['sbom', '--package-lock-only', '--sbom-format', 'cyclonedx', '--sbom-type', 'application'];
  const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
  expect(scripts.sbom).toContain(`npm ${args.join(' ')} >`);
  expect(read('.ci/run')).toMatch(/^npm run sbom$/m);
  const { stdout } = await promisify(execFile)('npm', args, { cwd: root, maxBuffer: 64 * 1024 * 1024 });
  const bom = JSON.parse(stdout);
  expect(bom).toMatchObject({
    ...{ bomFormat: 'CycloneDX', specVersion: expect.stringMatching(/^1\.\d$/), version: 1 },
    serialNumber: expect.stringMatching(/^urn:uuid:[0-9a-f-]{36}$/),
    metadata: { component: { 'bom-ref': expect.any(String), type: 'application' } },
  });
  const components = bom.components as { name: string; version: string; purl: string }[];
  for (const [name, version] of Object.entries(manifest.dependencies)) {
    const purl = `pkg:npm/${name.replace('@', '%40')}@${version}`;
    expect(components.filter((component) => component.purl === purl)).toHaveLength(1);
  }
});

test('the notices beside the bundle name every package in it with its licence @heavy', async () => {
  const directory = await relayBundle();
  const notices = readFileSync(join(directory, 'THIRD-PARTY-NOTICES.txt'), 'utf8');
  const { metafile } = buildSync({
    ...{ absWorkingDir: root, entryPoints: ['relay-task/main.ts'], bundle: true, write: false, metafile: true },
    ...{ outfile: 'relay.mjs', format: 'esm', platform: 'node', logLevel: 'silent' },
  });
  const inBundle = bundledPackages(metafile);
  // Those that the relay imports itself, in the table of docs/architecture.md, and what they need.
  expect(inBundle).toEqual(
    expect.arrayContaining(['ioredis', 're2js', 'prom-client', 'yaml'].map((name) => `node_modules/${name}`)),
  );
  for (const folder of inBundle) {
    const { name, version, license } = JSON.parse(read(join(folder, 'package.json')));
    expect(notices).toContain(`${name} ${version} (${license})`);
  }
  expect(notices).toContain('Permission is hereby granted, free of charge');
  expect(read('relay-task/Dockerfile')).toMatch(/^COPY --from=build .*\/out\/THIRD-PARTY-NOTICES\.txt /m);
});

describe('notices', () => {
  const directory = mkdtempSync(join(tmpdir(), 'packages-'));
  afterAll(() => rmSync(directory, { recursive: true }));
  const noticesWith = (name: string, manifest: object, files: Record<string, string> = {}) => {
    const folder = `node_modules/${name}`;
    mkdirSync(join(directory, folder), { recursive: true });
    for (const [file, text] of Object.entries({ ...files, 'package.json': JSON.stringify(manifest) })) {
      writeFileSync(join(directory, folder, file), text);
    }
    const inputs = { [`${folder}/lib/a.js`]: { bytesInOutput: 1 }, 'node_modules/idle/a.js': { bytesInOutput: 0 } };
    const outputs = { out: { bytes: 1, inputs, imports: [], exports: [] } };
    return noticesOf({ inputs: {}, outputs }, directory);
  };

  test('contain all licence texts of a package, and no code', () => {
    const manifest = { name: '@a/b', version: '1.2.3', license: 'MIT', author: { name: 'Ann' } };
    const files = { LICENSE: 'the licence\n', 'NOTICE.md': 'the notice\n', 'licenses.js': 'code' };
    const notices = noticesWith('@a/b', manifest, files);
    expect(notices).toContain('@a/b 1.2.3 (MIT), by Ann\n\nthe licence\n\nthe notice\n');
    expect(notices).not.toMatch(/code|idle/);
  });

  test('say where the text of a licence is if the package has none', () => {
    const notices = noticesWith('c', { name: 'c', version: '1.0.0', license: 'ISC' });
    expect(notices).toContain(
      'c 1.0.0 (ISC)\n\nThe package contains no licence text: see https://spdx.org/licenses/ISC',
    );
  });

  test('are not made of a package that names no licence', () => {
    expect(() => noticesWith('d', { name: 'd', version: '1.0.0' })).toThrow('d@1.0.0 names no licence');
  });
});

test.each([
  ['reader', 'lambda/edge-reader/reader.entry.ts'],
  ['viewer-request', 'lambda/edge-router/viewer-request.entry.ts'],
  ['origin-request', 'lambda/edge-router/origin-request.entry.ts'],
  ['viewer-response', 'lambda/edge-router/viewer-response.entry.ts'],
])('the edge bundle %s contains no package of others, so it needs no notices @heavy', (_name, entry) => {
  const { metafile } = buildSync({
    ...{ absWorkingDir: root, entryPoints: [entry], bundle: true, write: false, metafile: true },
    ...{ outfile: 'index.cjs', format: 'cjs', platform: 'node', logLevel: 'silent' },
    define: { __EDGE_CONFIG__: '{}', __EDGE_EXPORTS__: 'exports' },
  });
  expect(bundledPackages(metafile)).toEqual([]);
});

test('the update bot pins versions and the digests of base images, which it finds as ARGs in front of FROM', () => {
  const bot = JSON.parse(read('renovate.json')) as { extends: string[] };
  expect(bot.extends).toEqual(
    expect.arrayContaining(['config:recommended', 'docker:pinDigests', ':pinAllExceptPeerDependencies']),
  );
  const dockerfile = read('relay-task/Dockerfile');
  const bases = [...dockerfile.matchAll(/^FROM (?:--platform=\S+ )?\$\{(\w+)\}/gm)].map(([, name]) => name);
  expect(bases).toEqual(['BUILD_BASE', 'BASE']);
  for (const name of bases)
    expect(dockerfile).toMatch(new RegExp(`^ARG ${name}=[\\w./-]+:[\\w.-]+(@sha256:[0-9a-f]{64})?$`, 'm'));
});
