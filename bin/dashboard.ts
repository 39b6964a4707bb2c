/**
 * `npm run dashboard -- [stage]`: the CloudWatch dashboard as an HTML page with sample data; needs no AWS account. With `--prometheus`:
 * alert rules for Prometheus and a dashboard for Grafana.
 */
import { runDashboard } from './dashboard/run.ts';

try {
  process.stdout.write(await runDashboard(process.argv.slice(2)));
} catch (error) {
  process.stderr.write((error as Error).message);
  process.exitCode = 2;
}
