/** What the project is made of: exact versions, a bill of materials, notices, and a bot that keeps it current. */
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { buildSync } from 'esbuild';
import { billOf } from '../../bin/relay-bundle/bill-of-materials.ts';
import { bundledPackages, noticesOf } from '../../bin/third-party-notices.ts';
import { relayBundle } from '../support/relay-process.ts';

const root = join(import.meta.dirname, '../..');
const read = (path: string) => readFileSync(join(root, path), 'utf8');
const manifest = JSON.parse(read('package.json')) as {
  readonly dependencies?: unknown;
  readonly devDependencies: Readonly<Record<string, string>>;
};
const lock = JSON.parse(read('package-lock.json')) as {
  packages: Record<string, { version?: string; integrity?: string; inBundle?: boolean; optional?: boolean }>;
};

test('nothing is installed with the package; every dependency has one exact version, and the lock file has it with its checksum', () => {
  expect(manifest.dependencies).toBeUndefined();
  for (const [name, version] of Object.entries(manifest.devDependencies)) {
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
  for (const [name, version] of Object.entries(manifest.devDependencies)) {
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
    // Native code, which no bundle contains.
    external: ['unix-dgram'],
  });
  const inBundle = bundledPackages(metafile);
  // Those that the relay imports itself, in the table of docs/architecture.md, and what they need.
  expect(inBundle).toEqual(
    expect.arrayContaining(
      ['hot-shots', 'ioredis', 're2js', 'prom-client', 'yaml'].map((name) => `node_modules/${name}`),
    ),
  );
  for (const folder of inBundle) {
    const { name, version, license } = JSON.parse(read(join(folder, 'package.json')));
    expect(notices).toContain(`${name} ${version} (${license})`);
  }
  expect(notices).toContain('Permission is hereby granted, free of charge');
  // Apache-2.0 4(a): recipients get a copy of the licence, also for packages that contain none.
  expect(notices.match(/^.* see https:\/\/spdx.org\/licenses\/(?!0BSD|CC0|MIT-0|Unlicense).*$/gm)).toBeNull();
});

test('the bill of materials beside the bundle names every package in it with its checksum, and no other @heavy', async () => {
  const directory = await relayBundle();
  const bill = JSON.parse(readFileSync(join(directory, 'relay.cdx.json'), 'utf8'));
  const notices = readFileSync(join(directory, 'THIRD-PARTY-NOTICES.txt'), 'utf8');
  const { name, version } = JSON.parse(read('package.json'));
  expect(bill).toMatchObject({
    ...{ bomFormat: 'CycloneDX', specVersion: '1.5', version: 1 },
    metadata: { component: { type: 'application', name, version, purl: `pkg:npm/${name}@${version}` } },
  });
  const named = [...notices.matchAll(/^(\S+) (\S+) \(/gm)].map(([, name, version]) => `${name}@${version}`);
  const components = bill.components as {
    name: string;
    version: string;
    purl: string;
    hashes: { alg: string; content: string }[];
  }[];
  expect(components.map((component) => `${component.name}@${component.version}`).sort()).toEqual(named.sort());
  for (const { name, version, purl, hashes } of components) {
    expect(purl).toBe(`pkg:npm/${name.replace('@', '%40')}@${version}`);
    const integrity = Object.entries(lock.packages)
      .filter(([path, locked]) => path.endsWith(`node_modules/${name}`) && locked.version === version)
      .map(([, locked]) => locked.integrity);
    expect(integrity).toContain(`sha512-${Buffer.from(hashes[0]?.content ?? '', 'hex').toString('base64')}`);
  }
  const refs = (bill.dependencies as { ref: string; dependsOn: string[] }[]).flatMap(({ ref, dependsOn }) => [
    ref,
    ...dependsOn,
  ]);
  expect(new Set(refs)).toEqual(new Set([`${name}@${version}`, ...named]));
});

test('a package in the bundle that the lock file does not have is an error', () => {
  const component = { 'bom-ref': 'x@1.0.0', name: 'x', version: '1.0.0', purl: 'pkg:npm/x@1.0.0' };
  const bill = { metadata: { tools: [], component }, components: [], dependencies: [] };
  expect(() => billOf(bill, component, [{ name: 'y', version: '2.0.0' }])).toThrow(
    'y@2.0.0 is in the bundle, but not in',
  );
});

describe('notices', () => {
  const directory = mkdtempSync(join(tmpdir(), 'packages-'));
  afterAll(() => rmSync(directory, { recursive: true }));
  type Package = readonly [
    manifest: { readonly name: string; readonly [field: string]: unknown },
    files: Record<string, string>,
  ];
  let count = 0;

  const noticesOfPackages = (packages: readonly Package[]) => {
    const root = join(directory, String(count++));
    const inputs = { 'node_modules/idle/a.js': { bytesInOutput: 0 } } as Record<string, { bytesInOutput: number }>;
    for (const [manifest, files] of packages) {
      const folder = `node_modules/${manifest.name}`;
      mkdirSync(join(root, folder), { recursive: true });
      for (const [file, text] of Object.entries({ ...files, 'package.json': JSON.stringify(manifest) })) {
        writeFileSync(join(root, folder, file), text);
      }
      inputs[`${folder}/lib/a.js`] = { bytesInOutput: 1 };
    }
    return noticesOf({ inputs: {}, outputs: { out: { bytes: 1, inputs, imports: [], exports: [] } } }, root);
  };
  const noticesWith = (manifest: Package[0], files: Package[1] = {}) => noticesOfPackages([[manifest, files]]);

  test('contain all licence texts of a package, and no code', () => {
    const manifest = { name: '@a/b', version: '1.2.3', license: 'MIT', author: { name: 'Ann' } };
    const files = { LICENSE: 'the licence\n', 'NOTICE.md': 'the notice\n', 'licenses.js': 'code' };
    const notices = noticesWith(manifest, files);
    expect(notices).toContain('@a/b 1.2.3 (MIT), by Ann\n\nthe licence\n\nthe notice\n');
    expect(notices).not.toMatch(/code|idle/);
  });

  test.each([
    ['in an object', { license: { type: 'MIT' } }],
    ['in a list', { licenses: [{ type: 'MIT' }] }],
  ])('know a licence that is %s, as in the oldest packages', (_where, licence) => {
    expect(noticesWith({ name: 'c', version: '1.0.0', ...licence }, { LICENSE: 'the licence' })).toContain(
      'c 1.0.0 (MIT)\n\nthe licence\n',
    );
  });

  test('take the text from the README, if it is there', () => {
    const readme = '# c\n\n## License (MIT)\n\nPermission is hereby granted to c\n\n## Thanks\n\nto all';
    const notices = noticesWith({ name: 'c', version: '1.0.0', license: 'MIT' }, { 'readme.markdown': readme });
    expect(notices).toContain('c 1.0.0 (MIT)\n\nPermission is hereby granted to c\n');
    expect(notices).not.toContain('Thanks');
  });

  test('have the standard text of a package without one, with its author as the holder', () => {
    const notices = noticesWith(
      { name: 'c', version: '1.0.0', license: 'MIT', author: 'Ann' },
      { 'README.md': '## License\n\nMIT' },
    );
    expect(notices).toMatch(
      /^c 1\.0\.0 \(MIT\), by Ann\n\nMIT License\n\nCopyright \(c\) Ann\n\nPermission is hereby granted/m,
    );
  });

  test('have the text of Apache-2.0 once, for the packages without it, too', () => {
    const apache = read('node_modules/aws-cdk-lib/LICENSE');
    const notices = noticesOfPackages([
      [{ name: 'a', version: '1.0.0', license: 'Apache-2.0' }, {}],
      [{ name: 'b', version: '1.0.0', license: 'Apache-2.0' }, { LICENSE: apache }],
    ]);
    expect(notices).toContain(`a 1.0.0 (Apache-2.0)\nb 1.0.0 (Apache-2.0)\n\n${apache.trim()}`);
  });

  test('say where the text of a licence is that does not demand it', () => {
    expect(noticesWith({ name: 'c', version: '1.0.0', license: 'MIT-0' })).toContain(
      'c 1.0.0 (MIT-0)\n\nThe package contains no licence text: see https://spdx.org/licenses/MIT-0',
    );
  });

  test.each([
    ['that names no licence', {}, 'd@1.0.0 names no licence'],
    [
      'that has the text of its licence nowhere',
      { license: 'BSD-3-Clause' },
      'd@1.0.0 contains no text of its licence BSD-3-Clause',
    ],
    ['under a licence that nobody has permitted', { license: 'GPL-3.0-only' }, 'd@1.0.0 has the licence GPL-3.0-only'],
    ['under one permitted licence and another', { license: 'MIT AND GPL-3.0-only' }, 'd@1.0.0 has the licence MIT AND'],
    ['without a licence, as npm writes it', { license: 'UNLICENSED' }, 'd@1.0.0 has the licence UNLICENSED'],
  ])('are not made of a package %s', (_what, licence, message) => {
    expect(() => noticesWith({ name: 'd', version: '1.0.0', ...licence })).toThrow(message);
  });

  test('are made of a package with a choice of licences, if one is permitted', () => {
    const manifest = { name: 'e', version: '1.0.0', license: '(MIT OR GPL-3.0-or-later)' };
    expect(noticesWith(manifest, { LICENSE: 'either' })).toContain('e 1.0.0 ((MIT OR GPL-3.0-or-later))\n\neither');
  });
});

test('the functions and the layer contain no package of others, so they need no notices @heavy', () => {
  const entryPoints = readdirSync(join(root, 'lambda'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.entry.ts') || name === 'edge-reader/open-feature.ts')
    .map((name) => join('lambda', name));
  expect(entryPoints.length).toBeGreaterThan(4);
  const { metafile } = buildSync({
    ...{ absWorkingDir: root, entryPoints, bundle: true, write: false, metafile: true },
    // The user's own, as in the layer.
    external: ['@openfeature/server-sdk'],
    ...{ outdir: 'functions', format: 'cjs', platform: 'node', logLevel: 'silent' },
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
