/** The constructs of the published package make the templates that a clone makes. */
import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { transformSync } from 'esbuild';
import { unpackedPackage } from '../support/unpacked-package.ts';

const root = join(import.meta.dirname, '../..');
const page = readFileSync(join(root, 'docs/constructs.md'), 'utf8');
const blocks = [...page.matchAll(/```ts( handler)?\n([\s\S]*?)```/g)];
const apps = blocks.filter(([, handler]) => !handler).map(([, , code]) => code!);
const handler = blocks.find(([, kind]) => kind)![2]!;

/** What differs is the code: in the package functions have their configuration in front, and the image is made of other files. */
const withoutHashes = (text: string) =>
  text.replaceAll(/\b[0-9a-f]{64}\b/g, '<hash>').replaceAll(/(CurrentVersion[0-9A-F]{8})[0-9a-f]{32}/g, '$1<hash>');

/** By name, the templates in a directory, also those of nested stacks. */
function templatesIn(outdir: string): Record<string, string> {
  const names = readdirSync(outdir).filter((name) => name.endsWith('.template.json'));
  return Object.fromEntries(names.map((name) => [name, withoutHashes(readFileSync(join(outdir, name), 'utf8'))]));
}

test('every example of docs/constructs.md is an app that is compared', () => {
  expect(apps.length).toBeGreaterThan(7);
  for (const code of apps) expect(code.match(/new App\(\)/g)).toHaveLength(1);
});

describe('synthesis', () => {
  const directories: string[] = [];
  afterAll(() => {
    for (const directory of directories) rmSync(directory, { recursive: true, force: true });
  });

  /** A directory in which every app is a file, `write` from its code, and the templates that they make, by the index of the app. */
  async function synthesise(
    directory: string,
    extension: 'ts' | 'mjs' | 'cjs',
    write: (code: string) => string,
    ...node: string[]
  ): Promise<Record<string, string>[]> {
    directories.push(directory);
    const outdirs = apps.map((_, index) => join(directory, `out-${index}`));
    const imports = apps.map((code, index) => {
      const options = JSON.stringify({ outdir: outdirs[index], analyticsReporting: false });
      writeFileSync(
        join(directory, `app-${index}.${extension}`),
        write(code.replace('new App()', `new App(${options})`)),
      );
      return `await import('./app-${index}.${extension}');`;
    });
    writeFileSync(join(directory, 'checkout.ts'), handler);
    writeFileSync(join(directory, 'all.mjs'), imports.join('\n'));
    const env = { ...process.env, CDK_VALIDATION: 'false' };
    await promisify(execFile)(process.execPath, [...node, join(directory, 'all.mjs')], { cwd: root, env });
    return outdirs.map(templatesIn);
  }

  /** A project in which the package and its peers are installed. */
  async function projectWithPackage(): Promise<string> {
    const project = mkdtempSync(join(tmpdir(), 'templates-'));
    const modules = join(project, 'node_modules');
    mkdirSync(modules);
    cpSync(await unpackedPackage(), join(modules, 'edge-flag-relay'), { recursive: true });
    for (const name of ['aws-cdk-lib', 'constructs', 'esbuild']) {
      symlinkSync(join(root, 'node_modules', name), join(modules, name));
    }
    return project;
  }

  test('templates from the installed package equal those from a clone, for import and for require @heavy', async () => {
    mkdirSync(join(root, '.cache'), { recursive: true });
    const clone = await synthesise(
      mkdtempSync(join(root, '.cache/templates-')),
      'ts',
      (code) => code,
      '--import',
      'tsx',
    );
    expect(clone.flatMap((templates) => Object.keys(templates)).length).toBeGreaterThanOrEqual(apps.length);
    for (const [extension, format] of [
      ['mjs', 'esm'],
      ['cjs', 'cjs'],
    ] as const) {
      const define: Record<string, string> = format === 'cjs' ? { 'import.meta.dirname': '__dirname' } : {};
      const installed = await synthesise(
        await projectWithPackage(),
        extension,
        (code) => transformSync(code, { loader: 'ts', format, target: 'node20', platform: 'node', define }).code,
      );
      expect(installed).toEqual(clone);
    }
  });

  test('an edge function of one’s own says that it needs esbuild @heavy', async () => {
    const project = await projectWithPackage();
    directories.push(project);
    rmSync(join(project, 'node_modules/esbuild'));
    const own = apps.find((code) => code.includes('entryFile'))!;
    const app = own.replace('new App()', `new App({ outdir: ${JSON.stringify(join(project, 'out'))} })`);
    writeFileSync(join(project, 'checkout.ts'), handler);
    writeFileSync(join(project, 'app.mjs'), transformSync(app, { loader: 'ts', format: 'esm' }).code);
    await expect(promisify(execFile)(process.execPath, [join(project, 'app.mjs')])).rejects.toThrow(
      'The package esbuild is not installed. It bundles your own edge functions: npm install --save-dev esbuild',
    );
  });

  test.each(['import', 'require'])('%s of the constructs without the CDK says what to install @heavy', async (how) => {
    const project = await projectWithPackage();
    directories.push(project);
    rmSync(join(project, 'node_modules/aws-cdk-lib'));
    const file = join(project, how === 'import' ? 'app.mjs' : 'app.cjs');
    writeFileSync(
      file,
      how === 'import' ? "import 'edge-flag-relay/constructs';" : "require('edge-flag-relay/constructs');",
    );
    await expect(promisify(execFile)(process.execPath, [file])).rejects.toThrow(
      'The package aws-cdk-lib is not installed, and edge-flag-relay/constructs needs it: npm install aws-cdk-lib constructs',
    );
  });
});
