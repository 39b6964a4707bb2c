import { maximumPercent } from '../../lib/infrastructure/relay-contract.ts';
import { awsNameOf } from '../../relay-task/common/aws-call.ts';
import { NotAnAnswer } from '../aws/ask.ts';
import { explainAwsError } from '../aws/explain.ts';
import { listAt } from '../aws/xml.ts';
import { bad, type Check, good, inTurns, note, unknown } from '../checks/check.ts';
import { type LookedAt, mayOwn } from './looked-at.ts';

/** AWS: Service Quotas. */
const FARGATE = { ServiceCode: 'fargate', QuotaCode: 'L-3032A538' };
const ADDRESSES = { ServiceCode: 'ec2', QuotaCode: 'L-0263D0A3' };

/** The two quotas that new accounts run into: Fargate's vCPUs and the addresses of NAT gateways. */
export async function quotaChecks(looked: LookedAt): Promise<Check[]> {
  const { homeRegion, relayRegions } = looked.stage;
  const regions = [homeRegion, ...relayRegions];
  const failed = (what: string) => (region: string, error: unknown) =>
    unknown('quota', region, `${region}: cannot read ${what}`, explainAwsError(error, region));
  return [
    ...(await inTurns(regions, (region) => fargateChecks(looked, region), failed('how many vCPU Fargate may run'))),
    ...(await inTurns(
      regions,
      (region) => addressChecks(looked, region),
      failed('how many elastic IP addresses there may be'),
    )),
  ];
}

async function fargateChecks({ aws, stage: { relay, production } }: LookedAt, region: string): Promise<Check[]> {
  const limit = await quotaOf(aws, region, FARGATE);
  const vcpus = relay.cpu / 1_024;
  // Old tasks and new ones while a deployment replaces them; ECS rounds down. It could hardly end without one more.
  const share = maximumPercent(relay.tasks, production) / 100;
  const duringDeployment = (tasks: number) => Math.max(tasks + 1, Math.floor(tasks * share));
  const needs = duringDeployment(relay.tasks);
  const [needed, most] = [needs * vcpus, duringDeployment(relay.maxTasks) * vcpus];
  const advice = (least: number) =>
    `request at least ${least}: https://console.aws.amazon.com/servicequotas/home?region=${region}`;
  if (limit < needed) {
    return [
      bad(
        'quota',
        region,
        `${region}: Fargate may run ${limit} vCPU on demand, and the relay needs ${needed}: a deployment runs ${needs} tasks, old and new`,
        advice(most),
      ),
    ];
  }
  if (limit < most) {
    return [
      note(
        'quota',
        region,
        `${region}: Fargate may run ${limit} vCPU on demand; a deployment of relay.maxTasks tasks would use ${most}`,
        advice(most),
      ),
    ];
  }
  return [
    good('quota', region, `${region}: Fargate may run ${limit} vCPU on demand, and the relay uses ${most} at most`),
  ];
}

/** Of the addresses that the deployment adds: CloudFormation makes them before it deletes others. */
async function addressChecks({ aws, wanted, resources, unseen }: LookedAt, region: string): Promise<Check[]> {
  const needed = wanted
    .filter((stack) => stack.region === region)
    .flatMap(({ stackName, template }) => {
      const there = new Set(resources.get(stackName)?.map(({ logicalId }) => logicalId));
      return Object.entries(template.Resources ?? {}).filter(
        ([id, { Type }]) => Type === 'AWS::EC2::EIP' && !there.has(id),
      );
    }).length;
  if (needed === 0) return [];
  if (mayOwn({ unseen }, region)) {
    const why = 'preflight must describe all stacks of the stage for it';
    return [unknown('quota', region, `${region}: cannot tell how many elastic IP addresses the deployment adds`, why)];
  }
  const limit = await quotaOf(aws, region, ADDRESSES);
  const used = listAt(await aws.query('ec2', region, 'DescribeAddresses'), 'addressesSet', 'item').length;
  const what = `${region}: ${used} of ${limit} elastic IP addresses are in use, and new NAT gateways need ${needed}`;
  return used + needed > limit
    ? [bad('quota', region, what, `request at least ${used + needed}, or set networks['${region}'].nat to 'one'`)]
    : [good('quota', region, what)];
}

export async function quotaOf(aws: LookedAt['aws'], region: string, quota: typeof FARGATE): Promise<number> {
  const ask = async (operation: string) => {
    const { Quota } = await aws.json<{ Quota?: { Value?: number } }>('servicequotas', region, operation, quota);
    if (typeof Quota?.Value !== 'number') throw new NotAnAnswer(`servicequotas in ${region}`, 'no value');
    return Quota.Value;
  };
  try {
    return await ask('GetServiceQuota');
  } catch (error) {
    // Accounts without a value of their own have AWS's.
    if (awsNameOf(error) !== 'NoSuchResourceException') throw error;
    return ask('GetAWSDefaultServiceQuota');
  }
}
