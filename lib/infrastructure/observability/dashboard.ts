import { Duration } from 'aws-cdk-lib';
import { Dashboard, type IAlarm, type IWidget, PeriodOverride, TextWidget } from 'aws-cdk-lib/aws-cloudwatch';
import { Construct } from 'constructs';
import type { Observed } from './observed.ts';
import { isDataFresh, isItUp, whoIsConnected } from './questions-of-flags.ts';
import { isThereRoom, whatDoesItSay, whatFails } from './questions-of-limits.ts';
import { WIDTH } from './widgets.ts';

export interface RelayDashboardProps extends Observed {
  /** Alarms whose states are shown at the top. @default none */
  readonly alarms?: readonly IAlarm[];
  /** The address of the page of runbooks. @default none is linked */
  readonly runbooks?: string | undefined;
}

export function dashboardName(stage: string): string {
  return `edge-flag-relay-${stage}`;
}

/** One stage in all its regions, ordered by the questions that an operator asks. */
export class RelayDashboard extends Construct {
  readonly dashboard: Dashboard;

  constructor(scope: Construct, id: string, props: RelayDashboardProps) {
    super(scope, id);
    this.dashboard = new Dashboard(this, 'Dashboard', {
      dashboardName: dashboardName(props.stage),
      defaultInterval: Duration.hours(3),
      // Tasks report once a minute, so sums are only meaningful per minute, whatever range is shown.
      periodOverride: PeriodOverride.INHERIT,
      widgets: [
        [header(props)],
        ...isItUp(props),
        ...whoIsConnected(props),
        ...isDataFresh(props),
        ...whatFails(props),
        ...isThereRoom(props),
        ...whatDoesItSay(props),
      ],
    });
  }
}

function header({ stage, homeRegion, replicaRegions, environments, runbooks }: RelayDashboardProps): IWidget {
  const replicas = replicaRegions.length > 0 ? `, replicas in ${replicaRegions.join(', ')}` : '';
  const known = environments.length > 0 ? ` Environments: ${environments.join(', ')}.` : '';
  const link = runbooks?.startsWith('https://') ? ` [Runbooks](${runbooks})` : '';
  const markdown = `# Feature flags: ${stage}\nHome is ${homeRegion}${replicas}.${known}${link}`;
  return new TextWidget({ markdown, width: WIDTH, height: 2 });
}
