/** The bundles of functions that have no configuration of their own, and of the layer. */
import { join } from 'node:path';
import { bundledOnce } from './bundle-cache.ts';
import { buildFunction } from './function-bundle.ts';
import { buildLayer } from './layer-bundle.ts';
import { buildCanary } from './observability/canary-bundle.ts';
import { prebuilt } from './prebuilt.ts';

const lambda = join(import.meta.dirname, '../../lambda');

const builders = {
  'canary-caller': (outdir) => buildCanary('caller', outdir),
  'canary-edge': (outdir) => buildCanary('edge', outdir),
  'canary-reader': (outdir) => buildCanary('reader', outdir),
  'edge-logs': (outdir) => void buildFunction(join(lambda, 'edge-logs/groups.entry.ts'), outdir),
  'exposures-collector': (outdir) => void buildFunction(join(lambda, 'edge-events/collector.entry.ts'), outdir),
  'exposures-sender': (outdir) => void buildFunction(join(lambda, 'edge-events/sender.entry.ts'), outdir),
  'reader-layer': buildLayer,
} as const satisfies Record<string, (outdir: string) => void>;

export type OwnBundle = keyof typeof builders;

/** The directory with the bundle: in the published package it is there already, in a clone it is built once per process. */
export function bundleDirectory(name: OwnBundle): string {
  return prebuilt(name) ?? bundledOnce(name, builders[name]);
}

/** Builds all of them, for the published package. */
export function prebuildBundles(outdir: string): void {
  for (const [name, build] of Object.entries(builders)) build(join(outdir, name));
}
