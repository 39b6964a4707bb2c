import { type IMetric, type IWidget, LogQueryVisualizationType, LogQueryWidget } from 'aws-cdk-lib/aws-cloudwatch';
import { type Statistic, sections } from '../../monitoring/index.ts';
import { EDGE_REGION } from '../regions.ts';
import { recentTrouble } from './log-queries.ts';
import {
  canaryMetric,
  decisionMetric,
  distributionMetric,
  distributionSearch,
  edgeFunctionMetric,
  expression,
  loadBalancerMetric,
  serviceMetric,
  tableMetric,
} from './metrics.ts';
import type { Observed, ObservedEdge } from './observed.ts';
import { panelLines, panelWidget } from './shared-panels.ts';
import { graph, question, WIDTH } from './widgets.ts';

export function whatFails(observed: Observed): IWidget[][] {
  const { edge, loadBalancers } = observed;
  const several = loadBalancers.length > 1;
  const failures = (names: Readonly<Record<string, string>>) =>
    loadBalancers.flatMap((one) =>
      Object.entries(names).map(([name, label]) =>
        loadBalancerMetric(one, name, 'Sum', { label: several ? `${label}, ${one.name}` : label }),
      ),
    );
  return [
    [
      question(
        sections.failing,
        'Load balancer errors: it had no healthy relay or lost the connection to one. Relay errors: relays returned 5xx themselves.',
      ),
    ],
    [
      ...(loadBalancers.length > 0
        ? [
            graph('5xx', failures({ HTTPCode_ELB_5XX_Count: 'load balancer', HTTPCode_Target_5XX_Count: 'relays' }), {
              unit: 'per minute',
            }),
            graph(
              'Load balancer errors',
              failures({
                HTTPCode_ELB_502_Count: '502 connection to relay lost',
                HTTPCode_ELB_503_Count: '503 no healthy relay',
                HTTPCode_ELB_504_Count: '504 relay timed out',
                RejectedConnectionCount: 'connections rejected',
                TargetConnectionErrorCount: 'connection to relay failed',
              }),
              { unit: 'per minute' },
            ),
          ]
        : []),
      panelWidget(observed, 'stores'),
    ],
    [panelWidget(observed, 'events'), panelWidget(observed, 'eventsLost'), panelWidget(observed, 'eventsWaiting')],
    [panelWidget(observed, 'bigSegments')],
    ...(edge
      ? [
          decisionGraphs(observed, edge),
          [
            graph('Edge: failed invocations', edgeErrors(edge, observed.stage), { unit: 'per minute' }),
            edge.checked
              ? graph(
                  'Edge: synthetic check',
                  [
                    canaryMetric(observed, 'EdgeSuccess', 'Minimum', {
                      region: EDGE_REGION,
                      label: '1 = passing, 0 = failing',
                    }),
                  ],
                  {
                    right: [
                      canaryMetric(observed, 'EdgeLatency', 'Average', { region: EDGE_REGION, label: 'latency, ms' }),
                    ],
                    rightUnit: 'ms',
                  },
                )
              : graph('Edge: longest decision', atEdge(observed, edge, 'DecisionTime', 'Maximum'), { unit: 'ms' }),
            graph(
              edge.distributionId ? 'CloudFront' : 'CloudFront, all distributions of the account',
              distributions(edge.distributionId),
              {
                unit: '% of requests',
              },
            ),
          ],
        ]
      : []),
  ];
}

export function isThereRoom(observed: Observed): IWidget[][] {
  const { homeRegion, replicaRegions, loadBalancers } = observed;
  const each = (name: string) =>
    [homeRegion, ...replicaRegions].map((region) => tableMetric(observed, name, 'Sum', { region, label: region }));
  return [
    [
      question(
        sections.room,
        'Scaling adds tasks at 50 % CPU and by streams per task. Memory that only grows means streams that never end.',
      ),
    ],
    [
      graph(
        'Task CPU and memory',
        [
          serviceMetric(observed, 'CPUUtilization', 'Average', { label: 'CPU, average' }),
          serviceMetric(observed, 'CPUUtilization', 'Maximum', { label: 'CPU, highest' }),
          serviceMetric(observed, 'MemoryUtilization', 'Maximum', { label: 'memory, highest' }),
        ],
        {
          unit: '%',
          max: 100,
          right: panelLines(observed, 'memory'),
          rightUnit: 'bytes',
        },
      ),
      panelWidget(observed, 'streamsPerRelay'),
      panelWidget(observed, 'eventLoop'),
    ],
    [
      graph('Table reads', each('ConsumedReadCapacityUnits'), {
        stacked: true,
        unit: 'units per minute',
        width: 12,
      }),
      graph(
        'Throttled reads and home region writes',
        [
          ...each('ReadThrottleEvents'),
          tableMetric(observed, 'WriteThrottleEvents', 'Sum', { region: homeRegion, label: 'writes' }),
        ],
        { unit: 'per minute', width: 12 },
      ),
    ],
    [
      ...network(observed),
      panelWidget(observed, 'snapshot', {
        title: 'Snapshot size and load balancer capacity',
        width: 12,
        ...(loadBalancers.length > 0 && {
          right: loadBalancers.map((one) =>
            loadBalancerMetric(one, 'ConsumedLCUs', 'Sum', { label: `LCU, ${one.name}` }),
          ),
          rightUnit: 'LCU',
        }),
      }),
    ],
  ];
}

/** What load balancers pass on in both directions, and what relays send. Bytes per second. */
function network(observed: Observed): IWidget[] {
  const { loadBalancers, containerInsights } = observed;
  const passed = loadBalancers.map((one, index) =>
    expression(
      `bytes${index} / 60`,
      { [`bytes${index}`]: loadBalancerMetric(one, 'ProcessedBytes', 'Sum') },
      `load balancer, ${one.name}`,
    ),
  );
  const sent = containerInsights ? sentBy(observed) : [];
  const options = { unit: 'bytes per second', width: 12 };
  if (passed.length === 0) return sent.length === 0 ? [] : [graph('Network', sent, options)];
  return [graph('Network', passed, { ...options, ...(sent.length > 0 && { right: sent, rightUnit: 'per relay' }) })];
}

/** What each relay sends. Only Container Insights says. */
export function sentBy(observed: Observed): IMetric[] {
  return [
    serviceMetric(observed, 'NetworkTxBytes', 'Average', { label: 'sent, average relay' }),
    serviceMetric(observed, 'NetworkTxBytes', 'Maximum', { label: 'sent, busiest relay' }),
  ];
}

export function whatDoesItSay({ logGroupName, homeRegion, region = homeRegion }: Observed): IWidget[][] {
  return [
    [question('6. What is in the log?', 'More saved queries are in Logs Insights, in the folder edge-flag-relay.')],
    [
      new LogQueryWidget({
        title: 'Recent errors and warnings',
        logGroupNames: [logGroupName],
        queryLines: [...recentTrouble.lines],
        view: LogQueryVisualizationType.TABLE,
        region,
        width: WIDTH,
        height: 8,
      }),
    ],
  ];
}

export function distributions(id: string | undefined): IMetric[] {
  if (id === undefined) return [distributionSearch('5xxErrorRate', '5xx'), distributionSearch('4xxErrorRate', '4xx')];
  const region = 'us-east-1';
  return [
    distributionMetric(id, '5xxErrorRate', 'Average', { region, label: '5xx' }),
    distributionMetric(id, '4xxErrorRate', 'Average', { region, label: '4xx' }),
  ];
}

type ObservedDecisions = Pick<ObservedEdge, 'decisions' | 'regions' | 'heartbeatSeconds'>;

/**
 * CloudWatch: 500 metrics of a widget and 2,500 of a dashboard, those that only an expression reads included. AWS: "CloudWatch service quotas".
 * Three such widgets leave the other widgets more than they need.
 */
const MAX_METRICS = 500;
const MAX_DECISION_WIDGETS = 3;

/** What edge functions decided. */
export function decisionGraphs(observed: Pick<Observed, 'stage'>, edge: ObservedDecisions): IWidget[] {
  // In each region, and the expression that adds them up.
  const each = Math.floor(MAX_METRICS / (edge.regions.length + 1));
  const shown = edge.decisions.slice(0, each * MAX_DECISION_WIDGETS);
  const rest = edge.decisions.length - shown.length;
  const groups = Array.from({ length: Math.max(1, Math.ceil(shown.length / each)) }, (_, index) =>
    shown.slice(index * each, (index + 1) * each),
  );
  const titleOf = (index: number) =>
    groups.length === 1
      ? 'Edge: decisions by variation'
      : `Edge: decisions by variation, ${index + 1} of ${groups.length}${rest > 0 ? `, ${rest} more in Metrics` : ''}`;
  return [
    ...groups.map((decisions, index) =>
      graph(titleOf(index), decided(observed, { ...edge, decisions }), { stacked: true, unit: 'per minute' }),
    ),
    graph('Edge: fallbacks', atEdge(observed, edge, 'Fallbacks', 'Sum'), { unit: 'per minute' }),
    graph('Edge: age of the flags that decided', atEdge(observed, edge, 'DataAge', 'Maximum'), {
      unit: 'seconds',
      leftAnnotations: [{ value: 120, label: 'alarm, if every function is above' }],
    }),
    ...(edge.heartbeatSeconds === undefined
      ? []
      : [
          graph('From LaunchDarkly to the edge, by heartbeats: p99', atEdge(observed, edge, 'HeartbeatToEdge', 'p99'), {
            unit: 'seconds',
            leftAnnotations: [{ value: edge.heartbeatSeconds, label: 'promise, p99' }],
          }),
        ]),
  ];
}

/** One line per variation, over all regions. */
function decided(observed: Pick<Observed, 'stage'>, { decisions, regions }: ObservedDecisions): IMetric[] {
  return decisions.map((name, index) => {
    const usingMetrics = Object.fromEntries(
      regions.map((region, place) => [
        `v${index}r${place}`,
        decisionMetric(observed, name, 'Sum', { region, label: region }),
      ]),
    );
    const sum = Object.keys(usingMetrics)
      .map((id) => `FILL(${id}, 0)`)
      .join(' + ');
    return expression(sum, usingMetrics, name);
  });
}

function atEdge(
  observed: Pick<Observed, 'stage'>,
  { regions }: ObservedDecisions,
  name: 'Fallbacks' | 'DataAge' | 'DecisionTime' | 'HeartbeatToEdge',
  statistic: Statistic,
): IMetric[] {
  return regions.map((region) => decisionMetric(observed, name, statistic, { region, label: region }));
}

export function edgeErrors(
  { functionNames, regions }: Pick<ObservedEdge, 'functionNames' | 'regions'>,
  stage: string,
): IMetric[] {
  return functionNames.flatMap((functionName) =>
    regions.map((region) =>
      edgeFunctionMetric(functionName, 'Errors', 'Sum', {
        region,
        label: `${functionName.replace(`edge-flag-relay-${stage}-`, '')} ${region}`,
      }),
    ),
  );
}
