/** What AWS makes of an update that the templates alone do not show: parts of a resource that are refused, or that stay. */
import { FUNCTION_ZONES } from './regions.ts';
import { type StackTemplate, type Template, type TemplateResource, textOf } from './template.ts';
import type { UpdateProblem } from './update-problem.ts';

export function leftoverProblems(
  stack: StackTemplate,
  old: Template | undefined,
  next: readonly StackTemplate[],
): UpdateProblem[] {
  if (!old) return [];
  return [
    ...graceProblems(stack, old),
    ...replicaProblems(stack, old),
    ...reservationProblems(stack, old),
    ...subnetProblems(stack, old),
    ...mountTargetProblems(stack, old),
    ...policyProblems(stack, old, next),
  ];
}

function* both({ template }: StackTemplate, old: Template, type: string) {
  for (const [id, is] of Object.entries(template.Resources ?? {})) {
    const was = old.Resources?.[id];
    if (is.Type === type && was?.Type === type) yield { id, was, is };
  }
}

/** aws-cloudformation/cloudformation-coverage-roadmap#1313: one after the other works. */
function graceProblems(stack: StackTemplate, old: Template): UpdateProblem[] {
  const balancers = ({ Properties: { LoadBalancers: all } = {} }: TemplateResource) =>
    Array.isArray(all) ? all.length : 0;
  return [...both(stack, old, 'AWS::ECS::Service')].flatMap(({ id, was, is }): UpdateProblem[] => {
    const { HealthCheckGracePeriodSeconds: grace } = is.Properties ?? {};
    if (balancers(was) > 0 || balancers(is) === 0 || grace === undefined) return [];
    return [
      {
        ...{ kind: 'order', refused: true, stackName: stack.stackName, resource: id },
        what: 'relay.loadBalancer cannot come back in one deployment: CloudFormation sets the grace period of the health checks before the load balancer, which ECS refuses',
        advice: 'set relay.healthCheckGraceSeconds: 0 and deploy; then take it out and deploy again',
      },
    ];
  });
}

/** AWS::DynamoDB::GlobalTable, Replicas: "we recommend submitting an UpdateStack operation containing only that change". */
function replicaProblems(stack: StackTemplate, old: Template): UpdateProblem[] {
  const { stackName } = stack;
  const replicasOf = ({ Properties: { Replicas: all } = {} }: TemplateResource) =>
    new Map((Array.isArray(all) ? all : []).map((one) => [textOf(one.Region), textOf(one)]));
  const othersOf = ({ Properties: { Replicas: _, ...others } = {} }: TemplateResource) => textOf(others);
  return [...both(stack, old, 'AWS::DynamoDB::GlobalTable')].flatMap(({ id, was, is }): UpdateProblem[] => {
    const [before, after] = [replicasOf(was), replicasOf(is)];
    const kept = [...after.keys()].filter((region) => before.has(region));
    if (kept.length === before.size && kept.length === after.size) return [];
    if (othersOf(was) === othersOf(is) && kept.every((region) => before.get(region) === after.get(region))) return [];
    return [
      {
        ...{ kind: 'replicas', refused: false, stackName, resource: id },
        what: 'replicaRegions changes together with other settings of the table (encryptionKeys, protected, tags): AWS recommends an update with nothing else than a replica, which may have to be deleted by hand if the update fails',
        advice: 'deploy one after the other',
      },
    ];
  });
}

function reservationProblems(stack: StackTemplate, old: Template): UpdateProblem[] {
  const { stackName, region } = stack;
  return [...both(stack, old, 'AWS::ElasticLoadBalancingV2::LoadBalancer')].flatMap(
    ({ id, was, is }): UpdateProblem[] => {
      const { MinimumLoadBalancerCapacity: before } = was.Properties ?? {};
      const { MinimumLoadBalancerCapacity: after } = is.Properties ?? {};
      if (before === undefined || after !== undefined) return [];
      const { CapacityUnits: units } = before as { readonly CapacityUnits?: unknown };
      const at = `--region ${region} --load-balancer-arn`;
      return [
        {
          ...{ kind: 'leftover', refused: false, stackName, resource: id },
          what: `relay.reservedCapacityUnits: AWS does not say whether the ${units} reserved units of ${id}, which cost money, go when the property does`,
          advice: `look after the deployment, aws elbv2 describe-capacity-reservation ${at} …, and take them away: aws elbv2 modify-capacity-reservation --reset-capacity-reservation ${at} …`,
        },
      ];
    },
  );
}

/** In the first zones, where functions have network interfaces until the stacks that come later are deployed, and some time longer. */
function subnetProblems({ stackName, region, template }: StackTemplate, old: Template): UpdateProblem[] {
  const subnetsOf = ({ Resources = {} }: Template) =>
    Object.entries(Resources).flatMap(([id, { Type: type, Properties: properties = {} }]) => {
      const { AvailabilityZone: zone } = properties;
      return type === 'AWS::EC2::Subnet' && typeof zone === 'string' ? [{ id, zone }] : [];
    });
  const before = subnetsOf(old);
  const left = new Set(subnetsOf(template).map(({ zone }) => zone));
  const zones = [...new Set(before.map(({ zone }) => zone))].sort();
  // Without any subnet, the network is no longer the stage's.
  if (left.size === 0) return [];
  return zones.slice(0, FUNCTION_ZONES).flatMap((zone): UpdateProblem[] => {
    const first = before.find((one) => one.zone === zone && template.Resources?.[one.id] === undefined);
    if (left.has(zone) || !first) return [];
    const filters = `Name=availability-zone,Values=${zone} Name=tag:aws:cloudformation:stack-name,Values=${stackName}`;
    return [
      {
        ...{ kind: 'leftover', refused: false, stackName, resource: first.id },
        what: `networks.${region}.zones: functions still have network interfaces in ${zone} when its subnets are to be deleted, so CloudFormation may leave these behind. The zone could then not come back, nor the VPC be deleted`,
        advice: `half an hour after the deployment delete what is left: aws ec2 describe-subnets --region ${region} --filters ${filters}, then aws ec2 delete-subnet --region ${region} --subnet-id …`,
      },
    ];
  });
}

/** A file system has one mount target in a zone, and the new one would come before the old one goes. AWS: CreateMountTarget, MountTargetConflict. */
function mountTargetProblems(stack: StackTemplate, old: Template): UpdateProblem[] {
  const { stackName, region } = stack;
  return [...both(stack, old, 'AWS::EFS::MountTarget')].flatMap(({ id, was, is }): UpdateProblem[] => {
    const { SubnetId: before, FileSystemId: of } = was.Properties ?? {};
    const { SubnetId: after, FileSystemId: now } = is.Properties ?? {};
    if (textOf(before) === textOf(after) || textOf(of) !== textOf(now)) return [];
    return [
      {
        ...{ kind: 'taken', refused: true, stackName, resource: id },
        what: `networks.${region}.vpc: the subnet of a zone cannot change while relay.eventsSpool has a mount target there`,
        advice:
          'take relay.eventsSpool out and deploy, while LaunchDarkly accepts events; then change the subnets and set it again',
      },
    ];
  });
}

/** Policies that only distributions elsewhere use, which are deployed later (`edge.distributionId`). Those of the stage's own never change. */
function policyProblems(
  { stackName, template }: StackTemplate,
  old: Template,
  next: readonly StackTemplate[],
): UpdateProblem[] {
  const resourcesOf = ({ Resources = {} }: Template) => Object.entries(Resources);
  const isDistribution = ([, { Type: type }]: [string, TemplateResource]) => type === 'AWS::CloudFront::Distribution';
  if ([old, ...next.map((one) => one.template)].some((one) => resourcesOf(one).some(isDistribution))) return [];
  return resourcesOf(old).flatMap(([id, was]): UpdateProblem[] => {
    const [, kind] = /^AWS::CloudFront::(Cache|OriginRequest)Policy$/.exec(was.Type) ?? [];
    const is = template.Resources?.[id];
    if (kind === undefined || textOf(is?.Properties) === textOf(was.Properties)) return [];
    const { Name: name } = (was.Properties?.[`${kind}PolicyConfig`] ?? {}) as { readonly Name?: unknown };
    const told = is
      ? {
          what: `edge: the policy ${name} changes at once for distributions that use it, and these have the functions of before until they are deployed: answers may be cached by the wrong key in between`,
          advice:
            'deploy these distributions right afterwards; let them cache nothing in between if variants must not mix',
        }
      : {
          what: `edge: the policy ${name} leaves the stage, and CloudFormation cannot delete it while a distribution uses it: it would stay, and its name be taken`,
          advice: `deploy that distribution with the new values, then delete the policy: aws cloudfront delete-${kind === 'Cache' ? 'cache' : 'origin-request'}-policy --id … --if-match …`,
        };
    return [{ kind: is ? 'order' : 'leftover', refused: false, stackName, resource: id, ...told }];
  });
}
