import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildFunction } from '../function-bundle.ts';
import { LAYER_PACKAGE } from '../layer-bundle.ts';

const lambda = join(import.meta.dirname, '../../../lambda/canary');
const READER = '../edge-reader/index.ts';

export type CanaryEntry = 'caller' | 'reader' | 'edge';

/**
 * Bundles one of the functions into `index.cjs`; the Lambda handler is `index.handler`. The reader function does not
 * contain the edge reader: it requires the layer, to check that the layer works.
 */
export function buildCanary(entry: CanaryEntry, outdir: string): void {
  const outfile = buildFunction(join(lambda, `${entry}.entry.ts`), outdir, [READER]);
  if (entry !== 'reader') return;
  const code = readFileSync(outfile, 'utf8');
  const parts = code.split(`require(${JSON.stringify(READER)})`);
  if (parts.length !== 2)
    throw new Error(`the canary's reader must require ${READER} once, not ${parts.length - 1} times`);
  writeFileSync(outfile, parts.join(`require(${JSON.stringify(LAYER_PACKAGE)})`));
}
