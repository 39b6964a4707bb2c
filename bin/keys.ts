/** `npm run keys -- put|list|rotate|revoke …`: the operator's hand on the keys in SSM. */
import { runKeys } from './keys/run.ts';

// The SDK speaks of its own future releases, which says nothing about this one.
process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED = 'true';
process.exitCode = await runKeys(process.argv.slice(2), {
  stdin: process.stdin,
  out: (text) => void process.stdout.write(text),
  say: (text) => void process.stderr.write(text),
});
