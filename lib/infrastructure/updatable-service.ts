import { Lazy } from 'aws-cdk-lib';
import { type CfnService, FargateService, type FargateServiceProps } from 'aws-cdk-lib/aws-ecs';
import type { Construct } from 'constructs';

/**
 * A Fargate service from which load balancers, a registry and deployment alarms can be taken away again. ECS keeps what an update does not mention, and the
 * CDK leaves out what there is none of. AWS, AWS::ECS::Service: "To remove this property from your service resource, specify an empty
 * ServiceRegistry array", and the same of load balancers; an alarm that ECS still asks for, although it was deleted, fails every later deployment.
 */
export class UpdatableService extends FargateService {
  constructor(scope: Construct, id: string, props: FargateServiceProps) {
    super(scope, id, props);
    this.deploymentAlarms ??= { alarmNames: [], enable: false, rollback: false };
    const resource = this.node.findChild('Service') as CfnService;
    resource.serviceRegistries = Lazy.any({ produce: () => this.serviceRegistries });
    resource.loadBalancers = Lazy.any({ produce: () => this.loadBalancers });
    // The CDK would add a minute of its own to a service with a load balancer.
    if (props.healthCheckGracePeriod?.toSeconds() === 0) resource.healthCheckGracePeriodSeconds = undefined;
  }
}
