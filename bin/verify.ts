/** `npm run verify -- <stage>`: says whether a deployed stage works. Changes nothing. */
import { parseArgs } from 'node:util';

// Hides the SDK's notice about its future releases.
process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED = 'true';

const usage = `Says whether a deployed stage works: stacks, relays, streams, table, edge, alarms. Changes nothing.

  npm run verify -- <stage> [--wait <minutes>] [--json]

  --wait <minutes>    check again every 15 s until everything works, at most this long
  --json              print one JSON object; npm run -s keeps npm's own lines out

Exit codes: 0 everything works, 1 something does not or could not be checked, 2 usage error.
`;

try {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      wait: { type: 'string', default: '0' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  const [stage, ...more] = positionals;
  const minutes = Number(values.wait);
  if (values.help) process.stdout.write(usage);
  else if (stage === undefined || more.length > 0) throw new Error('expected one stage');
  else if (!/^\d{1,3}$/.test(values.wait))
    throw new Error(`--wait ${values.wait} is invalid: expected minutes, 0 to 999`);
  else {
    // Imported here because loading the AWS clients takes a second, and a misspelt option should fail at once.
    const { runVerify } = await import('./verify/run.ts');
    const { paperOf } = await import('./checks/print.ts');
    const options = { stage, json: values.json, waitMs: minutes * 60_000, paper: paperOf(process.stdout, process.env) };
    process.exitCode = await runVerify(options, {
      out: (text) => void process.stdout.write(text),
      say: (text) => void process.stderr.write(text),
    });
  }
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n\n${usage}`);
  process.exitCode = 2;
}
