/** The subpaths of the package and their sources. In a clone they resolve to the sources. */
import { join } from 'node:path';
import { readPackageNames } from '../../lib/infrastructure/package-names.ts';

export const root = join(import.meta.dirname, '../..');

export interface Entry {
  /** `edge-reader` of `edge-flag-relay/edge-reader`. */
  readonly name: string;
  /** Its source, relative to the root. */
  readonly source: string;
}

export function readEntries(): Entry[] {
  return [...readPackageNames(root)].map(([path, source]) => ({ name: path.slice(path.indexOf('/') + 1), source }));
}

/** The constructs need packages that the user installs; everything else in the package needs none. */
export const CONSTRUCTS = 'constructs';
