import { Duration, Fn, Validations } from 'aws-cdk-lib';
import type { ICertificate } from 'aws-cdk-lib/aws-certificatemanager';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as elb from 'aws-cdk-lib/aws-elasticloadbalancingv2';
import type { IBucket } from 'aws-cdk-lib/aws-s3';
import { Construct } from 'constructs';
import { clientSidePaths, inGroups, serverSidePaths, VALUES_PER_RULE } from './client-side-paths.ts';
import type { ObservedLoadBalancer } from './observability/observed.ts';
import { describeTimeoutProblem, drains, RELAY_PORT } from './relay-contract.ts';
import type { Relay } from './stage.ts';

/** A load balancer of yours, which the relay shares with other services. It is not changed, except by what is named here. */
export interface ExistingLoadBalancer {
  /** Its idle timeout must be more than two of the relay's heartbeats and less than 4,010 s, or it cuts streams. */
  readonly loadBalancer: elb.IApplicationLoadBalancer;
  /** Gets a rule that leads to the relay. @default a new listener, with the certificate if there is one */
  readonly listener?: elb.IApplicationListener;
  /** The number of the first rule in `listener`, where no other rule may have it. Required with `listener`. */
  readonly priority?: number;
  /**
   * Whether other services use it too. What it answers by itself, such as 503 without a target, then counts in no error budget of the relay,
   * since it may be theirs. @default true
   */
  readonly shared?: boolean;
  /** Which requests the rule in `listener` lets through, such as those for a host name. @default all paths */
  readonly conditions?: readonly elb.ListenerCondition[];
  /** The listener's port; 80 means plain HTTP. @default 443 with a certificate or with `listener`, else 80 */
  readonly port?: number;
}

export interface RelayLoadBalancerProps {
  readonly vpc: ec2.IVpc;
  readonly subnets: ec2.SubnetSelection;
  readonly relay: Relay;
  /** @default plain HTTP */
  readonly certificate?: ICertificate | undefined;
  /** The load balancer's own. @default a new one */
  readonly securityGroup?: ec2.ISecurityGroup | undefined;
  /** @default a new load balancer */
  readonly existing?: ExistingLoadBalancer | undefined;
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
  readonly loadBalancer: elb.IApplicationLoadBalancer;
  readonly listener: elb.IApplicationListener;
  readonly targetGroup: elb.ApplicationTargetGroup;
  /** The listener's. */
  readonly port: number;
  readonly tls: boolean;
  private readonly fullName: string;
  private readonly shared: boolean;

  constructor(scope: Construct, id: string, props: RelayLoadBalancerProps) {
    super(scope, id);
    const { relay, certificate, clientSide, existing } = props;
    const wrong = (message: string) => new Error(`${this.node.path}: ${message}`);
    const problem = describeTimeoutProblem(relay);
    if (problem) throw wrong(`idleTimeoutSeconds=${relay.idleTimeoutSeconds} is invalid: expected ${problem}`);
    if (clientSide && !certificate && !existing?.listener) {
      throw wrong('publicAccess.certificate is missing: a public load balancer needs a certificate');
    }
    if (existing?.listener && existing.priority === undefined) {
      throw wrong('priority is missing: give a number that no other rule of the existing listener has');
    }
    this.tls = existing?.listener ? existing.port !== 80 : certificate !== undefined;
    this.port = existing?.port ?? (this.tls ? 443 : 80);

    this.shared = existing !== undefined && existing.shared !== false;
    if (existing) {
      this.loadBalancer = existing.loadBalancer;
      this.fullName = Fn.select(1, Fn.split(':loadbalancer/', existing.loadBalancer.loadBalancerArn));
    } else {
      const made = this.create(id, props);
      this.loadBalancer = made;
      this.fullName = made.loadBalancerFullName;
    }
    this.targetGroup = this.createTargetGroup(props);
    const forward = elb.ListenerAction.forward([this.targetGroup]);
    const listening = {
      port: this.port,
      protocol: certificate ? elb.ApplicationProtocol.HTTPS : elb.ApplicationProtocol.HTTP,
      ...(certificate && {
        certificates: [elb.ListenerCertificate.fromCertificateManager(certificate)],
        sslPolicy: elb.SslPolicy.TLS13_12_RES_PQ,
      }),
      open: false,
      defaultAction: clientSide ? NOT_HERE : forward,
    };
    // On an existing load balancer in this scope, since that one may belong to another stack.
    this.listener =
      existing?.listener ??
      (existing
        ? new elb.ApplicationListener(this, 'Listener', { loadBalancer: this.loadBalancer, ...listening })
        : this.loadBalancer.addListener('Listener', listening));
    if (clientSide) this.letThrough([...clientSidePaths, ...clientSide.paths], forward, existing);
    else if (existing?.listener) this.addRules([{ patterns: ['/*'], action: forward }], existing);
    for (const cidr of clientSide ? ['0.0.0.0/0'] : props.allowedCidrs) {
      for (const group of this.loadBalancer.connections.securityGroups) {
        group.addIngressRule(ec2.Peer.ipv4(cidr), ec2.Port.tcp(this.port), 'SDKs');
      }
    }
  }

  /** Its origin, `https://…`, by the load balancer's own name or by one of yours. */
  urlBy(domainName: string = this.loadBalancer.loadBalancerDnsName): string {
    const usual = this.port === (this.tls ? 443 : 80);
    return `${this.tls ? 'https' : 'http'}://${domainName}${usual ? '' : `:${this.port}`}`;
  }

  /** Its names in CloudWatch. */
  observed(name: string): ObservedLoadBalancer {
    const { fullName, shared } = this;
    return { name, fullName, targetGroupFullName: this.targetGroup.targetGroupFullName, ...(shared && { shared }) };
  }

  private create(id: string, props: RelayLoadBalancerProps): elb.ApplicationLoadBalancer {
    const { vpc, relay, clientSide } = props;
    const securityGroup =
      props.securityGroup ??
      new ec2.SecurityGroup(this, 'SecurityGroup', {
        vpc,
        allowAllOutbound: false,
        description: 'Who may reach the relay',
      });
    const made = new elb.ApplicationLoadBalancer(this, 'LoadBalancer', {
      vpc,
      // It takes one of each zone, and a VPC may have several groups of a type.
      vpcSubnets: { onePerAz: true, ...props.subnets },
      internetFacing: clientSide !== undefined,
      securityGroup,
      idleTimeout: Duration.seconds(relay.idleTimeoutSeconds),
      dropInvalidHeaderFields: true,
      deletionProtection: props.deletionProtection,
      minimumCapacityUnit: relay.reservedCapacityUnits,
    });
    if (clientSide) {
      Validations.of(this).acknowledge({
        id: 'AwsSolutions-EC23',
        reason: 'browsers and mobile devices connect from any address; only their paths are accepted, behind a web ACL',
      });
    }
    if (props.accessLogs) made.logAccessLogs(props.accessLogs, id.toLowerCase());
    // Attributes that an update leaves out keep their values: the load balancer would go on writing to a bucket that left the stage.
    else made.setAttribute('access_logs.s3.enabled', 'false');
    return made;
  }

  private createTargetGroup({ vpc, relay }: RelayLoadBalancerProps): elb.ApplicationTargetGroup {
    return new elb.ApplicationTargetGroup(this, 'Relays', {
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
  }

  private letThrough(
    paths: readonly string[],
    forward: elb.ListenerAction,
    existing: ExistingLoadBalancer | undefined,
  ): void {
    // An existing listener's conditions take values of a rule too.
    const values = Math.max(1, VALUES_PER_RULE - (existing?.conditions?.length ?? 0));
    this.addRules(
      [
        ...inGroups(serverSidePaths, values).map((patterns) => ({ patterns, action: NOT_HERE })),
        ...inGroups(paths, values).map((patterns) => ({ patterns, action: forward })),
      ],
      existing,
    );
  }

  private addRules(
    rules: readonly { readonly patterns: string[]; readonly action: elb.ListenerAction }[],
    { listener, priority: given = 1, conditions = [] }: Partial<ExistingLoadBalancer> = {},
  ): void {
    const others = listener ? conditions : [];
    const priority = listener ? given : 1;
    for (const [index, { patterns, action }] of rules.entries()) {
      const everything = patterns.join() === '/*' && others.length > 0;
      const id = `Rule${index + 1}`;
      const rule = {
        priority: priority + index,
        conditions: [...(everything ? [] : [elb.ListenerCondition.pathPatterns(patterns)]), ...others],
        action,
      };
      if (listener) new elb.ApplicationListenerRule(this, id, { listener, ...rule });
      else this.listener.addAction(id, rule);
    }
  }
}

const NOT_HERE = elb.ListenerAction.fixedResponse(404, {
  contentType: 'application/json',
  messageBody: '{"message":"there is nothing at this address"}',
});
