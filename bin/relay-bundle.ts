/**
 * Bundles the relay into one file for its image: `tsx bin/relay-bundle.ts <directory>` leaves `relay.mjs` there, and
 * the command `ld-relay` that starts it.
 */
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildSync } from 'esbuild';

const [outdir] = process.argv.slice(2);
if (!outdir) {
  console.error('which directory? tsx bin/relay-bundle.ts <directory>');
  process.exit(1);
}
mkdirSync(outdir, { recursive: true });
buildSync({
  entryPoints: [join(import.meta.dirname, '../relay-task/main.ts')],
  outfile: join(outdir, 'relay.mjs'),
  bundle: true,
  minifySyntax: true,
  minifyWhitespace: true,
  // Names of functions stay, for stack traces in the log.
  keepNames: true,
  // main.ts awaits at its top level, which CommonJS cannot.
  format: 'esm',
  platform: 'node',
  target: 'node20',
  // Some dependencies are CommonJS and ask for Node.js's own modules by `require`.
  banner: { js: `import{createRequire as makeRequire}from'node:module';const require=makeRequire(import.meta.url);` },
  legalComments: 'none',
  logLevel: 'warning',
});
const command = join(outdir, 'ld-relay');
// No shell and no env in the image: the interpreter by its path, as the image has it.
const node = process.env.RELAY_NODE ?? process.execPath;
writeFileSync(command, `#!${node}\nimport('./relay.mjs');\n`);
chmodSync(command, 0o755);
