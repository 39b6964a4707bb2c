/** Releases of a throw-away repository. */
import { execFileSync, spawnSync } from 'node:child_process';
import { appendFileSync, chmodSync, cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { notesOf, releasedVersions, unreleasedEntries, withRelease } from '../../bin/release/changelog.ts';
import { printNotes, runRelease } from '../../bin/release/run.ts';
import { closeAfterEach } from '../support/opened.ts';

const { behind } = closeAfterEach();

const intro = '# Changelog\n\nThe format follows Keep a Changelog.\n';
const entries = '### Added\n\n- A setting `A`,\n  with a second line.\n\n### Fixed\n\n- A crash.\n';
const unreleased = `${intro}\n## Unreleased\n\n${entries}`;
const repository = 'https://github.com/example/relay';

describe('the changelog', () => {
  const first = `${intro}
## Unreleased

## [0.2.0] - 2026-11-30

${entries}
[0.2.0]: ${repository}/releases/tag/v0.2.0
`;

  test('gets a section with version, date and link below an empty Unreleased', () => {
    expect(withRelease(unreleased, '0.2.0', '2026-11-30', repository)).toBe(first);
  });

  test("keeps older sections, and a newer one's link compares the two", () => {
    const before = first.replace('## Unreleased\n', '## Unreleased\n\n### Changed\n\n- B.\n');
    expect(withRelease(before, '0.3.0', '2026-12-24', repository)).toBe(`${intro}
## Unreleased

## [0.3.0] - 2026-12-24

### Changed

- B.

## [0.2.0] - 2026-11-30

${entries}
[0.3.0]: ${repository}/compare/v0.2.0...v0.3.0
[0.2.0]: ${repository}/releases/tag/v0.2.0
`);
  });

  test('loses headings without entries, but none above entries', () => {
    const before = `${intro}\n## Unreleased\n\n### Added\n\n#### Relay\n\n#### Edge\n\n- A.\n\n### Changed\n\n#### Edge\n\n### Fixed\n\n## [0.1.0] - 2026-01-01\n\n- B.\n`;
    expect(unreleasedEntries(before)).toBe('### Added\n\n#### Edge\n\n- A.');
  });

  test("gives one release's notes, whatever is around them", () => {
    const text = withRelease(
      first.replace('## Unreleased\n', '## Unreleased\n\n- B.\n'),
      '0.3.0',
      '2026-12-24',
      repository,
    );
    expect(notesOf(text, '0.3.0')).toBe('- B.');
    expect(notesOf(text, '0.2.0')).toBe(entries.trim());
    expect(notesOf(text, '0.2')).toBeUndefined();
  });
});

test("this repository's changelog has notes and a link for each release, newest first", () => {
  const text = readFileSync(join(import.meta.dirname, '../../CHANGELOG.md'), 'utf8');
  const versions = releasedVersions(text);
  expect(versions).toContain('0.2.0');
  expect(() => unreleasedEntries(text)).not.toThrow();
  for (const version of versions) expect(notesOf(text, version)).toMatch(/^- /m);
  const links = [...text.matchAll(/^\[(\d+\.\d+\.\d+)\]: https:\/\/\S+\/v(\S+)$/gm)].map(([, from, to]) => [from, to]);
  expect(links).toEqual(versions.map((version) => [version, version]));
});

const manifest = { name: 'relay', version: '0.1.0', repository: { url: `git+${repository}.git` } };
const json = (value: unknown) => `${JSON.stringify(value, undefined, 2)}\n`;

/** On `main` with one commit; its entry is not released yet. Copied for each test, since git takes ten processes to make it. */
const template = mkdtempSync(join(tmpdir(), 'release-'));
beforeAll(() => {
  const { name, version } = manifest;
  const lock = { name, version, lockfileVersion: 3, requires: true, packages: { '': { name, version } } };
  const files = { 'package.json': json(manifest), 'package-lock.json': json(lock), 'CHANGELOG.md': unreleased };
  for (const [file, text] of Object.entries(files)) writeFileSync(join(template, file), text);
  const git = (...args: string[]) => execFileSync('git', args, { cwd: template });
  git('init', '--quiet', '--initial-branch=main');
  const config = '[user]\nname = A\nemail = a@example.com\n[commit]\ngpgSign = false\n[tag]\ngpgSign = false\n';
  appendFileSync(join(template, '.git/config'), config);
  git('add', '.');
  git('commit', '--quiet', '--message', 'first');
});
afterAll(() => rmSync(template, { recursive: true }));

function createRepository() {
  const directory = mkdtempSync(join(tmpdir(), 'release-'));
  behind(() => rmSync(directory, { recursive: true }));
  cpSync(template, directory, { recursive: true });
  const write = (file: string, text: string) => writeFileSync(join(directory, file), text);
  const read = (file: string) => readFileSync(join(directory, file), 'utf8');
  const git = (...args: string[]) => execFileSync('git', args, { cwd: directory, encoding: 'utf8' }).trim();
  const commit = (file: string, text: string) => {
    write(file, text);
    git('commit', '--quiet', '--all', '--message', 'second');
  };
  const release = async (wanted: string, dryRun = false) => {
    const { options, printed } = recorder(directory);
    const exitCode = await runRelease(wanted, dryRun, options);
    return { exitCode, ...printed };
  };
  /** Everything that a release changes. */
  const state = () => [git('log', '--format=%H'), git('tag'), git('status', '--porcelain'), git('diff', 'HEAD')];
  return { directory, write, read, git, commit, release, state };
}

/** What a release prints. */
function recorder(directory: string) {
  const printed = { out: '', said: '' };
  const out = (text: string) => {
    printed.out += text;
  };
  const say = (text: string) => {
    printed.said += text;
  };
  return { printed, options: { directory, today: '2026-11-30', out, say } };
}

type Repository = ReturnType<typeof createRepository>;

describe('a release is refused', () => {
  const cases: [when: string, prepare: (repository: Repository) => void, wanted: string, said: RegExp][] = [
    [
      'on another branch',
      ({ git }) => git('switch', '--quiet', '-c', 'topic'),
      'minor',
      /branch "topic": git switch main/,
    ],
    ['on no branch', ({ git }) => git('checkout', '--quiet', '--detach'), 'minor', /no branch is checked out/],
    [
      'with a changed file',
      ({ write }) => write('CHANGELOG.md', 'x\n## Unreleased\n- A.\n'),
      'minor',
      /^ M CHANGELOG\.md/m,
    ],
    ['with a new file', ({ write }) => write('new.txt', ''), 'minor', /\?\? new\.txt/],
    ['if its tag exists', ({ git }) => git('tag', 'v0.2.0'), 'minor', /tag v0\.2\.0 exists already/],
    ['below the version in package.json', () => {}, '0.0.9', /0\.0\.9 is lower than 0\.1\.0/],
  ];

  test.each(cases)('%s @heavy', async (_when, prepare, wanted, said) => {
    const made = createRepository();
    prepare(made);
    const before = made.state();
    expect(await made.release(wanted)).toEqual({ exitCode: 1, out: '', said: expect.stringMatching(said) });
    expect(made.state()).toEqual(before);
  });

  test('without entries, and all reasons are given at once', async () => {
    const { git, commit, release } = createRepository();
    commit('CHANGELOG.md', `${intro}\n## Unreleased\n\n### Added\n\n## [1.0.0] - 2026-01-01\n\n- A.\n`);
    git('switch', '--quiet', '-c', 'topic');
    const { said } = await release('patch');
    expect(said.split('\n').filter((line) => line.startsWith('- '))).toEqual([
      expect.stringContaining('branch "topic"'),
      '- CHANGELOG.md has no entry under Unreleased.',
      '- 0.1.1 is not higher than 1.0.0, the newest release in CHANGELOG.md.',
    ]);
  });

  test('without a repository for the links', async () => {
    const { commit, release } = createRepository();
    commit('package.json', json({ ...manifest, repository: undefined }));
    expect((await release('minor')).said).toMatch(/package\.json has no "repository"/);
  });

  test.each(['', 'v0.2.0', '0.2', '0.02.0', '0.2.0-rc.1', 'Minor'])('as %j, which is no version', async (wanted) => {
    const { options } = recorder(template);
    const expected = /is invalid: expected patch, minor, major or a version/;
    await expect(runRelease(wanted, true, options)).rejects.toThrow(expected);
  });
});

test('--dry-run prints the section and changes nothing', async () => {
  const { release, state } = createRepository();
  const before = state();
  const { exitCode, out, said } = await release('minor', true);
  expect([exitCode, out]).toEqual([0, `## [0.2.0] - 2026-11-30\n\n${entries}\n`]);
  expect(said).toMatch(/commits "chore\(release\): 0\.2\.0"; tags v0\.2\.0/);
  expect(state()).toEqual(before);
});

test.each([
  ['patch', '0.1.1'],
  ['minor', '0.2.0'],
  ['major', '1.0.0'],
  ['3.10.0', '3.10.0'],
])('%s after 0.1.0 is %s', async (wanted, version) => {
  const { options, printed } = recorder(template);
  await runRelease(wanted, true, options);
  expect(printed.out.split(' - ')[0]).toBe(`## [${version}]`);
});

/** The first release may have the version that package.json has already. */
test.each(['0.2.0', '0.1.0'])('%s becomes a section, a version, a commit and a tag @heavy', async (version) => {
  const { read, git, release, directory } = createRepository();
  expect(await release(version)).toMatchObject({ exitCode: 0, said: expect.stringContaining(`main v${version}\n`) });
  expect(JSON.parse(read('package.json'))).toEqual({ ...manifest, version });
  const lock = JSON.parse(read('package-lock.json'));
  expect([lock.version, lock.packages[''].version]).toEqual([version, version]);
  expect(git('status', '--porcelain')).toBe('');
  expect(git('log', '--format=%s')).toBe(`chore(release): ${version}\nfirst`);
  const changed = ['CHANGELOG.md', ...(version === '0.1.0' ? [] : ['package-lock.json', 'package.json'])];
  expect(git('show', '--name-only', '--format=').split('\n')).toEqual(changed);
  expect(git('tag', '--points-at', 'HEAD')).toBe(`v${version}`);
  expect(git('tag', '--list', '--format=%(objecttype) %(contents)')).toBe(`tag ${version}\n\n${entries.trim()}`);

  const { options, printed } = recorder(directory);
  expect([printNotes(`v${version}`, options), printed.out]).toEqual([0, entries]);
  expect((await release('minor')).said).toMatch(/no entry under Unreleased/);
});

test('nothing is changed if git refuses the commit @heavy', async () => {
  const { directory, write, release, state } = createRepository();
  write('.git/hooks/pre-commit', '#!/bin/sh\necho no >&2\nexit 1\n');
  chmodSync(join(directory, '.git/hooks/pre-commit'), 0o755);
  const before = state();
  expect(await release('minor')).toMatchObject({ exitCode: 1, said: 'Not released, and nothing is changed: no\n' });
  expect(state()).toEqual(before);
});

test('notes of a release that was not made are refused', () => {
  const { options, printed } = recorder(template);
  expect([printNotes('v9.9.9', options), printed.said]).toEqual([1, 'CHANGELOG.md has no section of 9.9.9.\n']);
});

test('notes of what is no version are refused, even if it is part of a pattern', () => {
  const { options, printed } = recorder(template);
  expect([printNotes('(', options), printed.said]).toEqual([1, 'CHANGELOG.md has no section of (.\n']);
});

test('the command explains itself, and ends with 2 if it is called wrongly @heavy', () => {
  const root = join(import.meta.dirname, '../..');
  const command = (...args: string[]) =>
    spawnSync(process.execPath, ['--import', 'tsx', 'bin/release.ts', ...args], { cwd: root, encoding: 'utf8' });
  expect(command('--help')).toMatchObject({ status: 0, stdout: expect.stringContaining('--dry-run') });
  for (const args of [[], ['minor', 'major'], ['--notes', '1.0.0', 'minor'], ['--dryrun', 'minor']])
    expect(command(...args)).toMatchObject({ status: 2, stderr: expect.stringContaining('Exit codes:') });
});
