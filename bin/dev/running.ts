/** What `npm start` tells `npm run try`: a small file in the directory for temporary files, there for as long as it runs. */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';

export interface Running {
  readonly pid: number;
  readonly relayUrl: string;
  readonly dynamoDBUrl: string;
  readonly edgeUrl: string;
  readonly tableName: string;
  /** Of the items of the environment whose flags the edge reads. */
  readonly prefix: string;
  /** The environment's name; its SDK key is here only if it is the one of a flags file. */
  readonly environment: string;
  readonly sdkKey?: string | undefined;
  /** The file that flags come from; undefined: from LaunchDarkly. */
  readonly flagsFile?: string | undefined;
  /** Whether that file is a copy of the example, and may be edited by a command. */
  readonly isCopy: boolean;
  /** The flag that routes viewers. */
  readonly flagKey?: string | undefined;
  /** Names of sample origins. */
  readonly origins: readonly string[];
}

/** One for each user: the one that was started last. */
const file = () => join(tmpdir(), `edge-flag-relay-${userInfo().uid}.json`);

/** Returns what removes it again. */
export function announce(running: Running): () => void {
  // Another user could have put a link there.
  rmSync(file(), { force: true });
  writeFileSync(file(), JSON.stringify(running), { mode: 0o600, flag: 'wx' });
  return () => {
    if (read()?.pid === running.pid) rmSync(file(), { force: true });
  };
}

/** What runs now; undefined if nothing does. */
export function findRunning(): Running | undefined {
  const found = read();
  return found && isAlive(found.pid) ? found : undefined;
}

function read(): Running | undefined {
  try {
    return JSON.parse(readFileSync(file(), 'utf8')) as Running;
  } catch {
    return undefined;
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
