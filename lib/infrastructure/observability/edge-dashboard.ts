import { Duration } from 'aws-cdk-lib';
import { Dashboard, type IWidget, PeriodOverride, TextWidget } from 'aws-cdk-lib/aws-cloudwatch';
import { Construct } from 'constructs';
import { edgeFunctionMetric } from './metrics.ts';
import type { ObservedEdge } from './observed.ts';
import { decisionGraphs, distributions, edgeErrors } from './questions-of-limits.ts';
import { graph, WIDTH } from './widgets.ts';

export interface EdgeDashboardProps
  extends Pick<ObservedEdge, 'functionNames' | 'regions' | 'decisions' | 'heartbeatSeconds'> {
  readonly stage: string;
  readonly runbooks?: string | undefined;
}

export function edgeDashboardName(stage: string): string {
  return `edge-flag-relay-${stage}-edge`;
}

/** The edge functions of a router in all regions, for apps without the relay's dashboard. */
export class EdgeDashboard extends Construct {
  readonly dashboard: Dashboard;

  constructor(scope: Construct, id: string, { stage, runbooks, ...edge }: EdgeDashboardProps) {
    super(scope, id);
    const [decides] = edge.functionNames;
    const each = (name: 'Invocations' | 'Throttles' | 'Duration', statistic: 'Sum' | 'p99') =>
      edge.regions.map((region) => edgeFunctionMetric(decides!, name, statistic, { region, label: region }));
    this.dashboard = new Dashboard(this, 'Dashboard', {
      dashboardName: edgeDashboardName(stage),
      defaultInterval: Duration.hours(3),
      periodOverride: PeriodOverride.INHERIT,
      widgets: [
        [header(stage, runbooks)],
        decisionGraphs({ stage }, edge),
        [
          graph('Requests', each('Invocations', 'Sum'), { unit: 'per minute', stacked: true }),
          graph('Failed invocations', edgeErrors(edge, stage), { unit: 'per minute', width: 16 }),
        ],
        [
          graph('Slowest hundredth of decisions', each('Duration', 'p99'), { unit: 'ms' }),
          graph('Throttled', each('Throttles', 'Sum'), { unit: 'per minute' }),
        ],
      ],
    });
  }

  /** @param name Of one of several distributions. */
  addDistribution(distributionId: string, name?: string): void {
    const title = name === undefined ? 'CloudFront' : `CloudFront, ${name}`;
    this.dashboard.addWidgets(graph(title, distributions(distributionId), { unit: '% of requests' }));
  }
}

function header(stage: string, runbooks: string | undefined): IWidget {
  const link = runbooks?.startsWith('https://') ? ` [Runbooks](${runbooks})` : '';
  return new TextWidget({
    markdown: `# Edge router: ${stage}\nFunctions run near their viewers.${link}`,
    width: WIDTH,
    height: 2,
  });
}
