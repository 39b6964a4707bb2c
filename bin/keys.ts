/** `npm run keys -- put|list|rotate|revoke …`: manages environments' keys in SSM. */
import { runKeys } from './keys/run.ts';

// Hides the SDK's notice about its future releases.
process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED = 'true';
process.exitCode = await runKeys(process.argv.slice(2), {
  stdin: process.stdin,
  out: (text) => void process.stdout.write(text),
  say: (text) => void process.stderr.write(text),
});
