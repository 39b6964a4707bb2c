/** `npm run preflight -- <stage>`: finds what would break a stage's deployment. Changes nothing. */
import { commandText } from '../lib/command-text.ts';
import { runCommand, UsageError } from './checks/command.ts';
import { APP_SAYS, JSON_SAYS, parseOptions } from './cli/usage.ts';
import { stageOfApp } from './stage-of-app.ts';

// Hides the SDK's notice about its future releases.
process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED = 'true';

const usage = `Finds what would break a stage's deployment before it starts. Changes nothing.

  ${commandText('preflight', '<stage> [--offline] [--fields] [--app <cdk.out>] [--json]')}

  --offline           ask AWS alone: neither LaunchDarkly about the SDK keys, nor registries about images
  --fields            read the secrets in Secrets Manager of which tasks need a field, and look for it
  --base-uri <url>    LaunchDarkly's address; default: the stage's BASE_URI, or https://sdk.launchdarkly.com
  --app <cdk.out>     ${APP_SAYS}
  --json              ${JSON_SAYS}

Exit codes: 0 no problem found, 1 problems to fix, 2 usage error.
`;

await runCommand(usage, async () => {
  const { values, positionals } = parseOptions({
    allowPositionals: true,
    options: {
      offline: { type: 'boolean', default: false },
      fields: { type: 'boolean', default: false },
      'base-uri': { type: 'string' },
      app: { type: 'string' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  const { offline, fields, json, 'base-uri': baseUri, app, help } = values;
  const [stage, ...more] = positionals;
  if (help) {
    process.stdout.write(usage);
    return 0;
  }
  if (stage === undefined || more.length > 0) throw new UsageError('expected one stage');
  if (baseUri !== undefined && !/^https?:\/\//.test(baseUri)) {
    throw new UsageError(`--base-uri ${baseUri} is invalid: expected a URL such as https://sdk.launchdarkly.com`);
  }
  // Imported here because loading the AWS clients takes a second, and a misspelt option should fail at once.
  const { runPreflight } = await import('./preflight/run.ts');
  const { paperOf } = await import('./checks/print.ts');
  const given = app === undefined ? {} : stageOfApp(stage, app);
  const paper = paperOf(process.stdout, process.env);
  return runPreflight(
    { stage, offline, fields, json, baseUri, paper, ...given },
    (text) => void process.stdout.write(text),
  );
});
