import type { Statistic } from '../../monitoring/index.ts';
import { type AlarmRow, certificateRow, sharedRow } from './alarm-row.ts';
import { flagRows } from './alarm-rows-flags.ts';
import { canaryMetric, expression, loadBalancerMetric, serviceMetric } from './metrics.ts';
import type { Observed, ObservedLoadBalancer } from './observed.ts';

export function homeRows(observed: Observed): AlarmRow[] {
  return [
    ...observed.loadBalancers.flatMap(loadBalancerRows(observed)),
    // Nobody counts ready relays without a load balancer, but each that runs tells its metrics.
    ...(observed.loadBalancers.length === 0 ? [sharedRow(observed, 'too-few-healthy-tasks')] : []),
    ...serviceRows(observed),
    ...flagRows(observed),
    sharedRow(observed, 'streams-refused'),
    sharedRow(observed, 'events-dropped'),
    sharedRow(observed, 'events-waiting'),
    ...(observed.canary ? canaryRows(observed) : []),
    ...observed.certificateArns.map((arn, index) => certificateRow(arn, index === 0 ? undefined : String(index + 1))),
  ];
}

function loadBalancerRows({ tasks }: Observed): (one: ObservedLoadBalancer) => AlarmRow[] {
  return (one) => {
    const { name: subject } = one;
    const of = (name: string, statistic: Statistic) => loadBalancerMetric(one, name, statistic);
    return [
      {
        id: 'too-few-healthy-tasks',
        subject,
        pages: true,
        datapoints: 3,
        missing: 'breaching',
        says: `Fewer than ${tasks} relays are ready.`,
        metric: of('HealthyHostCount', 'Minimum'),
        below: tasks,
      },
      {
        id: 'unhealthy-tasks',
        subject,
        datapoints: 3,
        missing: 'fine',
        says: 'A relay is not becoming ready.',
        metric: of('UnHealthyHostCount', 'Minimum'),
        above: 0,
      },
      {
        id: 'rejected-connections',
        subject,
        datapoints: 1,
        missing: 'fine',
        says: 'The load balancer rejected connections at its limit.',
        metric: of('RejectedConnectionCount', 'Sum'),
        above: 0,
      },
    ];
  };
}

function serviceRows(observed: Observed): AlarmRow[] {
  const running: AlarmRow = {
    id: 'running-below-desired',
    datapoints: 10,
    missing: 'fine',
    says: 'For 10 minutes, fewer tasks have been running than desired.',
    metric: expression(
      'desired - running',
      {
        desired: serviceMetric(observed, 'DesiredTaskCount', 'Average'),
        running: serviceMetric(observed, 'RunningTaskCount', 'Average'),
      },
      'missing tasks',
    ),
    above: 0,
  };
  return [
    ...(observed.containerInsights ? [running] : []),
    {
      id: 'cpu',
      datapoints: 5,
      missing: 'fine',
      says: 'Tasks use more than {threshold} % of their CPU, although scaling adds tasks sooner.',
      metric: serviceMetric(observed, 'CPUUtilization', 'Average'),
      above: 70,
    },
    {
      id: 'memory',
      datapoints: 5,
      missing: 'fine',
      says: 'A task uses more than {threshold} % of its memory.',
      metric: serviceMetric(observed, 'MemoryUtilization', 'Maximum'),
      above: 80,
    },
    sharedRow(observed, 'no-metrics'),
    sharedRow(observed, 'event-loop'),
  ];
}

function canaryRows(observed: Observed): AlarmRow[] {
  const options = observed.canaryEvery ? { period: observed.canaryEvery } : {};
  const differs: AlarmRow = {
    id: 'canary-differs',
    datapoints: 5,
    missing: 'fine',
    says: 'The relay and the flag table have different flags.',
    metric: canaryMetric(observed, 'DifferingFlags', 'Maximum', options),
    above: 0,
  };
  return [
    {
      id: 'canary',
      pages: true,
      datapoints: 3,
      of: 5,
      missing: 'breaching',
      says: 'The synthetic check gets no stream from the relay or no flags from the table.',
      metric: canaryMetric(observed, 'Success', 'Minimum', options),
      below: 1,
    },
    // Without a load balancer the check reads the table alone.
    ...(observed.loadBalancers.length > 0 ? [differs] : []),
  ];
}
