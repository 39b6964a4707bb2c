import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { UsageError } from '../checks/command.ts';
import { notesOf, releasedVersions, unreleasedEntries, withRelease } from './changelog.ts';

const BRANCH = 'main';
const FILES = ['CHANGELOG.md', 'package.json', 'package-lock.json'] as const;

export interface ReleaseOptions {
  /** The repository. */
  readonly directory: string;
  /** `yyyy-mm-dd` */
  readonly today: string;
  readonly out: (text: string) => void;
  readonly say: (text: string) => void;
}

const run = promisify(execFile);

/**
 * Makes the changelog's section, the version, a commit and a tag, or says everything that forbids it and changes nothing. Returns the exit code.
 * @param wanted `patch`, `minor`, `major` or a version
 */
export async function runRelease(
  wanted: string,
  dryRun: boolean,
  { directory, today, out, say }: ReleaseOptions,
): Promise<number> {
  const read = (file: string) => readFileSync(join(directory, file), 'utf8');
  const manifest = JSON.parse(read('package.json')) as { version: string; repository?: { url?: string } };
  const changelog = read('CHANGELOG.md');
  const version = versionFrom(wanted, manifest.version);
  const tag = `v${version}`;
  const git = async (...args: string[]) => (await run('git', args, { cwd: directory })).stdout.trimEnd();

  const problems = [];
  const branch = await git('branch', '--show-current');
  if (branch !== BRANCH) {
    const here = branch === '' ? 'no branch is checked out' : `this is the branch "${branch}"`;
    problems.push(`Releases are made on "${BRANCH}", and ${here}: git switch ${BRANCH}`);
  }
  const changed = await git('status', '--porcelain');
  if (changed !== '') problems.push(`The working tree has changes; commit them or undo them:\n${changed}`);
  if (unreleasedEntries(changelog) === '') problems.push('CHANGELOG.md has no entry under Unreleased.');
  if ((await git('tag', '--list', tag)) !== '') problems.push(`The tag ${tag} exists already.`);
  const [newest] = releasedVersions(changelog);
  if (newest !== undefined && compareVersions(version, newest) <= 0)
    problems.push(`${version} is not higher than ${newest}, the newest release in CHANGELOG.md.`);
  if (compareVersions(version, manifest.version) < 0)
    problems.push(`${version} is lower than ${manifest.version}, the version in package.json.`);
  const repository = repositoryOf(manifest.repository?.url);
  if (repository === undefined)
    problems.push('package.json has no "repository" with the URL for the links in CHANGELOG.md.');
  if (problems.length > 0 || repository === undefined) {
    say(`Not released:\n${problems.map((problem) => `- ${problem}\n`).join('')}`);
    return 1;
  }

  const after = withRelease(changelog, version, today, repository);
  const title = `chore(release): ${version}`;
  if (dryRun) {
    out(`## [${version}] - ${today}\n\n${notesOf(after, version)}\n\n`);
    say(`Without --dry-run: changes ${FILES.join(', ')}; commits "${title}"; tags ${tag}.\n`);
    return 0;
  }
  try {
    writeFileSync(join(directory, 'CHANGELOG.md'), after);
    const args = ['version', version, '--no-git-tag-version', '--allow-same-version', '--ignore-scripts'];
    await run('npm', args, { cwd: directory });
    await git('commit', '--quiet', '--message', title, '--', ...FILES);
  } catch (error) {
    await git('checkout', '--quiet', 'HEAD', '--', ...FILES);
    say(`Not released, and nothing is changed: ${reasonOf(error)}\n`);
    return 1;
  }
  // Headings begin with git's character for comments.
  const message = `${version}\n\n${notesOf(after, version)}\n`;
  try {
    await git('tag', '--annotate', tag, '--cleanup=whitespace', '--message', message);
  } catch (error) {
    say(
      `Committed, but not tagged: ${reasonOf(error)}\nUndo the commit with git reset --keep HEAD~1, or tag it yourself.\n`,
    );
    return 1;
  }
  say(`Released ${version} in this clone. Publish it: git push --atomic origin ${BRANCH} ${tag}\n`);
  return 0;
}

/** Prints a release's section of the changelog, for the release on GitHub. @param release its version or its tag */
export function printNotes(release: string, { directory, out, say }: ReleaseOptions): number {
  const version = release.replace(/^v/, '');
  const notes = notesOf(readFileSync(join(directory, 'CHANGELOG.md'), 'utf8'), version);
  if (notes === undefined) {
    say(`CHANGELOG.md has no section of ${version}.\n`);
    return 1;
  }
  out(`${notes}\n`);
  return 0;
}

const partsOf = (version: string) => version.split('.').map(Number) as [number, number, number];

function compareVersions(one: string, other: string): number {
  const [left, right] = [partsOf(one), partsOf(other)];
  const differing = left.findIndex((part, index) => part !== right[index]);
  return differing < 0 ? 0 : (left[differing] ?? 0) - (right[differing] ?? 0);
}

function versionFrom(wanted: string, present: string): string {
  const [major, minor, patch] = partsOf(present);
  if (wanted === 'major') return `${major + 1}.0.0`;
  if (wanted === 'minor') return `${major}.${minor + 1}.0`;
  if (wanted === 'patch') return `${major}.${minor}.${patch + 1}`;
  if (!/^(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}$/.test(wanted))
    throw new UsageError(`"${wanted}" is invalid: expected patch, minor, major or a version such as 1.2.3`);
  return wanted;
}

/** `git+https://github.com/owner/name.git` as the address of its page. */
function repositoryOf(url: string | undefined): string | undefined {
  return /^(?:git\+)?(https:\/\/.+?)(?:\.git)?$/.exec(url ?? '')?.[1];
}

function reasonOf(error: unknown): string {
  const { stderr, message } = error as { stderr?: string; message: string };
  return stderr?.trim() || message;
}
