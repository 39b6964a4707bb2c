/** `npm run preflight -- <stage>`: checks the prerequisites of a stage's deployment. Changes nothing. */
import { parseArgs } from 'node:util';

// Hides the SDK's notice about its future releases.
process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED = 'true';

const usage = `Checks the prerequisites of a stage's deployment. Changes nothing.

  npm run preflight -- <stage> [--online]

  --online            ask LaunchDarkly whether it accepts the SDK keys
  --base-uri <url>    LaunchDarkly's address; default: https://sdk.launchdarkly.com
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
  else if (stage === undefined || more.length > 0) throw new Error('expected one stage');
  else {
    // Imported here because loading the AWS clients takes a second, and a misspelt option should fail at once.
    const { runPreflight } = await import('./preflight/run.ts');
    const options = { stage, online: values.online, baseUri: values['base-uri'] };
    process.exitCode = await runPreflight(options, (text) => void process.stdout.write(text));
  }
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n\n${usage}`);
  process.exitCode = 2;
}
