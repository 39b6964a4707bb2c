/** Networks: the account has the zones, the VPCs and the subnets that the stage file names, and room for another VPC. */
import type { ExistingVpc } from '../../lib/infrastructure/stage-settings.ts';
import { explainAwsError } from '../aws/explain.ts';
import { listAt, textAt, type Xml } from '../aws/xml.ts';
import { bad, type Check, good, inTurns, unknown } from '../checks/check.ts';
import { type LookedAt, mayOwn } from './looked-at.ts';
import { quotaOf } from './quotas.ts';

/** AWS: Service Quotas, "VPCs per Region". */
const VPCS = { ServiceCode: 'vpc', QuotaCode: 'L-F678F1CE' };

export async function networkChecks(looked: LookedAt): Promise<Check[]> {
  const { homeRegion, relayRegions } = looked.stage;
  return inTurns(
    [homeRegion, ...relayRegions],
    (region) => {
      const given = looked.stage.networks[region]?.vpc;
      return given ? givenChecks(looked, region, given) : newChecks(looked, region);
    },
    (region, error) =>
      unknown('network', region, `${region}: cannot look at zones, VPCs and subnets`, explainAwsError(error, region)),
  );
}

/** A VPC that the deployment makes. */
async function newChecks({ aws, stage, wanted, resources, unseen }: LookedAt, region: string): Promise<Check[]> {
  const zones = stage.networks[region]?.zones ?? [];
  const answer = await aws.query('ec2', region, 'DescribeAvailabilityZones');
  const there = listAt(answer, 'availabilityZoneInfo', 'item').map((one) => textAt(one, 'zoneName'));
  const missing = zones.filter((zone) => !there.includes(zone));
  const checks: Check[] = [];
  if (missing.length > 0) {
    const what = `${region}: the account has no zone ${missing.join(', ')}, only ${there.join(', ')}`;
    checks.push(bad('network', region, what, `set networks['${region}'].zones to some of those`));
  }
  const isNew = wanted.some(({ stackName, region: place, template }) => {
    const made = new Set(resources.get(stackName)?.map(({ logicalId }) => logicalId));
    const vpcs = Object.entries(template.Resources ?? {}).filter(([, { Type }]) => Type === 'AWS::EC2::VPC');
    return place === region && vpcs.some(([id]) => !made.has(id));
  });
  if (isNew && !mayOwn({ unseen }, region)) {
    const limit = await quotaOf(aws, region, VPCS);
    const used = listAt(await aws.query('ec2', region, 'DescribeVpcs'), 'vpcSet', 'item').length;
    const what = `${region}: ${used} of ${limit} VPCs are in use, and the deployment makes another`;
    const advice = `request at least ${used + 1}, or give an existing VPC in networks['${region}'].vpc`;
    checks.push(used + 1 > limit ? bad('quota', region, what, advice) : good('quota', region, what));
  }
  return checks;
}

/** A VPC of the stage file. */
async function givenChecks({ aws }: LookedAt, region: string, given: ExistingVpc): Promise<Check[]> {
  const { vpcId, cidr, zones, privateSubnetIds, publicSubnetIds = [] } = given;
  const at = `networks['${region}'].vpc`;
  const advice = `correct ${at} in the stage file`;
  const vpcs = listAt(await aws.query('ec2', region, 'DescribeVpcs'), 'vpcSet', 'item');
  const vpc = vpcs.find((one) => textAt(one, 'vpcId') === vpcId);
  if (vpc === undefined) {
    return [bad('network', vpcId, `${at}: the VPC ${vpcId} does not exist in ${region}`, advice)];
  }
  const checks: Check[] = [];
  const blocks = [
    textAt(vpc, 'cidrBlock'),
    ...listAt(vpc, 'cidrBlockAssociationSet', 'item').map((one) => textAt(one, 'cidrBlock')),
  ];
  if (!blocks.includes(cidr)) {
    checks.push(bad('network', vpcId, `${at}: the VPC ${vpcId} has the addresses ${blocks[0]}, not ${cidr}`, advice));
  }
  // Asked for by their VPC, since AWS answers with an error for all if one does not exist.
  const input = { 'Filter.1.Name': 'vpc-id', 'Filter.1.Value.1': vpcId };
  const subnets = new Map<string, Xml>(
    listAt(await aws.query('ec2', region, 'DescribeSubnets', input), 'subnetSet', 'item').map((one) => [
      textAt(one, 'subnetId'),
      one,
    ]),
  );
  for (const ids of [privateSubnetIds, publicSubnetIds]) {
    for (const [index, id] of ids.entries()) {
      const subnet = subnets.get(id);
      const zone = zones[index % zones.length];
      if (subnet === undefined) {
        checks.push(bad('network', id, `${at}: the VPC ${vpcId} has no subnet ${id}`, advice));
      } else if (textAt(subnet, 'availabilityZone') !== zone) {
        const what = `${at}: the subnet ${id} is in ${textAt(subnet, 'availabilityZone')}, not in ${zone}`;
        checks.push(bad('network', id, what, `${advice}: subnets in the order of zones`));
      }
    }
  }
  return checks.length > 0 ? checks : [good('network', vpcId, `the VPC ${vpcId} and its subnets exist in ${region}`)];
}
