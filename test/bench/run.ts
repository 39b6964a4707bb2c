/** `npm run bench` lists the benchmarks; `npm run bench -- <name> [--json]` runs one. Each describes its method at its top. */
import { readdirSync } from 'node:fs';

const names = readdirSync(import.meta.dirname)
  .filter((file) => file.endsWith('.ts') && file !== 'run.ts')
  .map((file) => file.slice(0, -'.ts'.length));
const name = process.argv[2];

if (name !== undefined && names.includes(name)) {
  process.argv.splice(2, 1);
  await import(`./${name}.ts`);
} else {
  console.error(`usage: npm run bench -- <name> [--json], where <name> is one of ${names.join(', ')}`);
  process.exit(name === undefined ? 0 : 2);
}
