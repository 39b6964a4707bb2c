import { metricsNamespace } from '../../lib/infrastructure/relay-contract.ts';
import { stageOfApp } from '../stage-of-app.ts';
import { type DashboardBody, dashboardsIn } from './body.ts';

/** The dashboard of a CDK app's relay, from its `cdk.out`. Throws an Error if it has none. */
export function dashboardOfApp(stage: string, directory: string): DashboardBody {
  const dashboards = stageOfApp(stage, directory)
    .synthesise()
    .flatMap(({ template, region }) => dashboardsIn(template.Resources ?? {}, region));
  // An app may have dashboards of its own.
  const found = dashboards.find((one) => JSON.stringify(one).includes(JSON.stringify(metricsNamespace(stage))));
  if (!found) throw new Error(`no stack in ${directory} has a RelayDashboard of stage ${stage}`);
  return found;
}
