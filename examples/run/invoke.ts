/**
 * `npx tsx examples/run/invoke.ts <file> [<event>]`: bundles a Lambda function and calls its handler in a process of its own, with the table
 * of `npm start` unless the environment names another one.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildSync } from 'esbuild';
import { localTable } from '../../bin/dev-settings.ts';
import { buildLayer, LAYER_PACKAGE } from '../../lib/infrastructure/layer-bundle.ts';

const USAGE = 'npx tsx examples/run/invoke.ts <file> [<event as JSON>]';
const root = join(import.meta.dirname, '../..');
const [file, event = '{"user":"tester"}'] = process.argv.slice(2);
if (file === undefined) {
  console.error(USAGE);
  process.exit(2);
}

const env = {
  AWS_REGION: 'eu-west-1',
  AWS_ACCESS_KEY_ID: 'local',
  AWS_SECRET_ACCESS_KEY: 'local',
  AWS_ENDPOINT_URL_DYNAMODB: 'http://127.0.0.1:8000',
  FLAG_TABLE: localTable,
  FLAG_PREFIX: 'local',
  ...process.env,
};
const directory = mkdtempSync(join(tmpdir(), 'example-'));
const opt = join(directory, 'opt');
const bundle = join(directory, 'index.cjs');
const { metafile } = buildSync({
  entryPoints: [file],
  outfile: bundle,
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'cjs',
  external: [LAYER_PACKAGE],
  metafile: true,
  define: { __EDGE_CONFIG__: JSON.stringify({ reader: readerConfig() }) },
});
const usesLayer = Object.values(metafile.outputs).some(({ imports }) =>
  imports.some(({ path }) => path === LAYER_PACKAGE),
);
if (usesLayer) buildLayer(opt);

const script = `require(${JSON.stringify(bundle)}).handler(${event}).then((answer) => {
  console.log(JSON.stringify(answer));
  // Lambda sends it before it ends a process, if an extension asks for that.
  process.emit('SIGTERM');
  process.exit(0);
});`;
const { status } = spawnSync(process.execPath, ['-e', script], {
  cwd: root,
  // As Lambda does it.
  env: { ...env, NODE_PATH: join(opt, 'nodejs/node_modules') },
  stdio: 'inherit',
});
rmSync(directory, { recursive: true });
process.exitCode = status ?? 1;

/** What a Lambda@Edge function has in its bundle. */
function readerConfig() {
  const { FLAG_TABLE: tableName, FLAG_PREFIX: prefix, AWS_ENDPOINT_URL_DYNAMODB: endpoint } = env;
  return { tableName, prefix, endpoint, replicas: { default: ['eu-west-1', 'us-east-1'] } };
}
