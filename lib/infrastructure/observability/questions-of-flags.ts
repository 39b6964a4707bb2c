import { Duration } from 'aws-cdk-lib';
import { AlarmStatusWidget, type IAlarm, type IWidget } from 'aws-cdk-lib/aws-cloudwatch';
import { burnRates, errorBudgetPercent, requestsOf } from './burn-rates.ts';
import {
  canaryMetric,
  expression,
  loadBalancerMetric,
  type RelayMetricName,
  relayMetric,
  relayOf,
  relaySearch,
  serviceMetric,
  tableMetric,
} from './metrics.ts';
import type { Observed } from './observed.ts';
import { graph, numbers, question, WIDTH } from './widgets.ts';

/** The height of graphs that show only zeros while all is well. */
const QUIET = 4;

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
  const relay = relayOf(observed);
  const healthy = loadBalancers.map((one) =>
    loadBalancerMetric(one, 'HealthyHostCount', 'Minimum', { label: `ready, ${one.name}` }),
  );
  const running = serviceMetric(observed, 'RunningTaskCount', 'Average', { label: 'running' });
  const desired = serviceMetric(observed, 'DesiredTaskCount', 'Average', { label: 'desired' });
  const available = expression(
    '100 * (1 - FILL(failed, 0) / answers)',
    { failed: relayMetric(observed, 'Answers5xx', 'Sum'), answers: relayMetric(observed, 'Answers', 'Sum') },
    'non-5xx responses, %',
  );
  const opened = expression(
    '100 * (1 - FILL(refused, 0) / (opened + FILL(refused, 0)))',
    { refused: relayMetric(observed, 'StreamsRefused', 'Sum'), opened: relayMetric(observed, 'StreamsOpened', 'Sum') },
    'streams accepted, %',
  );
  return [
    [
      question(
        '1. Is it up?',
        'Each alarm has a runbook. Where one version of the relay gives way to the next, a deployment happened.',
      ),
    ],
    ...alarmWidgets('Alarms that page', paging),
    ...alarmWidgets('Alarms', alarms),
    [
      numbers(
        'Now',
        [
          relay('Up', 'Sum', 'relays'),
          relay('StreamsOpen', 'Sum', 'streams'),
          relay('DataAge', 'Minimum', 'oldest data, s'),
        ],
        observed.canary ? 12 : WIDTH,
      ),
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
      graph('Availability', [available, opened], { unit: '%', max: 100, from: 'auto' }),
      graph('Relays ready', [...healthy, relay('Up', 'Sum', 'relays reporting metrics')], {
        unit: 'tasks',
        leftAnnotations: [{ value: tasks, label: 'minimum' }],
      }),
      ...(observed.containerInsights ? [graph('Relays running', [running, desired], { unit: 'tasks' })] : []),
    ],
    [
      graph('Relays by version', [relaySearch(observed, 'RelaysByVersion', 'Sum', 'Version')], {
        stacked: true,
        unit: 'relays',
      }),
      ...errorBudget(observed),
    ],
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
function errorBudget({ loadBalancers, availabilityPercent = 99.99 }: Up): IWidget[] {
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
          .map(({ rate, long: window }) => ({ value: rate, label: `pages if also over ${window.toHumanString()}:` })),
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
  const relay = relayOf(observed);
  const search = (name: RelayMetricName, by: 'Environment' | 'Kind' | 'Reason') =>
    relaySearch(observed, name, 'Sum', by);
  const balancers = (name: string) =>
    observed.loadBalancers.map((one) => loadBalancerMetric(one, name, 'Sum', { label: one.name }));
  return [
    [
      question(
        '2. Who is connected?',
        'all, flags, fdv2: server SDKs; eval, ping: browsers and mobile devices. A burst of new streams after a disconnect is SDKs reconnecting.',
      ),
    ],
    [
      graph('Open streams by kind', [search('StreamsOpen', 'Kind')], { stacked: true, unit: 'streams' }),
      graph('Open streams by environment', [search('StreamsOpen', 'Environment')], { stacked: true, unit: 'streams' }),
      graph(
        'Streams opened and rejected',
        [relay('StreamsOpened', 'Sum', 'opened'), relay('StreamsRefused', 'Sum', 'rejected')],
        { unit: 'per minute' },
      ),
    ],
    [
      graph('Streams closed, by reason', [search('StreamsClosed', 'Reason')], { stacked: true, unit: 'per minute' }),
      graph('Requests by environment', [search('Requests', 'Environment')], { stacked: true, unit: 'per minute' }),
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
  const relay = relayOf(observed);
  const { replicaRegions } = observed;
  const highest = (name: RelayMetricName) => relaySearch(observed, name, 'Maximum', 'Environment');
  const replication = replicaRegions.map((receivingRegion) =>
    tableMetric(observed, 'ReplicationLatency', 'Average', { receivingRegion, label: receivingRegion }),
  );
  return [
    [
      question(
        '3. Is data fresh?',
        'Relays keep serving from memory while LaunchDarkly, a key or a store is unavailable; the data age shows how long ago the data was last confirmed current.',
      ),
    ],
    [
      graph(
        'Relays disconnected from LaunchDarkly',
        [relaySearch(observed, 'UpstreamDisconnected', 'Sum', 'Environment')],
        {
          unit: 'relays',
        },
      ),
      graph('Data age, oldest relay', [highest('DataAge')], {
        unit: 'seconds',
        leftAnnotations: [{ value: 600, label: 'alarm, if every relay is above' }],
      }),
      graph(
        'From LaunchDarkly to streams',
        [relay('PropagationToStreams', 'p50', 'p50'), relay('PropagationToStreams', 'p99', 'p99')],
        { unit: 'seconds', leftAnnotations: [{ value: 0.1, label: 'target, p99' }] },
      ),
    ],
    [
      graph(
        'From LaunchDarkly to stores',
        [
          relay('PropagationToTable', 'p50', 'flag table, p50'),
          relay('PropagationToTable', 'p99', 'flag table, p99'),
          relay('PropagationToReplicas', 'p99', 'Redis and Consul, p99'),
        ],
        { unit: 'seconds', leftAnnotations: [{ value: 1, label: 'target, p99' }] },
      ),
      ...(replication.length > 0 ? [graph('From the home region to replicas', replication, { unit: 'ms' })] : []),
      ...(observed.writes
        ? [
            graph('Writing to the flag table', [
              relay('LeasesHeld', 'Sum', 'leases held'),
              relay('StoreDown', 'Maximum', 'stores down'),
              relay('StoreDifferingItems', 'Sum', 'items repaired'),
            ]),
          ]
        : []),
    ],
    [
      graph(
        'Keys',
        [
          relay('KeyProblems', 'Maximum', 'environments with unconfirmed keys'),
          relay('KeySourceDown', 'Maximum', 'key source down'),
          relay('EnvironmentsUntold', 'Maximum', 'environments without own metrics'),
        ],
        { height: QUIET },
      ),
      graph('Rejected by LaunchDarkly', [highest('UpstreamRefused')], { height: QUIET }),
      graph('Invalid flags and segments', [highest('UnreadableItems')], { height: QUIET }),
    ],
  ];
}
