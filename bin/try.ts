/** `npm run try -- <what>`: tries what `npm start` runs, in another terminal. */
import { painted, paperOf } from './checks/print.ts';
import { runTry } from './try/run.ts';

const { colour = false } = paperOf(process.stdout, process.env);
// A pipe may be closed before everything is read, as by head.
process.stdout.on('error', () => process.exit(0));
process.exitCode = await runTry(process.argv.slice(2), {
  out: (text) => void process.stdout.write(text),
  say: (text) => void process.stderr.write(text),
  env: process.env,
  paint: (one, text) => (colour ? painted(one, text) : text),
});
