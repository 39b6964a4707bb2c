import { Duration } from 'aws-cdk-lib';
import { AlarmStatusWidget, type IAlarm, type IWidget } from 'aws-cdk-lib/aws-cloudwatch';
import {
  AVAILABILITY_PERCENT,
  burnRates,
  errorBudgetPercent,
  sections,
  sharedPanels,
  spanOf,
} from '../../monitoring/index.ts';
import { requestsOf } from './burn-rates.ts';
import { canaryMetric, expression, loadBalancerMetric, serviceMetric, tableMetric } from './metrics.ts';
import type { Observed } from './observed.ts';
import { panelLines, panelWidget } from './shared-panels.ts';
import { graph, numbers, question, WIDTH } from './widgets.ts';

/** AWS: "Dashboard body structure and syntax", alarms of an alarm widget. */
const MAX_ALARMS = 100;

export interface Up extends Observed {
  /** Those that page, in all regions. */
  readonly paging?: readonly IAlarm[];
  readonly alarms?: readonly IAlarm[];
  readonly availabilityPercent?: number | undefined;
}

export function isItUp(observed: Up): IWidget[][] {
  const { paging = [], alarms = [], loadBalancers, tasks } = observed;
  const healthy = loadBalancers.map((one) =>
    loadBalancerMetric(one, 'HealthyHostCount', 'Minimum', { label: `ready, ${one.name}` }),
  );
  const running = serviceMetric(observed, 'RunningTaskCount', 'Average', { label: 'running' });
  const desired = serviceMetric(observed, 'DesiredTaskCount', 'Average', { label: 'desired' });
  return [
    [
      question(
        sections.up,
        'Each alarm has a runbook. Where one version of the relay gives way to the next, a deployment happened.',
      ),
    ],
    ...alarmWidgets('Alarms that page', paging),
    ...alarmWidgets('Alarms', alarms),
    [
      numbers(sharedPanels.now.title, panelLines(observed, 'now'), observed.canary ? 12 : WIDTH),
      ...(observed.canary
        ? [
            numbers(
              'Synthetic check',
              [
                canaryMetric(observed, 'Success', 'Minimum', { label: '1 = passing, 0 = failing' }),
                ...(loadBalancers.length > 0
                  ? [canaryMetric(observed, 'StreamLatency', 'Average', { label: 'first flags from the stream, ms' })]
                  : []),
                canaryMetric(observed, 'TableLatency', 'Average', { label: 'flags from the table, ms' }),
              ],
              12,
            ),
          ]
        : []),
    ],
    [
      panelWidget(observed, 'availability'),
      panelWidget(observed, 'ready', { before: healthy, leftAnnotations: [{ value: tasks, label: 'minimum' }] }),
      ...(observed.containerInsights ? [graph('Relays running', [running, desired], { unit: 'tasks' })] : []),
    ],
    [panelWidget(observed, 'versions'), ...errorBudget(observed)],
  ];
}

function alarmWidgets(title: string, alarms: readonly IAlarm[]): IWidget[][] {
  const groups = Array.from({ length: Math.ceil(alarms.length / MAX_ALARMS) }, (_, index) =>
    alarms.slice(index * MAX_ALARMS, (index + 1) * MAX_ALARMS),
  );
  return groups.map((group, index) => [
    new AlarmStatusWidget({
      title: groups.length > 1 ? `${title}, ${index + 1} of ${groups.length}` : title,
      alarms: [...group],
      width: WIDTH,
      height: 2 + Math.ceil(group.length / 8),
    }),
  ]);
}

/** How fast the error budget is used up, and how much of it was used in 30 days. */
function errorBudget({ loadBalancers, availabilityPercent = AVAILABILITY_PERCENT }: Up): IWidget[] {
  // Nothing else counts requests that reached no relay.
  if (loadBalancers.length === 0) return [];
  const share = Number((errorBudgetPercent(availabilityPercent) / 100).toPrecision(6));
  const [short, long] = [Duration.minutes(5), Duration.days(1)];
  const now = requestsOf(loadBalancers, short);
  const month = requestsOf(loadBalancers, long);
  return [
    graph(
      'Error budget: burn rate',
      [expression(`${now.failed} / ${now.all} / ${share}`, now.metrics, 'burn rate over 5 minutes', short)],
      {
        period: short,
        unit: '× the rate that 30 days allow',
        leftAnnotations: burnRates
          .filter(({ pages }) => pages)
          .map(({ rate, long: window }) => ({ value: rate, label: `pages if also over ${spanOf(window)}:` })),
      },
    ),
    graph(
      'Error budget: used in the last 30 days',
      [
        expression(
          `100 * RUNNING_SUM(${month.failed}) / (${share} * SUM(${month.all}))`,
          month.metrics,
          `% of the ${errorBudgetPercent(availabilityPercent)} % of requests that may fail`,
          long,
        ),
      ],
      { period: long, start: '-P30D', unit: '%', leftAnnotations: [{ value: 100, label: 'objective missed' }] },
    ),
  ];
}

export function whoIsConnected(observed: Observed): IWidget[][] {
  const balancers = (name: string) =>
    observed.loadBalancers.map((one) => loadBalancerMetric(one, name, 'Sum', { label: one.name }));
  return [
    [
      question(
        sections.connected,
        'all, flags, fdv2: server SDKs; eval, ping: browsers and mobile devices. A burst of new streams after a disconnect is SDKs reconnecting.',
      ),
    ],
    [
      panelWidget(observed, 'streamsByKind'),
      panelWidget(observed, 'streamsByEnvironment'),
      panelWidget(observed, 'openings'),
    ],
    [
      panelWidget(observed, 'closings'),
      panelWidget(observed, 'requests'),
      ...(observed.loadBalancers.length > 0
        ? [
            graph('Load balancer connections (to clients and to relays)', balancers('ActiveConnectionCount'), {
              unit: 'open',
              right: observed.loadBalancers.map((one) =>
                loadBalancerMetric(one, 'NewConnectionCount', 'Sum', { label: `${one.name}, new` }),
              ),
              rightUnit: 'new per minute',
            }),
          ]
        : []),
    ],
  ];
}

export function isDataFresh(observed: Observed): IWidget[][] {
  const { replicaRegions } = observed;
  const replication = replicaRegions.map((receivingRegion) =>
    tableMetric(observed, 'ReplicationLatency', 'Average', { receivingRegion, label: receivingRegion }),
  );
  return [
    [
      question(
        sections.fresh,
        'Relays keep serving from memory while LaunchDarkly, a key or a store is unavailable; the data age shows how long ago the data was last confirmed current.',
      ),
    ],
    [panelWidget(observed, 'disconnected'), panelWidget(observed, 'dataAge'), panelWidget(observed, 'toStreams')],
    [
      panelWidget(observed, 'toStores'),
      ...(replication.length > 0 ? [graph('From the home region to replicas', replication, { unit: 'ms' })] : []),
      ...(observed.writes ? [panelWidget(observed, 'writing')] : []),
    ],
    [
      panelWidget(observed, 'heartbeats', { width: 12 }),
      ...(replication.length > 0 ? [panelWidget(observed, 'heartbeatsToReplicas', { width: 12 })] : []),
    ],
    [panelWidget(observed, 'keys'), panelWidget(observed, 'refused'), panelWidget(observed, 'unreadable')],
  ];
}
