import type { Stage } from '../../lib/infrastructure/stages.ts';
import type { Aws } from '../aws/ask.ts';
import type { OpenAws } from '../aws/open.ts';
import type { Needed } from './needed-thing.ts';

/** AWS: Amazon EFS API Reference, DescribeAccessPoints and DescribeMountTargets. */
interface AccessPoints {
  readonly AccessPoints?: readonly { readonly FileSystemId?: string; readonly LifeCycleState?: string }[];
}
interface MountTargets {
  readonly MountTargets?: readonly {
    readonly AvailabilityZoneName?: string;
    readonly LifeCycleState?: string;
    readonly VpcId?: string;
  }[];
}

/** File systems of the stage file for events: without them, or where no mount target is in a task's zone, tasks do not start. */
export function fileSystemsOf({ relay, networks }: Stage, { aws }: Pick<OpenAws, 'aws'>): Needed[] {
  return Object.entries(relay.eventsSpool?.existing ?? {}).map(([region, { fileSystemId, accessPointId }]): Needed => {
    const { vpc, zones = [] } = networks[region] ?? {};
    return {
      name: 'file-system',
      value: accessPointId,
      region,
      what: `relay.eventsSpool.existing.${region}: the access point ${accessPointId}`,
      find: async () =>
        (await accessPointProblem(aws, region, accessPointId, fileSystemId)) ??
        (await mountTargetProblem(aws, region, fileSystemId, { vpcId: vpc?.vpcId, zones: vpc?.zones ?? zones })),
    };
  });
}

async function accessPointProblem(
  aws: Aws,
  region: string,
  id: string,
  fileSystemId: string,
): Promise<string | undefined> {
  const path = `/2015-02-01/access-points?AccessPointId=${id}`;
  const { AccessPoints: [found] = [] } = await aws.getJson<AccessPoints>('elasticfilesystem', region, path);
  if (found?.FileSystemId !== fileSystemId) return `is one of ${found?.FileSystemId ?? 'none'}, not of ${fileSystemId}`;
  return found.LifeCycleState === 'available' ? undefined : `is ${found.LifeCycleState}`;
}

async function mountTargetProblem(
  aws: Aws,
  region: string,
  fileSystemId: string,
  { vpcId, zones }: { readonly vpcId: string | undefined; readonly zones: readonly string[] },
): Promise<string | undefined> {
  const path = `/2015-02-01/mount-targets?FileSystemId=${fileSystemId}`;
  const { MountTargets: all = [] } = await aws.getJson<MountTargets>('elasticfilesystem', region, path);
  const elsewhere = all.find(({ VpcId: other }) => vpcId !== undefined && other !== vpcId);
  if (elsewhere) return `is in the VPC ${elsewhere.VpcId}, and tasks in ${vpcId}: a file system is in one VPC`;
  const there = all.flatMap((one) => (one.LifeCycleState === 'available' ? one.AvailabilityZoneName : []));
  const without = zones.filter((zone) => !there.includes(zone));
  if (without.length === 0) return undefined;
  return `has no mount target in ${without.join(', ')}, where tasks run, only in ${there.join(', ') || 'no zone'}`;
}
