/** `npm run store -- show|verify|drop-snapshot …`: inspects the flag table. */
import { runStore } from './store/run.ts';

// Hides the SDK's notice about its future releases.
process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED = 'true';
process.exitCode = await runStore(process.argv.slice(2), {
  env: process.env,
  terminal: {
    stdin: process.stdin,
    out: (text) => void process.stdout.write(text),
    say: (text) => void process.stderr.write(text),
  },
});
