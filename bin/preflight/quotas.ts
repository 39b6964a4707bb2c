import { awsNameOf } from '../../relay-task/common/aws-call.ts';
import { listAt } from '../aws/xml.ts';
import { bad, type Check, good, inTurns, note, unknown } from '../checks/check.ts';
import { describeAwsError } from '../keys/store.ts';
import type { LookedAt } from './looked-at.ts';

/** AWS: Service Quotas. */
const FARGATE = { ServiceCode: 'fargate', QuotaCode: 'L-3032A538' };
const ADDRESSES = { ServiceCode: 'ec2', QuotaCode: 'L-0263D0A3' };

/** The two quotas that new accounts run into: Fargate's vCPUs and the addresses of NAT gateways. */
export async function quotaChecks(looked: LookedAt): Promise<Check[]> {
  const { homeRegion, relayRegions } = looked.stage;
  const regions = [homeRegion, ...relayRegions];
  const failed = (what: string) => (region: string, error: unknown) =>
    unknown('quota', region, `${region}: cannot read ${what}`, describeAwsError(error, region));
  return [
    ...(await inTurns(regions, (region) => fargateChecks(looked, region), failed('how many vCPU Fargate may run'))),
    ...(await inTurns(
      regions,
      (region) => addressChecks(looked, region),
      failed('how many elastic IP addresses there may be'),
    )),
  ];
}

async function fargateChecks({ aws, stage: { relay } }: LookedAt, region: string): Promise<Check[]> {
  const limit = await quotaOf(aws, region, FARGATE);
  const vcpus = relay.cpu / 1_024;
  // A deployment starts one more before it stops the first.
  const [needed, most] = [(relay.tasks + 1) * vcpus, relay.maxTasks * vcpus];
  const advice = (least: number) =>
    `request at least ${least}: https://console.aws.amazon.com/servicequotas/home?region=${region}`;
  if (limit < needed) {
    return [
      bad(
        'quota',
        region,
        `${region}: Fargate may run ${limit} vCPU on demand, and the relay needs ${needed} for its ${relay.tasks} tasks and the one that replaces them`,
        advice(most),
      ),
    ];
  }
  if (limit < most) {
    return [
      note(
        'quota',
        region,
        `${region}: Fargate may run ${limit} vCPU on demand; with relay.maxTasks the relay would use ${most}`,
        advice(most),
      ),
    ];
  }
  return [
    good('quota', region, `${region}: Fargate may run ${limit} vCPU on demand, and the relay uses ${most} at most`),
  ];
}

async function addressChecks({ aws, stage, deployed }: LookedAt, region: string): Promise<Check[]> {
  const { vpc, nat, zones } = stage.networks[region] ?? {};
  const stack = `edge-flag-relay-${stage.name}-relay${region === stage.homeRegion ? '' : `-${region}`}`;
  if (vpc || nat === 'none' || deployed.has(stack)) return [];
  const needed = nat === 'one' ? 1 : (zones?.length ?? 0);
  const limit = await quotaOf(aws, region, ADDRESSES);
  const used = listAt(await aws.query('ec2', region, 'DescribeAddresses'), 'addressesSet', 'item').length;
  const what = `${region}: ${used} of ${limit} elastic IP addresses are in use, and the NAT gateways need ${needed}`;
  return used + needed > limit
    ? [bad('quota', region, what, `request at least ${used + needed}, or set networks['${region}'].nat to 'one'`)]
    : [good('quota', region, what)];
}

async function quotaOf(aws: LookedAt['aws'], region: string, quota: typeof FARGATE): Promise<number> {
  const ask = (operation: string) =>
    aws.json<{ Quota?: { Value?: number } }>('servicequotas', region, operation, quota);
  try {
    return (await ask('GetServiceQuota')).Quota?.Value ?? Number.POSITIVE_INFINITY;
  } catch (error) {
    // Accounts without a value of their own have AWS's.
    if (awsNameOf(error) !== 'NoSuchResourceException') throw error;
    return (await ask('GetAWSDefaultServiceQuota')).Quota?.Value ?? Number.POSITIVE_INFINITY;
  }
}
