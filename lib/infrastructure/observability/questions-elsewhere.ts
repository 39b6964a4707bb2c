import { type IWidget, LogQueryVisualizationType, LogQueryWidget } from 'aws-cdk-lib/aws-cloudwatch';
import type { Dimension, RelayMetricName, Statistic } from '../../monitoring/index.ts';
import { recentTrouble } from './log-queries.ts';
import { expression, relayMetric, relaySearch, serviceMetric } from './metrics.ts';
import type { Observed } from './observed.ts';
import { sentBy } from './questions-of-limits.ts';
import { graph, numbers, question, WIDTH } from './widgets.ts';

/** A quarter of the width: the essential answers of a region in two rows. */
const QUARTER = { width: 6, height: 5 };

/** Relays in other regions: what their metrics say. Names of their load balancers are not known in this region. */
export function howAreOthers(others: readonly Observed[]): IWidget[][] {
  if (others.length === 0) return [];
  return [
    [
      question(
        '7. How are relays in other regions?',
        'They never write. Their alarms are in their regions, and those that page also above.',
      ),
    ],
    ...others.flatMap(relaysElsewhere),
  ];
}

function relaysElsewhere(given: Observed): IWidget[][] {
  const { region = given.homeRegion, tasks, containerInsights, logGroupName } = given;
  const observed = { ...given, region };
  const titled = (title: string) => `${region}: ${title}`;
  const relay = (name: RelayMetricName, statistic: Statistic, label: string) =>
    relayMetric(observed, name, statistic, { label });
  const search = (name: RelayMetricName, statistic: Statistic, by: Dimension) =>
    relaySearch(observed, name, statistic, by);
  const service = (name: 'CPUUtilization' | 'MemoryUtilization', label: string) =>
    serviceMetric(observed, name, 'Maximum', { label });
  const available = expression(
    '100 * (1 - FILL(failed, 0) / answers)',
    {
      failed: relayMetric(observed, 'Answers5xx', 'Sum'),
      answers: relayMetric(observed, 'Answers', 'Sum'),
    },
    'non-5xx responses, %',
  );
  return [
    [
      numbers(
        titled('now'),
        [
          relay('Up', 'Sum', `relays, of at least ${tasks}`),
          relay('StreamsOpen', 'Sum', 'streams'),
          relay('DataAge', 'Minimum', 'oldest data, s'),
        ],
        12,
        QUARTER.height,
      ),
      graph(titled('availability'), [available], { ...QUARTER, unit: '%', max: 100, from: 'auto' }),
      graph(titled('relays by version'), [search('RelaysByVersion', 'Sum', 'Version')], {
        ...QUARTER,
        stacked: true,
        unit: 'relays',
      }),
    ],
    [
      graph(titled('open streams by kind'), [search('StreamsOpen', 'Sum', 'Kind')], {
        ...QUARTER,
        stacked: true,
        unit: 'streams',
      }),
      graph(titled('data age, oldest relay'), [search('DataAge', 'Maximum', 'Environment')], {
        ...QUARTER,
        unit: 'seconds',
      }),
      graph(
        titled('what is wrong'),
        [
          relay('UpstreamDisconnected', 'Sum', 'disconnected from LaunchDarkly'),
          relay('EnvironmentsWithoutData', 'Maximum', 'environments without data'),
          relay('KeyProblems', 'Maximum', 'environments with unconfirmed keys'),
          relay('StoreDown', 'Maximum', 'stores down'),
          relay('StreamsRefused', 'Sum', 'streams rejected'),
        ],
        QUARTER,
      ),
      graph(
        titled('CPU, memory, network'),
        [service('CPUUtilization', 'CPU, highest'), service('MemoryUtilization', 'memory, highest')],
        {
          ...QUARTER,
          unit: '%',
          max: 100,
          ...(containerInsights && { right: sentBy(observed), rightUnit: 'bytes per second' }),
        },
      ),
    ],
    [
      new LogQueryWidget({
        title: titled('recent errors and warnings'),
        logGroupNames: [logGroupName],
        queryLines: [...recentTrouble.lines],
        view: LogQueryVisualizationType.TABLE,
        region,
        width: WIDTH,
        height: 6,
      }),
    ],
  ];
}
