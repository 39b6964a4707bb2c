import { Duration } from 'aws-cdk-lib';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as elb from 'aws-cdk-lib/aws-elasticloadbalancingv2';
import type { IBucket } from 'aws-cdk-lib/aws-s3';
import { Construct } from 'constructs';
import { clientSidePaths, inGroups, serverSidePaths, VALUES_PER_RULE } from './client-side-paths.ts';
import { describeTimeoutProblem, drains, RELAY_PORT } from './relay-contract.ts';
import type { Relay } from './stage.ts';

export interface RelayLoadBalancerProps {
  readonly vpc: ec2.IVpc;
  readonly subnets: ec2.SubnetSelection;
  readonly relay: Relay;
  /** Default: plain HTTP. */
  readonly certificateArn?: string | undefined;
  /** Accepts only the paths of browser and mobile SDKs, from any address. Default: all paths, from `allowedCidrs`. */
  readonly clientSide?: { readonly paths: readonly string[] } | undefined;
  readonly allowedCidrs: readonly string[];
  readonly accessLogs?: IBucket | undefined;
  readonly deletionProtection: boolean;
}

/**
 * An Application Load Balancer for streams that never end: its idle timeout is between heartbeat and keep-alive, and new
 * streams go to the task with the fewest. Throws an Error when the timeouts conflict.
 */
export class RelayLoadBalancer extends Construct {
  readonly loadBalancer: elb.ApplicationLoadBalancer;
  readonly listener: elb.ApplicationListener;
  readonly targetGroup: elb.ApplicationTargetGroup;

  constructor(scope: Construct, id: string, props: RelayLoadBalancerProps) {
    super(scope, id);
    const { vpc, relay, certificateArn, clientSide } = props;
    const problem = describeTimeoutProblem(relay);
    if (problem) throw new Error(`idleTimeoutSeconds=${relay.idleTimeoutSeconds} is invalid: expected ${problem}`);
    if (clientSide && !certificateArn) throw new Error('a public load balancer needs a certificate');

    const securityGroup = new ec2.SecurityGroup(this, 'SecurityGroup', {
      vpc,
      allowAllOutbound: false,
      description: 'Who may reach the relay',
    });
    this.loadBalancer = new elb.ApplicationLoadBalancer(this, 'LoadBalancer', {
      vpc,
      vpcSubnets: props.subnets,
      internetFacing: clientSide !== undefined,
      securityGroup,
      idleTimeout: Duration.seconds(relay.idleTimeoutSeconds),
      dropInvalidHeaderFields: true,
      deletionProtection: props.deletionProtection,
      minimumCapacityUnit: relay.reservedCapacityUnits,
    });
    if (props.accessLogs) this.loadBalancer.logAccessLogs(props.accessLogs, id.toLowerCase());

    this.targetGroup = new elb.ApplicationTargetGroup(this, 'Relays', {
      vpc,
      targetType: elb.TargetType.IP,
      protocol: elb.ApplicationProtocol.HTTP,
      port: RELAY_PORT,
      // An open stream counts as an outstanding request. Slow start would forbid this algorithm.
      loadBalancingAlgorithmType: elb.TargetGroupLoadBalancingAlgorithmType.LEAST_OUTSTANDING_REQUESTS,
      deregistrationDelay: Duration.seconds(drains[relay.drain].deregistrationSeconds),
      healthCheck: {
        path: '/readyz',
        healthyHttpCodes: '200',
        interval: Duration.seconds(10),
        timeout: Duration.seconds(5),
        healthyThresholdCount: 2,
        unhealthyThresholdCount: 3,
      },
    });
    const port = certificateArn ? 443 : 80;
    const forward = elb.ListenerAction.forward([this.targetGroup]);
    this.listener = this.loadBalancer.addListener('Listener', {
      port,
      protocol: certificateArn ? elb.ApplicationProtocol.HTTPS : elb.ApplicationProtocol.HTTP,
      ...(certificateArn && {
        certificates: [elb.ListenerCertificate.fromArn(certificateArn)],
        sslPolicy: elb.SslPolicy.TLS13_12_RES_PQ,
      }),
      open: false,
      defaultAction: clientSide ? NOT_HERE : forward,
    });
    if (clientSide) this.letThrough([...clientSidePaths, ...clientSide.paths], forward);
    for (const cidr of clientSide ? ['0.0.0.0/0'] : props.allowedCidrs) {
      securityGroup.addIngressRule(ec2.Peer.ipv4(cidr), ec2.Port.tcp(port), 'SDKs');
    }
  }

  private letThrough(paths: readonly string[], forward: elb.ListenerAction): void {
    const rules = [
      ...inGroups(serverSidePaths, VALUES_PER_RULE).map((patterns) => ({ patterns, action: NOT_HERE })),
      ...inGroups(paths, VALUES_PER_RULE).map((patterns) => ({ patterns, action: forward })),
    ];
    for (const [index, { patterns, action }] of rules.entries()) {
      this.listener.addAction(`Rule${index + 1}`, {
        priority: index + 1,
        conditions: [elb.ListenerCondition.pathPatterns(patterns)],
        action,
      });
    }
  }
}

const NOT_HERE = elb.ListenerAction.fixedResponse(404, {
  contentType: 'application/json',
  messageBody: '{"message":"there is nothing at this address"}',
});
