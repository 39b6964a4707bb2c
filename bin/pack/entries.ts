/** The subpaths of the package and their sources. `tsconfig.json` has them: in a clone they resolve to the sources. */
import { readFileSync } from 'node:fs';
import { join, normalize } from 'node:path';

export const root = join(import.meta.dirname, '../..');

export interface Entry {
  /** `edge-reader` of `edge-flag-relay/edge-reader`. */
  readonly name: string;
  /** Its source, relative to the root. */
  readonly source: string;
}

export function readEntries(): Entry[] {
  const { compilerOptions } = JSON.parse(readFileSync(join(root, 'tsconfig.json'), 'utf8')) as {
    compilerOptions: { paths: Readonly<Record<string, readonly [string]>> };
  };
  return Object.entries(compilerOptions.paths).map(([path, [source]]) => ({
    name: path.slice(path.indexOf('/') + 1),
    source: normalize(source),
  }));
}

/** The constructs need packages that the user installs; everything else in the package needs none. */
export const CONSTRUCTS = 'constructs';
