/**
 * Prints the sizes of the edge bundles in bytes, and exits with 1 if one exceeds its limit.
 * `router` is its viewer-request function, which carries the reader; it runs on every request, in the smallest container.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bundleEdge } from '../lib/infrastructure/edge-bundle.ts';

/** Bytes, zipped: they keep the download and compilation of a cold start small. */
const LIMITS = { reader: 14_336, router: 16_640 } as const;

const readerConfig = {
  tableName: 'edge-flag-relay-prod',
  prefix: 'production',
  replicas: {
    'us-east-1': ['us-east-1', 'eu-west-1'],
    'eu-west-1': ['eu-west-1', 'us-east-1'],
    'ap-northeast-1': ['ap-northeast-1', 'us-east-1'],
    default: ['eu-west-1', 'us-east-1', 'ap-northeast-1'],
  },
};

const outdir = mkdtempSync(join(tmpdir(), 'edge-size-'));
const reader = await bundleEdge({ entry: 'reader', config: readerConfig, outdir: join(outdir, 'reader') });
const router = await bundleEdge({
  entry: 'viewer-request',
  config: { reader: readerConfig, flagKey: 'new-checkout', variants: ['stable', 'canary'], defaultVariant: 'stable' },
  outdir: join(outdir, 'router'),
});
rmSync(outdir, { recursive: true });

const sizes = { reader, router };
console.log(
  JSON.stringify({
    reader: { minified: reader.minifiedBytes, zip: reader.zipBytes },
    router: { minified: router.minifiedBytes, zip: router.zipBytes },
  }),
);
for (const name of ['reader', 'router'] as const) {
  const over = sizes[name].zipBytes - LIMITS[name];
  if (over <= 0) continue;
  console.error(`${name}: ${over} bytes over the limit of ${LIMITS[name]} (zipped); check recently added imports`);
  process.exitCode = 1;
}
