/** `npm run dashboard -- [stage]`: the CloudWatch dashboard as an HTML page with sample data, without an account. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';

const usage = `Renders the dashboard of a stage, as it is deployed, with made-up numbers.

  npm run dashboard -- [stage] [--out <file>]

  stage          prod unless told
  --out <file>   .cache/dashboard-<stage>.html unless told
`;

try {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { out: { type: 'string' }, help: { type: 'boolean', short: 'h', default: false } },
  });
  const [stage = 'prod', ...more] = positionals;
  if (values.help) process.stdout.write(usage);
  else if (more.length > 0) throw new Error('one stage can be shown at a time');
  else {
    // Loading the CDK takes seconds, which a misspelt option need not cost.
    const { parseStage, stages } = await import('../lib/infrastructure/stages.ts');
    const { dashboardOf } = await import('./dashboard/template.ts');
    const { pageOf } = await import('./dashboard/page.ts');
    const { context } = JSON.parse(readFileSync(join(import.meta.dirname, '../cdk.json'), 'utf8'));
    const config = parseStage(stage, stages, context?.stages);
    const file = resolve(values.out ?? `.cache/dashboard-${stage}.html`);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, pageOf(dashboardOf(config), { stage, environments: config.environments }));
    process.stdout.write(`${file}\n`);
  }
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n\n${usage}`);
  process.exitCode = 2;
}
