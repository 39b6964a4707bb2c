/** What the constructs and commands deploy or read: functions, the layer, the image, rules. */
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { prebuildEdge } from '../../lib/infrastructure/edge-bundle.ts';
import { prebuildBundles } from '../../lib/infrastructure/own-bundles.ts';
import { prepareReplacementRules } from '../../lib/infrastructure/replacement-rules.ts';
import { prebuildStart } from '../dev/edge-host.ts';
import { root } from './entries.ts';

/** Where `prebuilt` of lib/infrastructure finds them. */
export function buildAssets(outdir: string): void {
  mkdirSync(outdir, { recursive: true });
  prebuildEdge(join(outdir, 'edge'));
  prebuildBundles(outdir);
  prepareReplacementRules(outdir);
  buildImage(join(outdir, 'image'));
  prebuildStart(join(outdir, 'start'));
}

/** The path of Node.js in the base image. */
const NODE_IN_IMAGE = '/nodejs/bin/node';

/** The directory from which the relay's image is built, without npm and without network but for the base image. */
function buildImage(outdir: string): void {
  const tsx = join(root, 'node_modules/tsx/dist/cli.mjs');
  const env = { ...process.env, RELAY_NODE: NODE_IN_IMAGE };
  execFileSync(process.execPath, [tsx, 'bin/relay-bundle.ts', outdir], { cwd: root, env, stdio: ['ignore', 2, 2] });
}
