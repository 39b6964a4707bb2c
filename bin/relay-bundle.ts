/**
 * Bundles the relay into one file for its image: `tsx bin/relay-bundle.ts <directory>` leaves `relay.mjs` there,
 * the command `ld-relay` that starts it, its licence, the notices and the bill of materials of the packages in it, and a
 * Dockerfile with which the directory is the whole context of a build.
 */
import { chmodSync, copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildSync } from 'esbuild';
import packageJson from '../package.json' with { type: 'json' };
import { BILL_OF_MATERIALS_FILE, billOf, lockedPackages } from './relay-bundle/bill-of-materials.ts';
import { prebuiltDockerfile } from './relay-bundle/dockerfile.ts';
import { PROGRAM_OPTIONS } from './relay-bundle/options.ts';
import { bundledPackages, manifestOf, NOTICES_FILE, noticesOf } from './third-party-notices.ts';

const [outdir] = process.argv.slice(2);
if (!outdir) {
  console.error('No directory given. Usage: tsx bin/relay-bundle.ts <directory>');
  process.exit(1);
}
mkdirSync(outdir, { recursive: true });
const root = join(import.meta.dirname, '..');
const { metafile } = buildSync({
  absWorkingDir: root,
  entryPoints: [join(root, 'relay-task/main.ts')],
  outfile: join(outdir, 'relay.mjs'),
  ...PROGRAM_OPTIONS,
});
copyFileSync(join(root, 'LICENSE'), join(outdir, 'LICENSE'));
writeFileSync(join(outdir, NOTICES_FILE), noticesOf(metafile, root));
const manifests = bundledPackages(metafile).map((folder) => manifestOf(root, folder));
const bill = billOf(lockedPackages(root), packageJson, manifests);
writeFileSync(join(outdir, BILL_OF_MATERIALS_FILE), `${JSON.stringify(bill, null, 1)}\n`);
const dockerfile = readFileSync(join(root, 'relay-task/Dockerfile'), 'utf8');
writeFileSync(join(outdir, 'Dockerfile'), prebuiltDockerfile(dockerfile, packageJson.version));
const command = join(outdir, 'ld-relay');
// The image has neither a shell nor env, so the interpreter is given by its path there.
const node = process.env.RELAY_NODE ?? process.execPath;
// So does the kernel pass on one option. The relay has many small sockets: see docs/benchmarks.md for the size.
writeFileSync(command, `#!${node} --max-semi-space-size=2\nimport('./relay.mjs');\n`);
chmodSync(command, 0o755);
