import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { commandText, inClone } from '../../lib/command-text.ts';
import { APP_SAYS, describeFailure, parseOptions } from '../cli/usage.ts';

const usage = `Renders a stage's CloudWatch dashboard as an HTML page, with sample data.

  ${commandText('dashboard', '[stage] [--out <file>] [--app <cdk.out>]')}

  stage            default: prod
  --out <file>     default: ${fileOf('<stage>')}
  --app <cdk.out>  ${APP_SAYS}
`;

/** Templates of an app do not tell the names of its environments. */
const SAMPLE_ENVIRONMENTS = ['production', 'staging'];

/** Returns what to print. Throws an Error, with the usage in its message, for bad arguments. */
export async function runDashboard(args: readonly string[]): Promise<string> {
  try {
    const { values, positionals } = parseOptions({
      args: [...args],
      allowPositionals: true,
      options: {
        out: { type: 'string' },
        app: { type: 'string' },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
    const [stage = 'prod', ...more] = positionals;
    if (values.help) return usage;
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
