/** What several suites need and takes long to make, such as a bundle: made once in each run of jest, by whoever needs it first. */
import { existsSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { until } from './eventually.ts';

/** The folder of this run, which jest's global set-up makes and its tear-down removes. */
const RUN_FOLDER = 'EDGE_FLAG_RELAY_TEST_RUN';

/** The folder in which `make` has put it. Rejects if it cannot be made. */
export async function oncePerRun(name: string, make: (folder: string) => Promise<unknown>): Promise<string> {
  const run = process.env[RUN_FOLDER] ?? mkdtempSync(join(tmpdir(), 'edge-flag-relay-tests-'));
  const folder = join(run, name);
  const [done, failed] = [`${folder}.done`, `${folder}.failed`];
  try {
    mkdirSync(folder);
  } catch {
    await until(`another suite has made ${name}`, () => existsSync(done) || existsSync(failed));
    if (existsSync(failed)) throw new Error(`${name} could not be made; the suite that tried says why`);
    return folder;
  }
  try {
    await make(folder);
    writeFileSync(done, '');
    return folder;
  } catch (error) {
    writeFileSync(failed, '');
    throw error;
  }
}
