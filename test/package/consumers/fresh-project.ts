/** Projects as users make them: in folders outside the repository, with npm or pnpm, from the packed tarball. */
import { execFile } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { packedTarball } from '../../support/tarball.ts';

export const projects = join(import.meta.dirname, 'projects');
const parts = join(import.meta.dirname, 'parts');
const installed = join(import.meta.dirname, '../../../.cache/interop/consumers');

/** The folders of `parts`, each with a manifest and a lock file. */
export const partNames = readdirSync(parts).sort();

export function partFile(part: string, ending: string): string {
  const folder = join(parts, part);
  return readFileSync(join(folder, readdirSync(folder).find((name) => name.endsWith(ending))!), 'utf8');
}

/** Whether `test/interop/install.sh` has fetched everything that these lock files name. */
export const partsAreInstalled =
  existsSync(join(installed, 'locks')) &&
  readFileSync(join(installed, 'locks'), 'utf8') === partNames.map((name) => lockOf(name)).join('');

function lockOf(part: string): string {
  return partFile(part, existsSync(join(parts, part, 'pnpm-lock.yaml')) ? 'pnpm-lock.yaml' : 'package-lock.json');
}

export interface Project {
  readonly folder: string;
  /** Runs a command in the project, with the project's commands in its PATH. Rejects with its output if it fails. */
  run(command: string, args: readonly string[], env?: Readonly<Record<string, string>>): Promise<string>;
}

const home = mkdtempSync(join(tmpdir(), 'home-'));
export const removeHome = (): void => rmSync(home, { recursive: true, force: true });

/** A user's variables: neither ours, nor npm's of the run of the tests, nor credentials. */
export const userVariables = (folder: string) => ({
  PATH: [join(folder, 'node_modules/.bin'), dirname(process.execPath), process.env.PATH].join(delimiter),
  HOME: home,
  TMPDIR: tmpdir(),
  AWS_EC2_METADATA_DISABLED: 'true',
  CDK_DISABLE_CLI_TELEMETRY: 'true',
  // A synthesis that wanted Docker would fail.
  CDK_DOCKER: '/bin/false',
  npm_config_update_notifier: 'false',
});

export function projectIn(folder: string): Project {
  return {
    folder,
    async run(command, args, env = {}) {
      const options = { cwd: folder, env: { ...userVariables(folder), ...env }, maxBuffer: 64 * 1024 * 1024 };
      try {
        return (await promisify(execFile)(command, args, options)).stdout;
      } catch (error) {
        const { stdout, stderr } = error as { stdout: string; stderr: string };
        throw new Error(`${[command, ...args].join(' ')} in ${folder} failed:\n${stdout}\n${stderr}`);
      }
    },
  };
}

/** A folder with these files, outside of any other project. */
function newFolder(name: string, ...sources: readonly string[]): string {
  const folder = join(mkdtempSync(join(tmpdir(), 'fresh-')), name);
  mkdirSync(folder);
  for (const source of sources) cpSync(source, folder, { recursive: true });
  return folder;
}

const npmOptions = ['--offline', '--no-audit', '--no-fund', '--cache', join(installed, 'npm-cache')];
const pnpmOptions = [
  '--offline',
  '--store-dir',
  join(installed, 'pnpm-store'),
  '--cache-dir',
  join(installed, 'pnpm-cache'),
];

/** `npm install <tarball>` in a project with these parts, or with nothing else. */
export async function npmProject(name: string, part?: string, ...sources: readonly string[]): Promise<Project> {
  const project = projectIn(newFolder(name, ...(part ? [join(parts, part)] : []), ...sources));
  if (!part) writeFileSync(join(project.folder, 'package.json'), '{}');
  await project.run('npm', ['install', ...npmOptions, await packedTarball()]);
  return project;
}

export async function pnpmProject(name: string, part: string, ...sources: readonly string[]): Promise<Project> {
  const project = projectIn(newFolder(name, join(parts, part), ...sources));
  const pnpm = join(installed, 'node_modules/pnpm/bin/pnpm.cjs');
  await project.run(process.execPath, [pnpm, 'add', ...pnpmOptions, await packedTarball()]);
  return project;
}

export const removeProject = ({ folder }: Project): void => rmSync(dirname(folder), { recursive: true, force: true });

/** What npm has installed, as paths from the project's folder. */
export function installedPackages({ folder }: Project): string[] {
  const lock = readFileSync(join(folder, 'node_modules/.package-lock.json'), 'utf8');
  return Object.keys(JSON.parse(lock).packages);
}

export function installedBytes({ folder }: Project): number {
  const files = readdirSync(join(folder, 'node_modules'), { recursive: true, withFileTypes: true });
  const sizes = files.map((file) => (file.isFile() ? statSync(join(file.parentPath, file.name)).size : 0));
  return sizes.reduce((sum, size) => sum + size, 0);
}
