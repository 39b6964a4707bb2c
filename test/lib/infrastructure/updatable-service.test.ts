/** A service in an app of somebody else, without this project's feature flags. */
import { App, Duration, Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { Vpc } from 'aws-cdk-lib/aws-ec2';
import { Cluster, ContainerImage, FargateTaskDefinition } from 'aws-cdk-lib/aws-ecs';
import { ApplicationTargetGroup } from 'aws-cdk-lib/aws-elasticloadbalancingv2';
import { FlagTable, RelayService } from '../../../lib/infrastructure/constructs.ts';
import { UpdatableService } from '../../../lib/infrastructure/updatable-service.ts';

const vpcIn = (stack: Stack) =>
  Vpc.fromVpcAttributes(stack, 'Vpc', {
    vpcId: 'vpc-0123456789abcdef0',
    availabilityZones: ['eu-west-1a', 'eu-west-1b'],
    privateSubnetIds: ['subnet-0123456789abcdef0', 'subnet-0123456789abcdef1'],
    privateSubnetRouteTableIds: ['rtb-0123456789abcdef0', 'rtb-0123456789abcdef0'],
  });
const newStack = () => new Stack(new App({ analyticsReporting: false }), 'Mine', { env: { region: 'eu-west-1' } });
const image = ContainerImage.fromRegistry('public.ecr.aws/example/relay:1.2.3');

function serviceOf(graceSeconds: number | undefined, balanced: boolean): Template {
  const stack = newStack();
  const vpc = vpcIn(stack);
  const taskDefinition = new FargateTaskDefinition(stack, 'Task');
  taskDefinition.addContainer('relay', { image, portMappings: [{ containerPort: 8030 }] });
  const service = new UpdatableService(stack, 'Service', {
    cluster: new Cluster(stack, 'Cluster', { vpc }),
    ...{ taskDefinition, minHealthyPercent: 100 },
    ...(graceSeconds !== undefined && { healthCheckGracePeriod: Duration.seconds(graceSeconds) }),
  });
  if (balanced) service.attachToApplicationTargetGroup(new ApplicationTargetGroup(stack, 'Target', { vpc, port: 80 }));
  return Template.fromStack(stack);
}

// AWS::ECS::Service: "To remove this property from your service resource, specify an empty array".
test('without a load balancer and a registry has ECS forget those that it had @heavy', () => {
  serviceOf(undefined, false).hasResourceProperties('AWS::ECS::Service', {
    LoadBalancers: [],
    ServiceRegistries: [],
    HealthCheckGracePeriodSeconds: Match.absent(),
  });
});

// aws-cloudformation/cloudformation-coverage-roadmap#1313: a load balancer and a grace period cannot come together.
test('can have a load balancer without a grace period, not even the CDK’s own @heavy', () => {
  const periodOf = (graceSeconds: number) => {
    const [service] = Object.values(serviceOf(graceSeconds, true).findResources('AWS::ECS::Service'));
    expect(service!.Properties.LoadBalancers).toHaveLength(1);
    return service!.Properties.HealthCheckGracePeriodSeconds;
  };
  expect([periodOf(0), periodOf(60)]).toEqual([undefined, 60]);
});

test.each([
  [undefined, 60],
  [Duration.minutes(2), 120],
  [Duration.seconds(0), undefined],
])('of a relay with healthCheckGrace %s has %s seconds @heavy', (healthCheckGrace, seconds) => {
  const stack = newStack();
  const flagTable = FlagTable.fromExisting('flags', { homeRegion: 'eu-west-1', replicaRegions: [] });
  new RelayService(stack, 'Relay', {
    ...{ stage: 'mine', flagTable, image, vpc: vpcIn(stack) },
    ...(healthCheckGrace && { healthCheckGrace }),
  });
  const [service] = Object.values(Template.fromStack(stack).findResources('AWS::ECS::Service'));
  expect(service!.Properties.HealthCheckGracePeriodSeconds).toBe(seconds);
});
