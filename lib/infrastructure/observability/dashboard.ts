import { Duration, Stack } from 'aws-cdk-lib';
import { Dashboard, type IAlarm, type IWidget, PeriodOverride, TextWidget } from 'aws-cdk-lib/aws-cloudwatch';
import { Construct } from 'constructs';
import { type IObservedRelay, type Observed, type ObserveOptions, seenFrom } from './observed.ts';
import { howAreOthers } from './questions-elsewhere.ts';
import { isDataFresh, isItUp, type Up, whoIsConnected } from './questions-of-flags.ts';
import { isThereRoom, whatDoesItSay, whatFails } from './questions-of-limits.ts';
import { WIDTH } from './widgets.ts';

export interface RelayDashboardProps extends ObserveOptions {
  /** A `RelayService`, or `RelayService.fromStage`. */
  readonly relay: IObservedRelay;
  /** @default CloudFormation's */
  readonly dashboardName?: string | undefined;
  /** Alarms that page, of all regions: their states come first. @default none */
  readonly paging?: readonly IAlarm[];
  /** Further alarms whose states are shown at the top. @default none */
  readonly alarms?: readonly IAlarm[];
  /** The share of requests that succeed in 30 days. @default 99.99 */
  readonly availabilityPercent?: number | undefined;
  /** Relays of the stage in other regions, each with its region. @default none */
  readonly elsewhere?: readonly IObservedRelay[];
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
    const { relay, environments, otherEnvironments, canary, dashboardName: name, ...more } = props;
    const elsewhere = (props.elsewhere ?? []).map((one) => one.observed());
    const observed = relay.observed({ environments, otherEnvironments, canary });
    const up = { ...seenFrom(observed, Stack.of(this).region), ...more, elsewhere };
    this.dashboard = new Dashboard(this, 'Dashboard', {
      ...(name !== undefined && { dashboardName: name }),
      defaultInterval: Duration.hours(3),
      // Tasks report once a minute, so sums are only meaningful per minute, whatever range is shown.
      periodOverride: PeriodOverride.INHERIT,
      widgets: [
        [header(up)],
        ...isItUp(up),
        ...whoIsConnected(up),
        ...isDataFresh(up),
        ...whatFails(up),
        ...isThereRoom(up),
        ...whatDoesItSay(observed),
        ...howAreOthers(elsewhere),
      ],
    });
  }
}

interface Header extends Up {
  readonly runbooks?: string | undefined;
  readonly elsewhere: readonly Observed[];
}

function header(up: Header): IWidget {
  const { stage, homeRegion, replicaRegions, environments, runbooks, elsewhere } = up;
  const replicas = replicaRegions.length > 0 ? `, replicas in ${replicaRegions.join(', ')}` : '';
  const relays = elsewhere.length > 0 ? `, relays also in ${elsewhere.map(({ region }) => region).join(', ')}` : '';
  const known = environments.length > 0 ? ` Environments: ${environments.join(', ')}.` : '';
  const link = runbooks?.startsWith('https://') ? ` [Runbooks](${runbooks})` : '';
  const markdown = `# Feature flags: ${stage}\nHome is ${homeRegion}${replicas}${relays}.${known}${link}`;
  return new TextWidget({ markdown, width: WIDTH, height: 2 });
}
