/** Brings exposures from the logs of functions to the relay: a collector in each region with such logs, and a sender beside the relay. */
import { Aws, Duration, Stack } from 'aws-cdk-lib';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import { type IGrantable, type IPrincipal, PolicyStatement } from 'aws-cdk-lib/aws-iam';
import type { IKey } from 'aws-cdk-lib/aws-kms';
import type * as lambda from 'aws-cdk-lib/aws-lambda';
import { FilterPattern, type ILogGroup, RetentionDays } from 'aws-cdk-lib/aws-logs';
import { LambdaDestination } from 'aws-cdk-lib/aws-logs-destinations';
import { Construct } from 'constructs';
import { EXPOSURES_MARK } from '../../lambda/edge-reader/exposures-line.ts';
import { bundleDirectory } from './own-bundles.ts';
import { mayRunInVpc, ownFunction } from './own-function.ts';
import { portOf } from './relay-addresses.ts';
import type { IRelayService } from './relay-base.ts';
import { checkStageName, environmentsPath } from './relay-contract.ts';

/** Fixed names: collectors in other regions call the sender by its name. */
export function exposuresFunctionName(stage: string, which: 'collector' | 'sender'): string {
  return `edge-flag-relay-${stage}-exposures-${which}`;
}

export interface ExposureSenderProps {
  /** The relay that gets the exposures: the properties from here to `subnets` come from it. @default they are given */
  readonly relay?: IRelayService;
  /** @default that of `relay` */
  readonly stage?: string;
  /** The relay's origin, reachable from the VPC: `https://…`. @default that of `relay` */
  readonly relayUrl?: string;
  /** The name in the relay's certificate. @default that of `relay`, or only the certificate's issuer is checked, not its name */
  readonly serverName?: string | undefined;
  /** @default `relay`, or none: it accepts connections from the VPC */
  readonly loadBalancer?: ec2.IConnectable;
  /** @default that of `relay` */
  readonly vpc?: ec2.IVpc;
  /** Subnets that reach the relay; nothing else is needed. @default those of the relay's tasks, or the private ones with a way out */
  readonly subnets?: ec2.SubnetSelection;
  /** @default two weeks */
  readonly logRetention?: RetentionDays;
}

/** In the relay's VPC: posts what collectors give it to the relay, which must forward events (`USE_EVENTS`). One for each stage. */
export class ExposureSender extends Construct implements ec2.IConnectable, IGrantable {
  readonly function: lambda.Function;
  readonly grantPrincipal: IPrincipal;
  readonly connections: ec2.Connections;

  constructor(scope: Construct, id: string, props: ExposureSenderProps) {
    super(scope, id);
    const { relay } = props;
    const { stage, relayUrl, vpc } = this.complete(props);
    checkStageName(this, stage);
    const { serverName = relay?.domainName, loadBalancer = relay, subnets = relay?.taskSubnets } = props;
    const { logRetention: logRetentionDays = RetentionDays.TWO_WEEKS } = props;
    const securityGroup = new ec2.SecurityGroup(this, 'SecurityGroup', {
      vpc,
      description: 'What sends exposures to the relay',
      allowAllOutbound: false,
    });
    this.connections = securityGroup.connections;
    const port = portOf(relayUrl);
    if (loadBalancer) this.connections.allowTo(loadBalancer, port, 'the relay');
    else securityGroup.addEgressRule(ec2.Peer.anyIpv4(), port, 'the relay');
    this.function = ownFunction(this, {
      functionName: exposuresFunctionName(stage, 'sender'),
      directory: bundleDirectory('exposures-sender'),
      description: `edge-flag-relay: exposures of stage ${stage}, to the relay`,
      logRetentionDays,
      timeout: Duration.seconds(15),
      memorySize: 256,
      vpc,
      vpcSubnets: subnets ?? { subnetType: ec2.SubnetType.PRIVATE_WITH_EGRESS },
      // It needs no way out.
      allowPublicSubnet: true,
      securityGroups: [securityGroup],
      environment: { RELAY_URL: relayUrl, ...(serverName !== undefined && { RELAY_SERVER_NAME: serverName }) },
    });
    this.grantPrincipal = this.function.grantPrincipal;
    mayRunInVpc(this, this.function);
  }

  private complete({ relay, ...given }: ExposureSenderProps) {
    const { stage = relay?.stage, relayUrl = relay?.url, vpc = relay?.vpc } = given;
    const lacks = (name: string) => new Error(`${this.node.path}: ${name} is missing: give it, or a relay that has it`);
    if (stage === undefined) throw lacks('stage');
    if (relayUrl === undefined) throw lacks('relayUrl');
    if (!vpc) throw lacks('vpc');
    return { stage, relayUrl, vpc };
  }
}

export interface ExposureCollectorProps {
  readonly stage: string;
  /** The environment to which the exposures belong, by its name below the stage's path in SSM. */
  readonly environment: string;
  /** The region of the sender and of the key in SSM. */
  readonly homeRegion: string;
  /** Logs of functions of this region whose readers have exposures. */
  readonly logGroups: readonly ILogGroup[];
  /** The KMS key of the SSM parameters. @default the AWS managed key for SSM */
  readonly encryptionKey?: IKey;
  /** @default two weeks */
  readonly logRetention?: RetentionDays;
}

/**
 * In each region where readers with exposures run: subscribes to their logs, makes LaunchDarkly's events of them and gives these to the
 * sender. A log group can have two subscriptions. One for each stage and region.
 */
export class ExposureCollector extends Construct implements IGrantable {
  readonly function: lambda.Function;
  readonly grantPrincipal: IPrincipal;

  constructor(scope: Construct, id: string, props: ExposureCollectorProps) {
    super(scope, id);
    checkStageName(this, props.stage);
    const { stage, environment, homeRegion, logGroups, encryptionKey } = props;
    const { logRetention: logRetentionDays = RetentionDays.TWO_WEEKS } = props;
    const parameters = `${environmentsPath(stage)}${environment}`;
    const senderName = exposuresFunctionName(stage, 'sender');
    this.function = ownFunction(this, {
      functionName: exposuresFunctionName(stage, 'collector'),
      directory: bundleDirectory('exposures-collector'),
      description: `edge-flag-relay: exposures of stage ${stage}, from logs`,
      logRetentionDays,
      timeout: Duration.minutes(2),
      // A batch may have 64 MB when it is decompressed.
      memorySize: 512,
      environment: { HOME_REGION: homeRegion, PARAMETERS: parameters, SENDER_NAME: senderName },
      // Lambda's default, and LaunchDarkly takes exposures that are an hour late.
      retryAttempts: 2,
      maxEventAge: Duration.hours(1),
    });
    this.grantPrincipal = this.function.grantPrincipal;
    const arnOf = (service: string, resource: string) =>
      `arn:${Aws.PARTITION}:${service}:${homeRegion}:${Stack.of(this).account}:${resource}`;
    const may = (actions: string[], resources: string[]) =>
      this.function.addToRolePolicy(new PolicyStatement({ actions, resources }));
    may(['lambda:InvokeFunction'], [arnOf('lambda', `function:${senderName}`)]);
    may(['ssm:GetParameters'], [arnOf('ssm', `parameter${parameters}/sdk-key`)]);
    encryptionKey?.grantDecrypt(this.function);
    for (const [index, logGroup] of logGroups.entries()) {
      logGroup.addSubscriptionFilter(`Exposures${index}`, {
        destination: new LambdaDestination(this.function),
        filterPattern: FilterPattern.allTerms(EXPOSURES_MARK),
      });
    }
  }
}
