/** The commands as the installed package has them: bundled, in a folder without anything of the repository. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { oncePerRun } from './once-per-run.ts';

const root = join(import.meta.dirname, '../..');

/** The folder with `edge-flag-relay.mjs` and `ld-relay.mjs`, which suites share: change nothing in it. */
export function commandBundle(): Promise<string> {
  return oncePerRun('commands', (folder) => {
    const bundle = `import('./bin/cli/bundle.ts').then(({ bundleCommands }) => bundleCommands(process.argv[1]));`;
    return promisify(execFile)(process.execPath, ['--import', 'tsx', '--eval', bundle, folder], { cwd: root });
  });
}
