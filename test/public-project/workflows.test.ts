/** Workflows: valid, without more rights than they need, and calling only what exists. Nobody can run them before they are on GitHub. */
import { accessSync, constants, existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { jsonSchemaIsInstalled, schemaErrorsOf } from '../support/json-schema.ts';

const root = join(import.meta.dirname, '../..');
const read = (path: string) => readFileSync(join(root, path), 'utf8');

interface Step {
  readonly uses?: string;
  readonly run?: string;
  readonly with?: Readonly<Record<string, unknown>>;
}
interface Job {
  readonly permissions?: Readonly<Record<string, string>>;
  readonly 'timeout-minutes'?: number;
  readonly environment?: string;
  readonly strategy?: { readonly matrix: { readonly node: readonly string[] } };
  readonly steps: readonly Step[];
}
interface Workflow {
  readonly on: unknown;
  readonly permissions?: unknown;
  readonly concurrency?: unknown;
  readonly jobs: Readonly<Record<string, Job>>;
}

const texts = Object.fromEntries(
  readdirSync(join(root, '.github/workflows')).map((file) => [file, read(`.github/workflows/${file}`)]),
);
const workflows = Object.fromEntries(Object.entries(texts).map(([file, text]) => [file, parse(text) as Workflow]));
const jobs = Object.entries(workflows).flatMap(([file, workflow]) =>
  Object.entries(workflow.jobs).map(([name, job]): [where: string, job: Job] => [`${file}: ${name}`, job]),
);
const stepsOf = (...names: string[]) => jobs.filter(([where]) => names.includes(where)).flatMap(([, job]) => job.steps);
const manifest = JSON.parse(read('package.json')) as { scripts: Record<string, string>; engines: { node: string } };

test('there is one workflow for changes, one for releases and one for the night', () => {
  expect(Object.keys(workflows).sort()).toEqual(['ci.yml', 'nightly.yml', 'release.yml']);
});

test.each(Object.keys(workflows))('%s gives its jobs no right by default and does not run twice at once', (file) => {
  expect(workflows[file]?.permissions).toEqual({});
  expect(workflows[file]?.concurrency).toHaveProperty('group');
});

test('each job has a time limit and names its rights, and these alone can write', () => {
  const limits = jobs.map(([where, job]) => [where, job['timeout-minutes'] ?? 'none', job.permissions ?? 'none']);
  expect(limits.filter((row) => row.includes('none'))).toEqual([]);
  const writing = jobs.flatMap(([where, { permissions = {} }]) => {
    const rights = Object.keys(permissions).filter((right) => permissions[right] !== 'read');
    return rights.length > 0 ? [[where, ...rights.sort()]] : [];
  });
  expect(writing).toEqual([
    ['nightly.yml: report', 'issues'],
    ['release.yml: npm', 'id-token'],
    ['release.yml: image', 'attestations', 'id-token', 'packages'],
    ['release.yml: github', 'attestations', 'contents', 'id-token'],
  ]);
});

test('what can publish waits for the environment with reviewers, and for the checks', () => {
  expect(workflows['release.yml']).toMatchObject({
    on: { push: { tags: ['v[0-9]+.[0-9]+.[0-9]+'] } },
    jobs: {
      build: { needs: 'check' },
      npm: { needs: 'build', environment: 'release' },
      image: { needs: 'build', environment: 'release' },
      github: { needs: ['build', 'npm', 'image'] },
    },
  });
});

test('every action is pinned to a commit, with its version beside it, and to the same everywhere', () => {
  const uses = Object.values(texts).flatMap((text) => text.match(/^.*\buses:.*$/gm) ?? []);
  expect(uses.length).toBeGreaterThan(10);
  const pins = uses.map(
    (line) => /uses: ([\w.-]+\/[\w./-]+)@([\da-f]{40}) # (v\d+\.\d+\.\d+)$/.exec(line)?.slice(1) ?? line,
  );
  expect(pins.filter((pin) => typeof pin === 'string')).toEqual([]);
  const distinct = new Set(pins.map(String));
  expect(distinct.size).toBe(new Set(pins.map((pin) => pin[0])).size);
});

test('no checkout leaves a token behind, and no script contains what others can write', () => {
  const steps = jobs.flatMap(([where, job]) => job.steps.map((step): [string, Step] => [where, step]));
  const checkouts = steps.filter(([, { uses }]) => uses?.startsWith('actions/checkout@'));
  expect(checkouts.length).toBeGreaterThan(5);
  for (const [where, step] of checkouts) expect([where, step.with?.['persist-credentials']]).toEqual([where, false]);
  // An expression in a script is replaced before the shell reads it: values come as variables.
  expect(steps.filter(([, { run }]) => run?.includes('${{'))).toEqual([]);
});

test('every npm script and every file that a workflow calls exists', () => {
  const runs = jobs.flatMap(([, job]) => job.steps.flatMap(({ run }) => run ?? []));
  const scripts = runs.flatMap((run) =>
    [...run.matchAll(/\bnpm run (?:-s )?([\w:-]+)/g)].map(([, script]) => script ?? ''),
  );
  expect(new Set(scripts)).toEqual(new Set(['pack', 'sbom', 'release']));
  expect(scripts.filter((script) => manifest.scripts[script] === undefined)).toEqual([]);
  expect(runs.filter((run) => run === '.ci/run')).toHaveLength(2);
  expect(() => accessSync(join(root, '.ci/run'), constants.X_OK)).not.toThrow();
  const files = runs.flatMap((run) => [...run.matchAll(/ -f (\S+)/g)].map(([, file]) => file ?? ''));
  const built = stepsOf('release.yml: image').flatMap((step) => (step.with?.file as string | undefined) ?? []);
  expect([...files, ...built]).toEqual(['relay-task/Dockerfile', 'relay-task/Dockerfile']);
  expect(existsSync(join(root, 'relay-task/Dockerfile'))).toBe(true);
});

test('changes are checked on Node 20 and the two for production, the package also on the oldest that it allows', () => {
  const development = Number(read('.nvmrc'));
  const [, oldest = ''] = /^>=(.*)$/.exec(manifest.engines.node) ?? [];
  const { node } = workflows['ci.yml']?.jobs.check?.strategy?.matrix ?? {};
  expect(node).toEqual([oldest.split('.')[0], String(development), String(development + 2)]);
  const versions = stepsOf('ci.yml: oldest').flatMap((step) => step.with?.['node-version'] ?? []);
  expect(versions).toEqual([oldest]);
});

test('every job of a change counts for the check that branch rules name', () => {
  const { passed, ...others } = workflows['ci.yml']?.jobs ?? {};
  expect(passed).toMatchObject({ if: 'always()', needs: Object.keys(others) });
});

test('a released image is built for both platforms with labels, bill of materials, provenance and signature', () => {
  const steps = stepsOf('release.yml: image');
  const build = steps.find(({ uses }) => uses?.startsWith('docker/build-push-action@'))?.with;
  expect(build).toMatchObject({
    ...{ platforms: 'linux/amd64,linux/arm64', push: true, provenance: 'mode=max', sbom: true },
  });
  const given = [...String(build?.['build-args']).matchAll(/^(\w+)=/gm)].map(([, name]) => name);
  expect(given).toEqual(['VERSION', 'REVISION', 'CREATED', 'SOURCE']);
  const dockerfile = read('relay-task/Dockerfile');
  for (const name of given) expect(dockerfile).toMatch(new RegExp(`^ARG ${name}=`, 'm'));
  expect(steps.map(({ run }) => run)).toContain('cosign sign --yes "$IMAGE"');
  expect(steps.at(-1)).toMatchObject({
    uses: expect.stringMatching(/^actions\/attest@/),
    with: { 'push-to-registry': true },
  });
});

test('the package is published with provenance and without a token', () => {
  const published = stepsOf('release.yml: npm').flatMap(({ run }) => run ?? []);
  expect(published).toEqual([expect.stringMatching(/^npm publish .* --provenance --access public$/)]);
  expect(texts['release.yml']).not.toMatch(/secrets\.|NPM_TOKEN|NODE_AUTH_TOKEN/);
});

(jsonSchemaIsInstalled ? describe : describe.skip)("GitHub's schema (Python's jsonschema is installed)", () => {
  test('accepts every workflow @heavy', () => {
    const errors = schemaErrorsOf(join(root, 'test/fixtures/github/github-workflow.schema.json'), workflows);
    expect(errors).toEqual(Object.fromEntries(Object.keys(workflows).map((file) => [file, []])));
  });
});
