import { canaryNamespace } from '../../lib/infrastructure/observability/observed.ts';
import { explainAwsError } from '../aws/explain.ts';
import { listAt, textAt } from '../aws/xml.ts';
import { bad, type Check, good, inTurns, note, unknown } from '../checks/check.ts';
import { type Deployment, type Resource, resourcesIn } from './deployment.ts';

/** ECS's DescribeServices, as far as it is needed. */
interface Service {
  readonly runningCount?: number;
  readonly desiredCount?: number;
  readonly deployments?: readonly { readonly rolloutState?: string; readonly rolloutStateReason?: string }[];
}

/** Every relay's service is steady, with as many tasks as it wants. */
export function serviceChecks(deployment: Deployment): Promise<Check[]> {
  const { aws, stage } = deployment;
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
      if (!service)
        return [
          bad('relay', region, 'the service does not exist', `npx cdk deploy '${stage.name}/*' -c stage=${stage.name}`),
        ];
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

/**
 * What the synthetic check last said: it opens a stream and reads the table each minute, inside the VPC. Its metric is read rather than its function
 * called, so that this needs no permission to invoke anything and adds nothing to the metric.
 */
export async function streamChecks({ stage, aws, stacks }: Deployment, now = Date.now()): Promise<Check[]> {
  const { name, homeRegion, environments, readerLayer } = stage;
  if (environments.length === 0 || !readerLayer) {
    return [note('streams', homeRegion, 'no synthetic check, since the stage has no environments or no readerLayer')];
  }
  if (!stacks.has(`edge-flag-relay-${name}-observability`)) return [];
  const query = 'MetricDataQueries.member.1';
  try {
    const answer = await aws.query('monitoring', homeRegion, 'GetMetricData', {
      StartTime: new Date(now - RECENT_MS).toISOString(),
      EndTime: new Date(now).toISOString(),
      ScanBy: 'TimestampDescending',
      [`${query}.Id`]: 'success',
      [`${query}.MetricStat.Metric.Namespace`]: canaryNamespace(name),
      [`${query}.MetricStat.Metric.MetricName`]: 'Success',
      [`${query}.MetricStat.Period`]: '60',
      [`${query}.MetricStat.Stat`]: 'Minimum',
    });
    const [row] = listAt(answer, 'GetMetricDataResult', 'MetricDataResults', 'member');
    const [at] = listAt(row, 'Timestamps', 'member');
    const [value] = listAt(row, 'Values', 'member');
    if (typeof at !== 'string' || typeof value !== 'string') {
      const advice = 'it runs once a minute: try again in some minutes (--wait 5), then look at its log';
      return [bad('streams', homeRegion, 'the synthetic check has not reported for ten minutes', advice)];
    }
    const ago = `${Math.max(0, Math.round((now - Date.parse(at)) / 60_000))} min ago`;
    return Number(value) === 1
      ? [
          good(
            'streams',
            homeRegion,
            `the synthetic check ${stage.relay.loadBalancer ? 'opened a stream and read' : 'read'} the table, ${ago}`,
          ),
        ]
      : [
          bad(
            'streams',
            homeRegion,
            `the synthetic check failed, ${ago}`,
            `its log says why: /aws/lambda/edge-flag-relay-${name}-canary-caller`,
          ),
        ];
  } catch (error) {
    return [
      unknown('streams', homeRegion, 'cannot read the synthetic check’s metric', explainAwsError(error, homeRegion)),
    ];
  }
}
