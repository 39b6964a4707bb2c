/** The commands as the installed package has them: bundled, in a folder without anything of the repository. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { oncePerRun } from './once-per-run.ts';

const root = join(import.meta.dirname, '../..');

/** Builds them as `npm run pack` does. */
const BUILD = `
  const [folder] = process.argv.slice(1);
  const { buildAssets } = await import('./bin/pack/assets.ts');
  const { buildCommands } = await import('./bin/pack/commands.ts');
  buildAssets(folder + '/assets');
  await buildCommands(folder + '/bin');
`;

/** The folder with `edge-flag-relay.mjs` and `ld-relay.mjs`, which suites share: change nothing in it. */
export async function commandBundle(): Promise<string> {
  const folder = await oncePerRun('commands', (made) => {
    const args = ['--import', 'tsx', '--input-type=module', '--eval', BUILD, made];
    return promisify(execFile)(process.execPath, args, { cwd: root });
  });
  return join(folder, 'bin');
}
