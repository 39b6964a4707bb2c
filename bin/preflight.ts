/** `npm run preflight -- <stage>`: whether everything is there that a deployment of the stage needs. Changes nothing. */
import { parseArgs } from 'node:util';

// The SDK speaks of its own future releases, which says nothing about this one.
process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED = 'true';

const usage = `Checks what a deployment of a stage needs, and changes nothing.

  npm run preflight -- <stage> [--online]

  --online            ask LaunchDarkly whether it takes the SDK keys
  --base-uri <url>    of LaunchDarkly; https://sdk.launchdarkly.com unless told
`;

try {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      online: { type: 'boolean', default: false },
      'base-uri': { type: 'string', default: 'https://sdk.launchdarkly.com' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  const [stage, ...more] = positionals;
  if (values.help) process.stdout.write(usage);
  else if (stage === undefined || more.length > 0) throw new Error('one stage must be given');
  else {
    // Loading the clients of AWS takes a second, which a misspelt option need not cost.
    const { runPreflight } = await import('./preflight/run.ts');
    const options = { stage, online: values.online, baseUri: values['base-uri'] };
    process.exitCode = await runPreflight(options, (text) => void process.stdout.write(text));
  }
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n\n${usage}`);
  process.exitCode = 2;
}
