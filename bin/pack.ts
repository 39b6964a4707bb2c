/** `npm run pack`: builds the published package in `dist/`. `npm pack` and `npm publish` run it first. */
import { rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { buildAssets } from './pack/assets.ts';
import { buildCommands } from './pack/commands.ts';
import { readEntries, root } from './pack/entries.ts';
import { buildLibrary } from './pack/library.ts';
import { writeTypes } from './pack/types.ts';
import { NOTICES_FILE, noticesOf } from './third-party-notices.ts';

const [given, ...more] = process.argv.slice(2);
if (more.length > 0 || given?.startsWith('-')) {
  console.error('Usage: tsx bin/pack.ts [directory]   (default: dist)');
  process.exit(2);
}
const dist = resolve(given ?? join(root, 'dist'));
const [esm, cjs, assets, commands] = [join(dist, 'esm'), join(dist, 'cjs'), join(dist, 'assets'), join(dist, 'bin')];
for (const directory of [esm, cjs, assets, commands]) rmSync(directory, { recursive: true, force: true });

const entries = readEntries();
await buildLibrary(entries, { esm, cjs });
writeTypes(
  entries.map(({ source }) => source),
  [join(esm, 'types'), join(cjs, 'types')],
);
buildAssets(assets);
writeFileSync(join(dist, NOTICES_FILE), noticesOf(await buildCommands(commands), root));
