/** `npm run release -- <patch|minor|major|x.y.z>`: makes the changelog's section, the version, the commit and the tag of a release. */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { runCommand, UsageError } from './checks/command.ts';
import { printNotes, runRelease } from './release/run.ts';

const usage = `Makes a release in this clone: the changelog's section, the version, a commit and a tag. Pushes nothing.

  npm run release -- <patch|minor|major|x.y.z> [--dry-run]
  npm run release -- --notes <x.y.z>

  --dry-run           print the section and change nothing
  --notes <x.y.z>     print the section of a release that was made; npm run -s keeps npm's own lines out

Exit codes: 0 success, 1 not released, 2 usage error.
`;

await runCommand(usage, async () => {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      'dry-run': { type: 'boolean', default: false },
      notes: { type: 'string' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(usage);
    return 0;
  }
  const options = {
    directory: join(import.meta.dirname, '..'),
    today: new Date().toISOString().slice(0, 10),
    out: (text: string) => void process.stdout.write(text),
    say: (text: string) => void process.stderr.write(text),
  };
  const [wanted, ...more] = positionals;
  if (values.notes !== undefined && wanted === undefined) return printNotes(values.notes, options);
  if (wanted === undefined || more.length > 0 || values.notes !== undefined)
    throw new UsageError('expected one version');
  return runRelease(wanted, values['dry-run'], options);
});
