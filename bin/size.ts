/**
 * Prints the sizes of the edge bundles in bytes, and exits with 1 if one exceeds its limit.
 * `reader` is the complete reader, `withoutBigSegments` the reader with Big Segments switched off.
 * `router` is the router's viewer-request function, which contains the reader, for a single flag, and `rules` is the same for rules; it runs on every
 * request, in the smallest container.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Rule } from '../lambda/edge-router/index.ts';
import type { EdgeConfigs } from '../lib/infrastructure/edge-bundle.ts';
import { bundleEdge } from '../lib/infrastructure/edge-size.ts';

/** Bytes, zipped: they keep the download and compilation of a cold start small. */
const LIMITS = { reader: 14_656, withoutBigSegments: 14_208, router: 18_304, rules: 25_600 } as const;

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

const site = { reader: readerConfig, variants: ['stable', 'canary'], defaultVariant: 'stable' };
/** One of each kind. */
const rule: Rule = {
  when: { path: '/checkout/*', cookie: { plan: 'gold' } },
  flagKey: 'new-checkout',
  variations: {
    canary: { origin: 'canary', rewrite: '/v2/*', requestHeaders: { 'x-a': '1' }, responseHeaders: { 'x-b': '1' } },
    moved: { redirect: { to: 'https://www.example.com/*' } },
    closed: { answer: { status: 503 } },
  },
};
const outdir = mkdtempSync(join(tmpdir(), 'edge-size-'));
const build = <E extends 'reader' | 'viewer-request'>(entry: E, config: EdgeConfigs[E], name: string) =>
  bundleEdge({ entry, config, outdir: join(outdir, name) });
const bundles = {
  reader: await build('reader', readerConfig, 'reader'),
  withoutBigSegments: await build('reader', { ...readerConfig, bigSegments: false }, 'without-big-segments'),
  router: await build('viewer-request', { ...site, flagKey: 'new-checkout' }, 'router'),
  rules: await build('viewer-request', { ...site, rules: [rule] }, 'rules'),
};
rmSync(outdir, { recursive: true });

const sizes = Object.entries(bundles).map(([name, { minifiedBytes, zipBytes }]) => [
  name,
  { minified: minifiedBytes, zip: zipBytes },
]);
console.log(JSON.stringify(Object.fromEntries(sizes)));
for (const name of ['reader', 'withoutBigSegments', 'router', 'rules'] as const) {
  const over = bundles[name].zipBytes - LIMITS[name];
  if (over <= 0) continue;
  console.error(`${name}: ${over} bytes over the limit of ${LIMITS[name]} (zipped); check recently added imports`);
  process.exitCode = 1;
}
