/** Every example of docs/constructs.md is compiled by TypeScript, and synthesised. */
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import * as constructs from '../../../lib/infrastructure/constructs.ts';
import { edgeExampleSources } from '../../support/edge-examples.ts';
import { cdkContext } from '../../support/synthesise.ts';

const root = join(import.meta.dirname, '../../..');
const page = readFileSync(join(root, 'docs/constructs.md'), 'utf8');
const blocks = [...page.matchAll(/```ts( handler)?\n([\s\S]*?)```/g)];
const examples = blocks.filter(([, handler]) => !handler).map(([, , code]) => code!);
const [handler] = blocks.filter(([, kind]) => kind).map(([, , code]) => code!);

let directory: string;
beforeAll(() => {
  // Below the root, so that packages resolve, but outside of the sources.
  mkdirSync(join(root, '.cache'), { recursive: true });
  directory = mkdtempSync(join(root, '.cache/constructs-'));
  for (const [index, code] of examples.entries()) writeFileSync(join(directory, `example-${index}.ts`), code);
  writeFileSync(join(directory, 'checkout.ts'), handler!);
  for (const [index, code] of edgeExampleSources().entries()) {
    const type = `import type { EdgeSettings } from '../../lib/infrastructure/stage-settings.ts';\n`;
    const typed = `${type}export const settings: { readonly edge: EdgeSettings } = {\n${code}};\n`;
    writeFileSync(join(directory, `edge-${index}.ts`), typed);
  }
  const files = { include: ['*.ts'], exclude: [] };
  writeFileSync(join(directory, 'tsconfig.json'), JSON.stringify({ extends: '../../tsconfig.json', ...files }));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** Runs a program of node_modules; returns its exit code and output. */
async function run(program: string, ...args: string[]): Promise<{ code: number; said: string }> {
  const options = { cwd: root, timeout: 170_000, env: { ...process.env, CDK_VALIDATION: 'false' } };
  const command = [join(root, 'node_modules', program), ...args];
  return promisify(execFile)(process.execPath, command, options).then(
    ({ stdout, stderr }) => ({ code: 0, said: stdout + stderr }),
    ({ code, stdout, stderr }) => ({ code, said: stdout + stderr }),
  );
}

test('docs/constructs.md has an example of every construct', () => {
  const names = Object.keys(constructs).filter((name) => /^[A-Z]/.test(name));
  expect(names.length).toBeGreaterThan(4);
  for (const name of names) expect(examples.some((code) => code.includes(`new ${name}(`))).toBe(true);
  expect(examples.some((code) => code.includes('FlagTable.fromExisting('))).toBe(true);
});

test('the examples of docs/constructs.md compile, and the settings in docs/edge-router.md @heavy', async () => {
  expect(await run('typescript/bin/tsc', '-p', directory)).toEqual({ code: 0, said: '' });
});

test('the examples of docs/constructs.md synthesise @heavy', async () => {
  const all = join(directory, 'all.mts');
  writeFileSync(all, examples.map((_, index) => `await import('./example-${index}.ts');`).join('\n'));
  expect(await run('tsx/dist/cli.mjs', all)).toMatchObject({ code: 0 });
});

interface Report {
  readonly pluginReports: {
    readonly pluginName: string;
    readonly violations?: {
      readonly ruleName: string;
      readonly violatingConstructs: { readonly constructPath: string }[];
    }[];
  }[];
}

test('cdk-nag finds nothing in the examples of docs/constructs.md but what is the app’s own decision @heavy', async () => {
  const outdir = (index: number) => join(directory, `nag-${index}`);
  for (const [index, code] of examples.entries()) {
    const options = JSON.stringify({ outdir: outdir(index), context: cdkContext, analyticsReporting: false });
    const checked = code
      .replace('new App()', `new App(${options})`)
      .replace(
        'app.synth();',
        'Validations.of(app).addPlugins(new AwsSolutionsChecks(app));\ntry { app.synth(); } catch {}',
      );
    const imports = `import { Validations } from 'aws-cdk-lib';\nimport { AwsSolutionsChecks } from 'cdk-nag';\n`;
    writeFileSync(join(directory, `nag-${index}.ts`), imports + checked);
  }
  const all = join(directory, 'nag.mts');
  writeFileSync(all, examples.map((_, index) => `await import('./nag-${index}.ts');`).join('\n'));
  await run('tsx/dist/cli.mjs', all);
  const found = examples.flatMap((_, index) => {
    const report: Report = JSON.parse(readFileSync(join(outdir(index), 'validation-report.json'), 'utf8'));
    return report.pluginReports.flatMap(({ violations = [] }) =>
      violations
        .filter(({ ruleName }) => ruleName.startsWith('AwsSolutions-'))
        .flatMap(({ ruleName, violatingConstructs }) =>
          violatingConstructs.map(({ constructPath }) => `${ruleName.replace(/\[.*/, '')} ${constructPath}`),
        ),
    );
  });
  const distribution = ['CFR1', 'CFR2', 'CFR3', 'CFR4'].map(
    (rule) => `AwsSolutions-${rule} Site/Distribution/Resource`,
  );
  expect([...new Set(found)].sort()).toEqual([
    // The sites' countries, web ACL, logs and TLS policy.
    ...distribution,
    // Functions of the examples with the CDK's own roles.
    'AwsSolutions-IAM4 Shop/Checkout/ServiceRole/Resource',
    'AwsSolutions-IAM4 Shop/Shop/ServiceRole/Resource',
    // On an imported role the construct accepts no wildcard: others may have given it one.
    expect.stringMatching(/^AwsSolutions-IAM5 Relay\/ExecutionRole\/PolicyRelayExecutionRole/),
  ]);
});
