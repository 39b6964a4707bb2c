/** The update bot's configuration: which updates come together, which never, and which nobody looks at. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const root = join(import.meta.dirname, '../..');
const read = (path: string) => readFileSync(join(root, path), 'utf8');

interface Rule {
  readonly matchPackageNames?: readonly string[];
  readonly groupName?: string;
  readonly allowedVersions?: string;
  readonly automerge?: boolean;
}
const bot = JSON.parse(read('renovate.json')) as {
  readonly packageRules: readonly Rule[];
  readonly customManagers: readonly { readonly managerFilePatterns: string[]; readonly matchStrings: string[] }[];
};
const manifest = JSON.parse(read('package.json')) as Partial<
  Record<'dependencies' | 'devDependencies', Record<string, string>>
>;
const packages = Object.keys({ ...manifest.dependencies, ...manifest.devDependencies });

/** The packages that a rule is for. A name may end in `**`. */
const matching = ({ matchPackageNames = [] }: Rule) =>
  packages.filter((name) =>
    matchPackageNames.some((wanted) =>
      wanted.endsWith('**') ? name.startsWith(wanted.slice(0, -2)) : name === wanted,
    ),
  );

test('every name in a rule is one of a package that is installed', () => {
  const names = bot.packageRules.flatMap(({ matchPackageNames = [] }) => matchPackageNames);
  expect(names.length).toBeGreaterThan(10);
  expect(names.filter((name) => matching({ matchPackageNames: [name] }).length === 0)).toEqual([]);
});

test("LaunchDarkly's packages come together, and the CDK's command line stays below 3", () => {
  const launchdarkly = packages.filter((name) => name.includes('launchdarkly'));
  const together = bot.packageRules.find(({ groupName }) => groupName === 'launchdarkly');
  expect(matching(together ?? {})).toEqual(launchdarkly);
  const limits = bot.packageRules.filter(({ matchPackageNames }) => matchPackageNames?.includes('aws-cdk'));
  expect(limits.map(({ allowedVersions }) => allowedVersions)).toContain('<3');
});

test('only packages that no source imports are merged without a look', () => {
  const merged = bot.packageRules.filter(({ automerge }) => automerge).flatMap(matching);
  expect(merged.length).toBeGreaterThan(3);
  // Types have no code.
  const sources = ['bin', 'lib', 'lambda', 'relay-task'].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts'))
      .map((file) => read(join(folder, file))),
  );
  const imported = (name: string) => sources.some((text) => text.includes(`from '${name}`));
  expect(merged.filter((name) => !name.startsWith('@types/') && imported(name))).toEqual([]);
});

test('versions outside of manifests are found where they are', () => {
  const found = bot.customManagers.map(({ managerFilePatterns, matchStrings }) => {
    const pattern = new RegExp(managerFilePatterns.join('|').replaceAll(/^\/|\/$/g, ''));
    const files = ['lib/infrastructure', '.github/workflows']
      .flatMap((folder) => readdirSync(join(root, folder)).map((file) => `${folder}/${file}`))
      .filter((file) => pattern.test(file));
    const strings = matchStrings.map((text) => new RegExp(text));
    return files.flatMap((file) => strings.flatMap((text) => text.exec(read(file))?.groups?.depName ?? []));
  });
  expect(found).toEqual([[expect.stringMatching(/^public\.ecr\.aws\//)], ['github.com/rhysd/actionlint']]);
});
