/** Where the built functions are that travel in the published package. */
import { join } from 'node:path';
import { inClone } from '../command-text.ts';

/** A file or directory in the published package, by its path there; undefined in a clone, where everything is built from its sources. */
export function prebuilt(path: string): string | undefined {
  // From any of the package's modules, which are in dist/cjs and dist/bin.
  return inClone ? undefined : join(import.meta.dirname, '../assets', path);
}
