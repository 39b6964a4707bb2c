/** Where the built functions are that travel in the published package. */
import { join } from 'node:path';

/** Set when the package is built (`npm run pack`): the directory, relative to the built module. */
declare const __PREBUILT__: string;

/** A file or directory in the published package, by its path there; undefined in a clone, where everything is built from its sources. */
export function prebuilt(path: string): string | undefined {
  return typeof __PREBUILT__ === 'undefined' ? undefined : join(import.meta.dirname, __PREBUILT__, path);
}
