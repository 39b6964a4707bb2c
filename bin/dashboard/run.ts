import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { parseArgs } from 'node:util';

const usage = `Renders a stage's CloudWatch dashboard as an HTML page, with sample data.

  npm run dashboard -- [stage] [--out <file>]

  stage          default: prod
  --out <file>   default: .cache/dashboard-<stage>.html
`;

/** Returns what to print. Throws an Error, with the usage in its message, for bad arguments. */
export async function runDashboard(args: readonly string[]): Promise<string> {
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: { out: { type: 'string' }, help: { type: 'boolean', short: 'h', default: false } },
    });
    const [stage = 'prod', ...more] = positionals;
    if (values.help) return usage;
    if (more.length > 0) throw new Error('expected one stage');
    const file = resolve(values.out ?? `.cache/dashboard-${stage}.html`);
    const html = await render(stage);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, html);
    return `${file}\n`;
  } catch (error) {
    throw new Error(`${(error as Error).message}\n\n${usage}`, { cause: error });
  }
}

/** Imports late because loading the CDK takes seconds, and a misspelt option should fail at once. */
async function render(stage: string): Promise<string> {
  const { stageOf } = await import('../stage-of.ts');
  const config = stageOf(stage);
  const { dashboardOf } = await import('./template.ts');
  const { pageOf } = await import('./page.ts');
  return pageOf(dashboardOf(config), { stage, environments: config.environments });
}
