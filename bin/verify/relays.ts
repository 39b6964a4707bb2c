import { canaryNamespace } from '../../lib/infrastructure/observability/observed.ts';
import { metricsNamespace, relayLogGroupName } from '../../lib/infrastructure/relay-contract.ts';
import type { Aws } from '../aws/ask.ts';
import { explainAwsError } from '../aws/explain.ts';
import { listAt, textAt } from '../aws/xml.ts';
import { bad, type Check, good, inTurns, unknown } from '../checks/check.ts';
import { type Deployment, type Resource, resourcesIn } from './deployment.ts';

/** ECS's DescribeServices, as far as it is needed. */
interface Service {
  readonly runningCount?: number;
  readonly desiredCount?: number;
  readonly deployments?: readonly { readonly rolloutState?: string; readonly rolloutStateReason?: string }[];
}

/** Every relay's service is steady, with as many tasks as it wants. */
export function serviceChecks(deployment: Deployment): Promise<Check[]> {
  const { aws, stage, deploy } = deployment;
  return inTurns(
    resourcesIn(deployment, 'AWS::ECS::Service'),
    async ({ region, id }) => {
      // arn:aws:ecs:<region>:<account>:service/<cluster>/<service>
      const cluster = id.split('/')[1] ?? '';
      const answer = await aws.json<{ services?: Service[] }>('ecs', region, 'DescribeServices', {
        cluster,
        services: [id],
      });
      const [service] = answer.services ?? [];
      if (!service) return [bad('relay', region, 'the service does not exist', deploy)];
      const { runningCount = 0, desiredCount = 0, deployments = [] } = service;
      const tasks = `${runningCount} of ${desiredCount} tasks run`;
      const [newest] = deployments;
      if (deployments.length > 1 || (newest?.rolloutState !== undefined && newest.rolloutState !== 'COMPLETED')) {
        const reason = newest?.rolloutStateReason ? `: ${newest.rolloutStateReason}` : '';
        return [
          bad(
            'relay',
            region,
            `${tasks}; a deployment is ${newest?.rolloutState ?? 'in progress'}${reason}`,
            'look at the service’s events in ECS; wait for it with --wait 10',
          ),
        ];
      }
      if (runningCount < desiredCount || desiredCount < stage.relay.tasks) {
        return [
          bad(
            'relay',
            region,
            `${tasks}, and the stage wants at least ${stage.relay.tasks}`,
            'look at the service’s events and stopped tasks in ECS',
          ),
        ];
      }
      return [good('relay', region, `${tasks}, steady`)];
    },
    ({ region }, error) => unknown('relay', region, 'the service cannot be described', explainAwsError(error, region)),
  );
}

/** The load balancers have healthy tasks behind them. */
export function targetChecks(deployment: Deployment): Promise<Check[]> {
  const { aws, stage } = deployment;
  return inTurns(
    resourcesIn(deployment, 'AWS::ElasticLoadBalancingV2::TargetGroup'),
    async (group) => {
      const input = { TargetGroupArn: group.id };
      const answer = await aws.query('elasticloadbalancing', group.region, 'DescribeTargetHealth', input);
      const states = listAt(answer, 'DescribeTargetHealthResult', 'TargetHealthDescriptions', 'member').map((one) => ({
        id: textAt(one, 'Target', 'Id'),
        state: textAt(one, 'TargetHealth', 'State'),
        reason: textAt(one, 'TargetHealth', 'Reason'),
      }));
      // Those that drain are being replaced.
      const counted = states.filter(({ state }) => state !== 'draining');
      const sick = counted.filter(({ state }) => state !== 'healthy');
      const healthy = counted.length - sick.length;
      const what = `${nameOf(group)}: ${healthy} of ${counted.length} targets healthy`;
      if (sick.length === 0 && healthy >= stage.relay.tasks) return [good('targets', group.region, what)];
      const reasons = sick.slice(0, 3).map(({ id, state, reason }) => `${id} ${state}${reason ? ` (${reason})` : ''}`);
      const advice = 'ask /readyz and /status of a task; docs/operations.md#unhealthy-tasks';
      return [bad('targets', group.region, [what, ...reasons].join(', '), advice)];
    },
    (group, error) =>
      unknown('targets', group.region, `${nameOf(group)}: cannot be described`, explainAwsError(error, group.region)),
  );
}

/** `RelayPublicRelays…` is the one of the public load balancer. */
function nameOf({ logicalId }: Resource): string {
  return /Public/.test(logicalId) ? 'public' : 'internal';
}

/** A check runs once a minute, and CloudWatch shows its result a little later. */
const RECENT_MS = 10 * 60_000;

/** One metric: its latest value and when that was, Unix ms; undefined if there is none. */
interface Latest {
  readonly at: number;
  readonly value: number;
}

interface Asked {
  readonly namespace: string;
  readonly metric: string;
}

/** By the names of the metrics, without dimensions. */
async function latestOf(aws: Aws, region: string, asked: readonly Asked[], now: number): Promise<Map<string, Latest>> {
  const queries = asked.map(({ namespace, metric }, index) => {
    const query = `MetricDataQueries.member.${index + 1}`;
    return {
      [`${query}.Id`]: `m${index}`,
      [`${query}.MetricStat.Metric.Namespace`]: namespace,
      [`${query}.MetricStat.Metric.MetricName`]: metric,
      [`${query}.MetricStat.Period`]: '60',
      // The synthetic check succeeds with 1 each minute; of the others the worst task counts.
      [`${query}.MetricStat.Stat`]: metric === 'Success' ? 'Minimum' : 'Maximum',
    };
  });
  const answer = await aws.query('monitoring', region, 'GetMetricData', {
    StartTime: new Date(now - RECENT_MS).toISOString(),
    EndTime: new Date(now).toISOString(),
    ScanBy: 'TimestampDescending',
    ...Object.assign({}, ...queries),
  });
  const found = new Map<string, Latest>();
  for (const row of listAt(answer, 'GetMetricDataResult', 'MetricDataResults', 'member')) {
    const [at] = listAt(row, 'Timestamps', 'member');
    const [value] = listAt(row, 'Values', 'member');
    const { metric } = asked[Number(textAt(row, 'Id').slice(1))] ?? {};
    if (metric === undefined || typeof at !== 'string' || typeof value !== 'string') continue;
    found.set(metric, { at: Date.parse(at), value: Number(value) });
  }
  return found;
}

/**
 * Streams work: at home by the synthetic check, elsewhere by what the relays themselves report, since no check runs there. Metrics are read rather
 * than a function called, so that this needs no permission to invoke anything and adds nothing to the metrics.
 */
export async function streamChecks(deployment: Deployment, now = Date.now()): Promise<Check[]> {
  const { name, homeRegion, relayRegions, environments, readerLayer } = deployment.stage;
  const hasCheck = environments.length > 0 && readerLayer;
  const known = deployment.stacks.has(`edge-flag-relay-${name}-observability`);
  const home = hasCheck
    ? known
      ? [{ region: homeRegion, check: syntheticCheck }]
      : []
    : [{ region: homeRegion, check: reportedCheck }];
  return inTurns(
    [...home, ...relayRegions.map((region) => ({ region, check: reportedCheck }))],
    async ({ region, check }) => [await check(deployment, region, now)],
    ({ region }, error) =>
      unknown('streams', region, 'cannot read the metrics that tell', explainAwsError(error, region)),
  );
}

/** What the synthetic check last said: it opens a stream and reads the table each minute, inside the VPC. */
async function syntheticCheck({ stage, aws }: Deployment, region: string, now: number): Promise<Check> {
  const latest = await latestOf(aws, region, [{ namespace: canaryNamespace(stage.name), metric: 'Success' }], now);
  const last = latest.get('Success');
  if (last === undefined) {
    const advice = 'it runs once a minute: try again in some minutes (--wait 5), then look at its log';
    return bad('streams', region, 'the synthetic check has not reported for ten minutes', advice);
  }
  const ago = agoOf(last, now);
  if (last.value === 1) {
    const did = stage.relay.loadBalancer ? 'opened a stream and read' : 'read';
    return good('streams', region, `the synthetic check ${did} the table, ${ago}`);
  }
  const log = `its log says why: /aws/lambda/edge-flag-relay-${stage.name}-canary-caller`;
  return bad('streams', region, `the synthetic check failed, ${ago}`, log);
}

/** Metrics of relays that are 0 while streams have something to serve, and what another value means. */
const TROUBLES = {
  EnvironmentsWithoutData: 'a relay has no flags for an environment',
  UpstreamRefused: 'LaunchDarkly rejects the key of an environment',
  UpstreamDisconnected: 'a relay has no stream from LaunchDarkly for an environment',
};

/** What the relays of a region last reported. */
async function reportedCheck({ stage, aws }: Deployment, region: string, now: number): Promise<Check> {
  const namespace = metricsNamespace(stage.name);
  const asked = ['Up', ...Object.keys(TROUBLES)].map((metric) => ({ namespace, metric }));
  const latest = await latestOf(aws, region, asked, now);
  const up = latest.get('Up');
  if (up === undefined) {
    const advice = `try again in some minutes (--wait 5), then look at their log: ${relayLogGroupName(stage.name)}`;
    return bad('streams', region, 'the relays have not reported for ten minutes', advice);
  }
  const ago = agoOf(up, now);
  const troubles = Object.entries(TROUBLES).flatMap(([metric, what]) =>
    (latest.get(metric)?.value ?? 0) > 0 ? [what] : [],
  );
  if (troubles.length > 0) {
    return bad(
      'streams',
      region,
      `${troubles.join(', ')}, ${ago}`,
      `their log says which: ${relayLogGroupName(stage.name)}`,
    );
  }
  return good('streams', region, `the relays have flags and streams from LaunchDarkly, ${ago}; no client was tried`);
}

function agoOf({ at }: Latest, now: number): string {
  return `${Math.max(0, Math.round((now - at) / 60_000))} min ago`;
}
