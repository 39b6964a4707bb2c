/** `npm run preview -- new-key|link …`: key pairs and links for testers of a site with the edge router. */
import { runPreview } from './preview/run.ts';

process.exitCode = await runPreview(process.argv.slice(2), {
  stdin: process.stdin,
  out: (text) => void process.stdout.write(text),
  say: (text) => void process.stderr.write(text),
});
