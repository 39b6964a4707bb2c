/** `npm run store -- show|verify|drop-snapshot …`: the operator's view of the flag table. */
import { runStore } from './store/run.ts';

// The SDK speaks of its own future releases, which says nothing about this one.
process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED = 'true';
process.exitCode = await runStore(process.argv.slice(2), {
  env: process.env,
  terminal: {
    stdin: process.stdin,
    out: (text) => void process.stdout.write(text),
    say: (text) => void process.stderr.write(text),
  },
});
