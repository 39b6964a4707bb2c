import { Aws, Duration } from 'aws-cdk-lib';
import type { Metric, MetricOptions } from 'aws-cdk-lib/aws-cloudwatch';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import { Rule, Schedule } from 'aws-cdk-lib/aws-events';
import { LambdaFunction } from 'aws-cdk-lib/aws-events-targets';
import { type IGrantable, type IPrincipal, PolicyStatement } from 'aws-cdk-lib/aws-iam';
import type { IKey } from 'aws-cdk-lib/aws-kms';
import type * as lambda from 'aws-cdk-lib/aws-lambda';
import { RetentionDays } from 'aws-cdk-lib/aws-logs';
import { Construct } from 'constructs';
import type { IFlagTable } from '../flag-table.ts';
import { literalRegion } from '../literal-region.ts';
import { mayRunInVpc } from '../own-function.ts';
import { nearestReplicas } from '../regions.ts';
import { portOf } from '../relay-addresses.ts';
import type { IRelayService } from '../relay-base.ts';
import { environmentsPath } from '../relay-contract.ts';
import { canaryFunction } from './canary-function.ts';
import { type CanaryMetricName, canaryMetric } from './metrics.ts';
import { canaryNamespace } from './observed.ts';

export interface RelayCanaryProps {
  /** The relay that is checked: the properties from here to `flagTable` come from it. @default they are given */
  readonly relay?: IRelayService;
  /** @default that of `relay` */
  readonly stage?: string;
  /** The environment whose SDK key is used, by its name below the stage's path in SSM. */
  readonly environment: string;
  /** The relay's origin, reachable from the VPC: `https://…`. @default that of `relay`; without one the check reads the table alone */
  readonly relayUrl?: string;
  /** The name in the relay's certificate. @default only the certificate's issuer is checked, not its name */
  readonly serverName?: string;
  /** @default none: the relay accepts connections from the VPC */
  readonly loadBalancer?: ec2.IConnectable;
  /** @default that of `relay` */
  readonly vpc?: ec2.IVpc;
  /** Subnets that reach the relay and DynamoDB; nothing else is needed. @default those of the relay's tasks, or the private ones with a way out */
  readonly subnets?: ec2.SubnetSelection;
  /** @default that of `relay` */
  readonly flagTable?: IFlagTable;
  /** The reader layer of this region. */
  readonly readerLayer: lambda.ILayerVersion;
  /** The KMS key of the SSM parameters. @default the AWS managed key for SSM */
  readonly encryptionKey?: IKey;
  /** @default two weeks */
  readonly logRetention?: RetentionDays;
  /** The names of its functions start with it. @default CloudFormation's names */
  readonly functionNamePrefix?: string;
  /** @default once a minute */
  readonly every?: Duration;
}

/**
 * A synthetic check, in two functions. The caller, outside any VPC, reads the key and reports the result to CloudWatch; the
 * reader, inside the relay's VPC, opens a stream to the relay, reads the flags from the table through the layer, and compares
 * them. So the check needs neither a NAT gateway nor an endpoint, and also reports a reader that cannot start.
 */
export class RelayCanary extends Construct implements ec2.IConnectable, IGrantable {
  readonly caller: lambda.Function;
  readonly reader: lambda.Function;
  readonly connections: ec2.Connections;
  readonly stage: string;
  /** How often it runs, which is the period of its alarms. */
  readonly every: Duration;
  /** The role of the reader. */
  readonly grantPrincipal: IPrincipal;

  constructor(scope: Construct, id: string, props: RelayCanaryProps) {
    super(scope, id);
    const { relay, environment, functionNamePrefix, every = Duration.minutes(1) } = props;
    this.every = every;
    const { stage, vpc, flagTable } = this.complete(props);
    this.stage = stage;
    const relayUrl = props.relayUrl ?? relay?.url;
    const serverName = props.serverName ?? relay?.domainName;
    const loadBalancer = props.loadBalancer ?? relay;
    const region = literalRegion(this, 'a canary');
    const { tableName, homeRegion, replicaRegions } = flagTable;
    const nearest = nearestReplicas(homeRegion, replicaRegions);
    const securityGroup = new ec2.SecurityGroup(this, 'SecurityGroup', {
      vpc,
      description: 'The synthetic check',
      allowAllOutbound: false,
    });
    this.connections = securityGroup.connections;
    securityGroup.addEgressRule(ec2.Peer.anyIpv4(), ec2.Port.tcp(443), 'DynamoDB');
    if (relayUrl !== undefined) {
      const relayPort = portOf(relayUrl);
      if (loadBalancer) this.connections.allowTo(loadBalancer, relayPort, 'the relay');
      else if (relayPort.toString() !== '443') securityGroup.addEgressRule(ec2.Peer.anyIpv4(), relayPort, 'the relay');
    }

    const kept = {
      ...{ stage, functionNamePrefix },
      logRetentionDays: props.logRetention ?? RetentionDays.TWO_WEEKS,
    };
    this.reader = canaryFunction(this, 'reader', {
      ...kept,
      timeout: Duration.seconds(20),
      memorySize: 512,
      layers: [props.readerLayer],
      vpc,
      vpcSubnets: props.subnets ?? relay?.taskSubnets ?? { subnetType: ec2.SubnetType.PRIVATE_WITH_EGRESS },
      // It needs no way out.
      allowPublicSubnet: true,
      securityGroups: [securityGroup],
      environment: {
        ...(relayUrl !== undefined && { RELAY_URL: relayUrl }),
        ...(serverName && { RELAY_SERVER_NAME: serverName }),
        TABLE_NAME: tableName,
        // The VPC's endpoint only leads to this region's replica.
        REPLICAS: JSON.stringify({ default: nearest[region] ?? nearest.default }),
      },
    });
    mayRunInVpc(this, this.reader);
    flagTable.grantRead(this.reader);
    this.grantPrincipal = this.reader.grantPrincipal;

    const parameters = `${environmentsPath(stage)}${environment}`;
    this.caller = canaryFunction(this, 'caller', {
      ...kept,
      timeout: Duration.seconds(35),
      memorySize: 256,
      environment: {
        PARAMETERS: parameters,
        READER_NAME: this.reader.functionName,
        METRICS_NAMESPACE: canaryNamespace(stage),
      },
    });
    this.caller.addToRolePolicy(
      new PolicyStatement({ actions: ['lambda:InvokeFunction'], resources: [this.reader.functionArn] }),
    );
    this.caller.addToRolePolicy(
      new PolicyStatement({
        actions: ['ssm:GetParameters'],
        resources: ['sdk-key', 'prefix'].map(
          (name) => `arn:${Aws.PARTITION}:ssm:${region}:${Aws.ACCOUNT_ID}:parameter${parameters}/${name}`,
        ),
      }),
    );
    props.encryptionKey?.grantDecrypt(this.caller);
    new Rule(this, 'Schedule', {
      description: `edge-flag-relay: the synthetic check of stage ${stage}`,
      schedule: Schedule.rate(every),
      // A failed check has already been reported; the next one runs in a minute.
      targets: [new LambdaFunction(this.caller, { retryAttempts: 0, maxEventAge: Duration.minutes(1) })],
    });
  }

  /** What the check reports: `Success` is 1 or 0. @default the minimum over the time between two checks */
  metric(name: Exclude<CanaryMetricName, 'EdgeSuccess' | 'EdgeLatency'>, options: MetricOptions = {}): Metric {
    return canaryMetric({ stage: this.stage }, name, 'Minimum', { period: this.every }).attachTo(this).with(options);
  }

  private complete({ relay, ...given }: RelayCanaryProps) {
    const { stage = relay?.stage, vpc = relay?.vpc, flagTable = relay?.flagTable } = given;
    const lacks = (name: string) => new Error(`${this.node.path}: ${name} is missing: give it, or a relay that has it`);
    if (stage === undefined) throw lacks('stage');
    if (!vpc) throw lacks('vpc');
    if (!flagTable) throw lacks('flagTable');
    return { stage, vpc, flagTable };
  }
}
