import { readFileSync } from 'node:fs';
import { join, normalize } from 'node:path';

/** The package's own names, such as `edge-flag-relay/edge-reader`, with their sources relative to the repository's root: `tsconfig.json` has them. */
export function readPackageNames(root: string): ReadonlyMap<string, string> {
  const { compilerOptions } = JSON.parse(readFileSync(join(root, 'tsconfig.json'), 'utf8')) as {
    compilerOptions: { paths: Readonly<Record<string, readonly [string]>> };
  };
  return new Map(Object.entries(compilerOptions.paths).map(([name, [source]]) => [name, normalize(source)]));
}
