/** `npm run verify -- <stage>`: says whether a deployed stage works. Changes nothing. */
import { commandText } from '../lib/command-text.ts';
import { runCommand, UsageError } from './checks/command.ts';
import { APP_SAYS, JSON_SAYS, parseOptions } from './cli/usage.ts';
import { stageOfApp } from './stage-of-app.ts';

// Hides the SDK's notice about its future releases.
process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED = 'true';

const usage = `Says whether a deployed stage works: stacks, relays, streams, table, edge, alarms. Changes nothing.

  ${commandText('verify', '<stage> [--wait <minutes>] [--app <cdk.out>] [--json]')}

  --wait <minutes>    check again every 15 s until everything works, at most this long
  --app <cdk.out>     ${APP_SAYS}
  --json              ${JSON_SAYS}

Exit codes: 0 everything works, 1 something does not or could not be checked, 2 usage error.
`;

await runCommand(usage, async () => {
  const { values, positionals } = parseOptions({
    allowPositionals: true,
    options: {
      wait: { type: 'string', default: '0' },
      app: { type: 'string' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  const { wait, app, json, help } = values;
  const [stage, ...more] = positionals;
  if (help) {
    process.stdout.write(usage);
    return 0;
  }
  if (stage === undefined || more.length > 0) throw new UsageError('expected one stage');
  if (!/^\d{1,3}$/.test(wait)) throw new UsageError(`--wait ${wait} is invalid: expected minutes, 0 to 999`);
  // Imported here because loading the AWS clients takes a second, and a misspelt option should fail at once.
  const { runVerify } = await import('./verify/run.ts');
  const { paperOf } = await import('./checks/print.ts');
  const given = app === undefined ? {} : stageOfApp(stage, app);
  const options = { stage, json, waitMs: Number(wait) * 60_000, paper: paperOf(process.stdout, process.env), ...given };
  return runVerify(options, {
    out: (text) => void process.stdout.write(text),
    say: (text) => void process.stderr.write(text),
  });
});
