/** `npm run compare -- <old relay> <new relay>`: tells whether two relays serve the same. */
import { setTimeout } from 'node:timers/promises';
import { runCommand } from './checks/command.ts';
import { paperOf } from './checks/print.ts';
import { usage } from './compare/arguments.ts';
import { runCompare } from './compare/run.ts';

await runCommand(usage, () =>
  runCompare(process.argv.slice(2), {
    ...{ env: process.env, paper: paperOf(process.stdout, process.env), pause: (ms) => setTimeout(ms) },
    out: (text) => void process.stdout.write(text),
    say: (text) => void process.stderr.write(text),
  }),
);
