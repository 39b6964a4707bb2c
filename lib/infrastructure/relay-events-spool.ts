import { Token } from 'aws-cdk-lib';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import type * as ecs from 'aws-cdk-lib/aws-ecs';
import * as efs from 'aws-cdk-lib/aws-efs';
import { AnyPrincipal, Effect, PolicyDocument, PolicyStatement } from 'aws-cdk-lib/aws-iam';
import type { IKey } from 'aws-cdk-lib/aws-kms';
import { Construct } from 'constructs';
import { RELAY_USER } from './relay-contract.ts';
import { setRetained } from './retained.ts';
import type { EventsSpoolSettings, ExistingFileSystem } from './stage-settings.ts';

/** Where tasks keep events that are not delivered yet. */
export interface EventsSpool extends Pick<EventsSpoolSettings, 'maxMiB'> {
  /**
   * The access point of a file system of yours, whose POSIX user must own its directory. The file system's security group gets a rule that lets
   * tasks in. @default a new file system
   */
  readonly accessPoint?: efs.IAccessPoint;
  /** Encrypts the new file system. @default the AWS managed key for EFS */
  readonly encryptionKey?: IKey;
  /** Of the new file system: the first one of each zone. @default the subnets of the tasks */
  readonly subnets?: ec2.SubnetSelection;
  /** Whether the new file system stays when it leaves its stack; not when its first deployment fails. @default `production` of the relay */
  readonly retain?: boolean;
}

export interface RelayEventsSpoolProps extends EventsSpool {
  readonly vpc: ec2.IVpc;
  readonly subnets: ec2.SubnetSelection;
  readonly retain: boolean;
}

/** Where the relay's container has it. */
export const SPOOL_DIRECTORY = '/spool';
const VOLUME = 'events-spool';
const [UID = '', GID = ''] = RELAY_USER.split(':');

/**
 * A file system that outlives tasks, which all tasks of a relay share. They mount it by an access point, with TLS and their task role, as the user
 * of the image. It has no backup, which would hold events that were delivered since, and no storage class for old files, whose every read is billed.
 */
export class RelayEventsSpool extends Construct {
  readonly maxMiB: number;
  private readonly accessPoint: efs.IAccessPoint;

  constructor(scope: Construct, id: string, props: RelayEventsSpoolProps) {
    super(scope, id);
    // The relay's own default.
    this.maxMiB = props.maxMiB ?? 256;
    this.accessPoint = props.accessPoint ?? this.createAccessPoint(props);
  }

  /** Mounts it. */
  addTo(task: ecs.FargateTaskDefinition, container: ecs.ContainerDefinition): void {
    const { accessPointId, accessPointArn, fileSystem } = this.accessPoint;
    task.addVolume({
      name: VOLUME,
      efsVolumeConfiguration: {
        fileSystemId: fileSystem.fileSystemId,
        transitEncryption: 'ENABLED',
        authorizationConfig: { accessPointId, iam: 'ENABLED' },
      },
    });
    container.addMountPoints({ sourceVolume: VOLUME, containerPath: SPOOL_DIRECTORY, readOnly: false });
    task.taskRole.addToPrincipalPolicy(
      new PolicyStatement({
        actions: ['elasticfilesystem:ClientMount', 'elasticfilesystem:ClientWrite'],
        resources: [fileSystem.fileSystemArn],
        conditions: { StringEquals: { 'elasticfilesystem:AccessPointArn': accessPointArn } },
      }),
    );
  }

  /** Lets tasks in before the first of them starts. */
  admit(service: ecs.FargateService): void {
    const { fileSystem } = this.accessPoint;
    fileSystem.connections.allowFrom(service, ec2.Port.tcp(efs.FileSystem.DEFAULT_PORT), 'the relay');
    // The service alone: its security group comes before the rule that names it.
    service.node.findChild('Service').node.addDependency(this, fileSystem.mountTargetsAvailable);
  }

  private createAccessPoint({ vpc, subnets, retain, encryptionKey }: RelayEventsSpoolProps): efs.IAccessPoint {
    const securityGroup = new ec2.SecurityGroup(this, 'SecurityGroup', {
      vpc,
      allowAllOutbound: false,
      description: 'Who may reach the spool of events',
    });
    const { ref: fileSystemId } = new efs.CfnFileSystem(this, 'Resource', {
      encrypted: true,
      ...(encryptionKey && { kmsKeyId: encryptionKey.keyArn }),
      performanceMode: 'generalPurpose',
      // What bursting allows depends on the size, and the spool is empty while all is well.
      throughputMode: 'elastic',
      backupPolicy: { status: 'DISABLED' },
      fileSystemPolicy: fileSystemPolicy(),
    });
    setRetained(this, retain);
    for (const [zone, { subnetId }] of firstByZone(vpc.selectSubnets(subnets).subnets)) {
      new efs.CfnMountTarget(this, `MountTarget-${zone}`, {
        fileSystemId,
        subnetId,
        securityGroups: [securityGroup.securityGroupId],
      });
    }
    const accessPoint = new efs.CfnAccessPoint(this, 'AccessPoint', {
      fileSystemId,
      posixUser: { uid: UID, gid: GID },
      rootDirectory: {
        path: '/events',
        creationInfo: { ownerUid: UID, ownerGid: GID, permissions: '0700' },
      },
    });
    return accessPointFrom(this, { fileSystemId, accessPointId: accessPoint.ref }, securityGroup);
  }
}

/** A file system of a stage file. */
export function existingAccessPoint(scope: Construct, id: string, existing: ExistingFileSystem): efs.IAccessPoint {
  const place = new Construct(scope, id);
  return accessPointFrom(
    place,
    existing,
    ec2.SecurityGroup.fromSecurityGroupId(place, 'SecurityGroup', existing.securityGroupId),
  );
}

function accessPointFrom(
  scope: Construct,
  { fileSystemId, accessPointId }: Omit<ExistingFileSystem, 'securityGroupId'>,
  securityGroup: ec2.ISecurityGroup,
): efs.IAccessPoint {
  const fileSystem = efs.FileSystem.fromFileSystemAttributes(scope, 'FileSystem', { fileSystemId, securityGroup });
  return efs.AccessPoint.fromAccessPointAttributes(scope, 'Events', { accessPointId, fileSystem });
}

/**
 * Without a policy of its own, everybody who reaches a mount target may mount a file system, as root. With one, who may is what IAM allows. AWS:
 * "Using IAM to control access to file systems".
 */
function fileSystemPolicy(): PolicyDocument {
  const client = (...names: string[]) => names.map((name) => `elasticfilesystem:Client${name}`);
  const deny = { effect: Effect.DENY, principals: [new AnyPrincipal()] };
  return new PolicyDocument({
    statements: [
      new PolicyStatement({
        ...deny,
        actions: client('Mount', 'Write', 'RootAccess'),
        conditions: { Bool: { 'aws:SecureTransport': 'false' } },
      }),
      new PolicyStatement({ ...deny, actions: client('RootAccess') }),
    ],
  });
}

/** A file system has one mount target in a zone, which serves all subnets of the zone. The names depend on the zone alone, so that zones can come and go. */
function firstByZone(subnets: readonly ec2.ISubnet[]): Map<string, ec2.ISubnet> {
  const found = new Map<string, ec2.ISubnet>();
  const zones: string[] = [];
  for (const subnet of subnets) {
    const zone = zoneOf(subnet);
    if (zones.includes(zone)) continue;
    zones.push(zone);
    found.set(Token.isUnresolved(zone) ? String(zones.length) : zone, subnet);
  }
  return found;
}

/** The zone of a subnet that was imported by its ID alone is unknown, so it counts as one of its own. */
function zoneOf(subnet: ec2.ISubnet): string {
  try {
    return subnet.availabilityZone;
  } catch {
    return subnet.node.id;
  }
}
