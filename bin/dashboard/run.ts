import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { commandText, inClone } from '../../lib/command-text.ts';
import { APP_SAYS, describeFailure, parseOptions, wrapWords } from '../cli/usage.ts';
import { defaultOptions } from '../monitoring/options.ts';
import { MONITORING_DIRECTORY, thresholdIds, writeMonitoring } from '../monitoring/run.ts';

const usage = `Renders a stage's CloudWatch dashboard as an HTML page, with sample data, or writes alert rules for Prometheus and a dashboard for Grafana.

  ${commandText('dashboard', '[stage] [--out <file>] [--app <cdk.out>]')}

  stage            default: prod
  --out <file>     default: ${fileOf('<stage>')}
  --app <cdk.out>  ${APP_SAYS}

  ${commandText('dashboard', '--prometheus [--out <directory>] [options]')}

  --out <directory>         for prometheus-rules.yaml and grafana-dashboard.json; default: ${MONITORING_DIRECTORY}
  --prefix <text>           the relays' PROMETHEUS_PREFIX; default: ${defaultOptions.prefix}
  --matchers <text>         labels that their metrics have, as in a query: 'job="relay", stage="prod"'; default: none
  --relays <n>              alert below so many relays; default: when there is none
  --availability <percent>  of requests that should succeed; default: ${defaultOptions.availabilityPercent}
  --threshold <id>=<n>      ${wrapWords(thresholdIds, 28)}
  --without <id>            leave an alert out; again for others
  --runbooks <address>      a page with the headings of docs/operations.md; default: that page in the repository
`;

/** Templates of an app do not tell the names of its environments. */
const SAMPLE_ENVIRONMENTS = ['production', 'staging'];

/** Of `--prometheus` only. */
const monitoring = {
  prefix: { type: 'string' },
  matchers: { type: 'string' },
  relays: { type: 'string' },
  availability: { type: 'string' },
  threshold: { type: 'string', multiple: true },
  without: { type: 'string', multiple: true },
  runbooks: { type: 'string' },
} as const;

/** Returns what to print. Throws an Error, with the usage in its message, for bad arguments. */
export async function runDashboard(args: readonly string[]): Promise<string> {
  try {
    const { values, positionals } = parseOptions({
      args: [...args],
      allowPositionals: true,
      options: {
        out: { type: 'string' },
        app: { type: 'string' },
        prometheus: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
        ...monitoring,
      },
    });
    if (values.help) return usage;
    if (values.prometheus) {
      if (positionals.length > 0 || values.app !== undefined) {
        throw new Error('--prometheus takes no stage and no --app: the files are the same for all');
      }
      return writeMonitoring(values.out ?? MONITORING_DIRECTORY, values)
        .map((path) => `${path}\n`)
        .join('');
    }
    const idle = Object.keys(monitoring).find((name) => values[name as keyof typeof monitoring] !== undefined);
    if (idle !== undefined) throw new Error(`--${idle} needs --prometheus`);
    const [stage = 'prod', ...more] = positionals;
    if (more.length > 0) throw new Error('expected one stage');
    const file = resolve(values.out ?? fileOf(stage));
    const html = await render(stage, values.app);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, html);
    return `${file}\n`;
  } catch (error) {
    throw new Error(`${describeFailure(error)}\n\n${usage}`, { cause: error });
  }
}

/** A clone has a directory for what is made and not kept. */
function fileOf(stage: string): string {
  return `${inClone ? '.cache/' : ''}dashboard-${stage}.html`;
}

/** Imports late because loading the CDK takes seconds, and a misspelt option should fail at once. */
async function render(stage: string, app: string | undefined): Promise<string> {
  const { pageOf } = await import('./page.ts');
  if (app !== undefined) {
    const { dashboardOfApp } = await import('./of-app.ts');
    return pageOf(dashboardOfApp(stage, app), { stage, environments: SAMPLE_ENVIRONMENTS });
  }
  const { stageOf } = await import('../stage-of.ts');
  const config = stageOf(stage);
  const { dashboardOf } = await import('./template.ts');
  return pageOf(dashboardOf(config), { stage, environments: config.environments });
}
