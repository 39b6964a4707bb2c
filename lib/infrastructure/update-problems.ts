/**
 * What would go wrong if a stage's stacks were updated: from the deployed templates and the new ones alone. CloudFormation finds some of
 * it in the middle of a deployment, some never, such as a cut of all streams.
 */
import { rangeOf } from './address-range.ts';
import type { ReplacementRules } from './replacement-rules.ts';
import {
  exportsOf,
  importsOf,
  referencesIn,
  type StackTemplate,
  type Template,
  type TemplateResource,
  textOf,
} from './template.ts';
import { leftoverProblems } from './update-leftovers.ts';
import type { UpdateProblem } from './update-problem.ts';
import { changeRefused, describeRemoved, describeReplaced, KEPT_TYPES, NAMES } from './update-rules.ts';

export type { UpdateProblem } from './update-problem.ts';

/**
 * `deployed` are the stage's stacks that exist, `next` its new ones in the order of deployment; a stack that is not among the new
 * ones stays as it is. Templates are compared as texts, so a property that is written differently counts as changed.
 */
export function describeUpdateProblems(
  deployed: readonly StackTemplate[],
  next: readonly StackTemplate[],
  rules: ReplacementRules,
): UpdateProblem[] {
  const problems: UpdateProblem[] = [];
  const current = new Map(deployed.map((stack) => [keyOf(stack), stack]));
  for (const stack of next) {
    const old = current.get(keyOf(stack));
    const changes = changesOf(old?.template ?? {}, stack.template, rules);
    const update: Update = { stack, old, changes, current: [...current.values()], rules };
    const taken = nameProblems(update);
    // What has its name itself is told as such, and not as a replacement once more.
    const lost = lossProblems(update).filter(({ resource }) => !taken.some((one) => one.resource === resource));
    problems.push(...listenerProblems(update), ...importProblems(update), ...taken, ...rangeProblems(update));
    problems.push(...homeProblems(update, next), ...moveProblems(update), ...lost, ...siteProblems(update));
    problems.push(...replicaProblems(update), ...addressProblems(update), ...fleetProblems(update));
    problems.push(...leftoverProblems(stack, old?.template, next));
    current.set(keyOf(stack), stack);
  }
  return [...tableProblems(deployed, next), ...problems];
}

interface Update {
  readonly stack: StackTemplate;
  /** Absent for a new stack. */
  readonly old: StackTemplate | undefined;
  readonly changes: Changes;
  /** All stacks before this update. */
  readonly current: readonly StackTemplate[];
  readonly rules: ReplacementRules;
}

interface Changes {
  /** Logical IDs of resources that are replaced, with the property that is to blame. */
  readonly replaced: ReadonlyMap<string, string>;
  readonly removed: ReadonlySet<string>;
  readonly added: ReadonlySet<string>;
}

function keyOf({ region, stackName }: StackTemplate): string {
  return `${region} ${stackName}`;
}

/** A replaced resource has new attributes, so what depends on it may have to be replaced too. */
function changesOf(old: Template, next: Template, rules: ReplacementRules): Changes {
  const before = old.Resources ?? {};
  const after = next.Resources ?? {};
  const replaced = new Map<string, string>();
  const removed = new Set(Object.keys(before).filter((id) => !Object.hasOwn(after, id)));
  const added = new Set(Object.keys(after).filter((id) => !Object.hasOwn(before, id)));
  let size = -1;
  while (size !== replaced.size) {
    size = replaced.size;
    for (const [id, { Type: type, Properties: properties = {} }] of Object.entries(after)) {
      const was = before[id];
      if (!was || replaced.has(id)) continue;
      if (was.Type !== type) replaced.set(id, 'Type');
      const names = new Set([...Object.keys(properties), ...Object.keys(was.Properties ?? {})]);
      for (const name of names) {
        if (!rules.replaces(type, name)) continue;
        const refersToNew = [...referencesIn(properties[name])].some((one) => replaced.has(one));
        if (refersToNew || textOf(was.Properties?.[name]) !== textOf(properties[name])) replaced.set(id, name);
      }
    }
  }
  return { replaced, removed, added };
}

/** An export can neither change nor disappear while another stack imports it (aws/aws-cdk#7602). */
function importProblems({ stack, old, changes, current }: Update): UpdateProblem[] {
  const others = current.filter((one) => one.region === stack.region && keyOf(one) !== keyOf(stack));
  const after = exportsOf(stack.template);
  const problems: UpdateProblem[] = [];
  for (const [name, value] of exportsOf(old?.template ?? {})) {
    const same =
      textOf(after.get(name)) === textOf(value) && ![...referencesIn(value)].some((one) => changes.replaced.has(one));
    const user = same ? undefined : others.find(({ template }) => importsOf(template).has(name));
    if (!user) continue;
    problems.push({
      ...{ kind: 'import', refused: true, stackName: stack.stackName },
      what: `the export ${plain(name)} of stack ${stack.stackName} would change while stack ${user.stackName} uses it`,
      advice: `deploy first what makes ${user.stackName} use something else`,
    });
  }
  const exported = new Set(others.flatMap(({ template }) => [...exportsOf(template).keys()]));
  for (const name of importsOf(stack.template)) {
    if (exported.has(name)) continue;
    problems.push({
      ...{ kind: 'import', refused: true, stackName: stack.stackName },
      what: `stack ${stack.stackName} imports ${plain(name)}, which no stack exports`,
      advice: 'deploy all stacks of the stage',
    });
  }
  return problems;
}

/** A text without the quotes of a literal. */
function plain(text: string): string {
  return text.replace(/^"(.*)"$/, '$1');
}

/** CloudFormation creates before it deletes, so a name must be free even if this same update would free it. */
function nameProblems({ stack, changes, current, rules }: Update): UpdateProblem[] {
  const taken = new Map<string, { readonly stack: StackTemplate; readonly id: string }>();
  for (const one of current) {
    for (const [id, resource] of Object.entries(one.template.Resources ?? {})) {
      const place = physicalName(one, resource, rules, changes)?.place;
      if (place !== undefined) taken.set(place, { stack: one, id });
    }
  }
  const { stackName, region } = stack;
  return Object.entries(stack.template.Resources ?? {}).flatMap(([id, resource]): UpdateProblem[] => {
    if (!changes.added.has(id) && !changes.replaced.has(id)) return [];
    const physical = physicalName(stack, resource, rules, changes);
    const holder = physical && taken.get(physical.place);
    if (!holder) return [];
    const property = changes.replaced.get(id);
    const known = property === undefined ? undefined : changeRefused(resource.Type, property, region);
    const itself = holder.id === id && keyOf(holder.stack) === keyOf(stack);
    const where = holder.stack.stackName === stackName && !itself ? ` in ${holder.stack.region}` : '';
    const why = itself
      ? `it must be replaced, since ${property} changes, and has the name ${physical.name} itself`
      : `${holder.id} of stack ${holder.stack.stackName}${where} has the name ${physical.name}`;
    const what = known?.what ?? `${id} (${resource.Type}) cannot be created in stack ${stackName}: ${why}`;
    const advice = known?.advice ?? 'deploy without it first, or give it another name';
    return [{ kind: 'taken', refused: true, stackName, resource: id, what, advice }];
  });
}

/**
 * A resource's name, and `place`: the name with everything within which it must be unique. Undefined if AWS chooses the name, or if a part of
 * it is created anew.
 */
export function physicalName(
  { stackName, region }: Pick<StackTemplate, 'stackName' | 'region'>,
  { Type: type, Properties: properties = {} }: TemplateResource,
  rules: ReplacementRules,
  { replaced, added }: Pick<Changes, 'replaced' | 'added'> = { replaced: new Map(), added: new Set() },
): { readonly name: string; readonly place: string } | undefined {
  const paths = NAMES[type] ?? rules.identity(type);
  const parts = paths?.map((path) =>
    path.split('.').reduce<unknown>((at, key) => (at as Record<string, unknown> | undefined)?.[key], properties),
  );
  if (!parts || parts.some((part) => part === undefined)) return undefined;
  const within = parts.flatMap((part) => [...referencesIn(part)]).filter((one) => !one.startsWith('AWS::'));
  if (within.some((one) => replaced.has(one) || added.has(one))) return undefined;
  const name = parts.map((part) => (typeof part === 'string' ? part : textOf(part))).join(' ');
  const everywhere = /^AWS::(IAM|CloudFront)::|^AWS::CloudWatch::Dashboard$/.test(type);
  return { name, place: [everywhere ? '' : region, within.length > 0 ? stackName : '', type, name].join(' ') };
}

/** Subnets of one VPC may not overlap, not even for the time of an update. */
function rangeProblems({ stack, old, changes }: Update): UpdateProblem[] {
  const subnets = ({ Resources = {} }: Template) =>
    Object.entries(Resources).flatMap(([id, { Type: type, Properties: properties = {} }]) => {
      const { VpcId: vpc, CidrBlock: range } = properties;
      return type === 'AWS::EC2::Subnet' && typeof range === 'string' ? [{ id, vpc, range }] : [];
    });
  const before = subnets(old?.template ?? {});
  return subnets(stack.template).flatMap(({ id, vpc, range }): UpdateProblem[] => {
    if (!changes.added.has(id) && !changes.replaced.has(id)) return [];
    if ([...referencesIn(vpc)].some((one) => changes.replaced.has(one) || changes.added.has(one))) return [];
    const other = before.find((one) => textOf(one.vpc) === textOf(vpc) && overlap(one.range, range));
    if (!other) return [];
    return [
      {
        ...{ kind: 'taken', refused: true, stackName: stack.stackName, resource: id },
        what: `subnet ${id} cannot be created: ${other.id} has ${other.range}, which overlaps with ${range}`,
        advice: `leave networks.${stack.region}.zones as it is`,
      },
    ];
  });
}

function overlap(one: string, other: string): boolean {
  const [a, b] = [rangeOf(one), rangeOf(other)];
  return a !== undefined && b !== undefined && a.first <= b.last && b.first <= a.last;
}

/** A stack that exists in another region already belongs to a stage whose home was there. */
function homeProblems({ stack, old, current }: Update, next: readonly StackTemplate[]): UpdateProblem[] {
  const { stackName, region } = stack;
  const elsewhere = old ? undefined : current.find((one) => one.stackName === stackName && one.region !== region);
  if (!elsewhere || next.some((one) => keyOf(one) === keyOf(elsewhere))) return [];
  const what = `homeRegion cannot change from ${elsewhere.region} to ${region} by a deployment: stack ${stackName} would exist in both, and two regions must never write`;
  return [{ kind: 'replaced', refused: true, stackName, what, advice: 'follow "Moving home" in docs/deploying.md' }];
}

/** A load balancer cannot move to another VPC, and CloudFormation learns that from the load balancer. */
function moveProblems({ stack, old, changes }: Update): UpdateProblem[] {
  const { stackName, region, template } = stack;
  const isMoved = ([id, { Type: type, Properties: properties = {} }]: [string, TemplateResource]) => {
    const was = old?.template.Resources?.[id]?.Properties?.VpcId;
    const { VpcId: is } = properties;
    if (type !== 'AWS::ElasticLoadBalancingV2::TargetGroup' || was === undefined || textOf(was) === textOf(is))
      return false;
    // Where one of them is imported or read at deployment, the two may be the same.
    return (
      [...referencesIn(is)].some((one) => changes.added.has(one)) || [was, is].every((one) => typeof one === 'string')
    );
  };
  const [moved] = Object.entries(template.Resources ?? {}).find(isMoved) ?? [];
  if (moved === undefined) return [];
  return [
    {
      ...{ kind: 'replaced', refused: true, stackName, resource: moved },
      what: `networks.${region}.vpc cannot change: load balancers cannot move to another VPC`,
      advice: `keep the present VPC, by its IDs in networks.${region}.vpc if it is not in stack ${stackName}; or deploy a stage of another name`,
    },
  ];
}

/** What has data, or an address that clients use, must stay. */
function lossProblems({ stack, old, changes }: Update): UpdateProblem[] {
  const { stackName } = stack;
  return Object.entries(old?.template.Resources ?? {}).flatMap(([id, was]): UpdateProblem[] => {
    if (!KEPT_TYPES.has(was.Type)) return [];
    const property = changes.replaced.get(id);
    const is = stack.template.Resources?.[id];
    if (property !== undefined && is) {
      const told = describeReplaced(id, was, is, property, stack);
      return told ? [{ kind: 'replaced', stackName, resource: id, ...told }] : [];
    }
    if (!changes.removed.has(id)) return [];
    const { what, advice, refused } = describeRemoved(was, id, stack);
    return [{ kind: 'removed', refused, stackName, resource: id, what, advice }];
  });
}

/** A listener's port and protocol change without a replacement, and its clients have the old ones in their address. */
function listenerProblems({ stack, old }: Update): UpdateProblem[] {
  const { stackName, template } = stack;
  const { Resources: after = {} } = template;
  const endpointOf = ({ Properties: { Protocol: protocol, Port: port } = {} }: TemplateResource) =>
    `${protocol} on port ${port}`;
  return Object.entries(old?.template.Resources ?? {}).flatMap(([id, was]): UpdateProblem[] => {
    if (was.Type !== 'AWS::ElasticLoadBalancingV2::Listener') return [];
    const [balancer] = referencesIn(was.Properties?.LoadBalancerArn);
    // A load balancer that is removed is told as such.
    if (balancer !== undefined && !Object.hasOwn(after, balancer)) return [];
    const is = after[id];
    if (is && endpointOf(is) === endpointOf(was)) return [];
    const becomes = is ? `moves from ${endpointOf(was)} to ${endpointOf(is)}` : `(${endpointOf(was)}) is removed`;
    return [
      {
        ...{ kind: 'cut', refused: false, stackName, resource: id },
        what: `every client is cut, and none can connect again by the address that it has: listener ${id} of stack ${stackName} ${becomes}`,
        advice:
          'give clients the new address at the time of the deployment; or deploy a stage of another name and move them over',
      },
    ];
  });
}

/** CloudFront answers 403 to names that its distribution no longer has. */
function siteProblems({ stack, old }: Update): UpdateProblem[] {
  const namesOf = (resource: TemplateResource | undefined) => {
    const config = resource?.Properties?.DistributionConfig as { readonly Aliases?: readonly unknown[] } | undefined;
    return (config?.Aliases ?? []).map(textOf);
  };
  const { stackName } = stack;
  return Object.entries(stack.template.Resources ?? {}).flatMap(([id, resource]): UpdateProblem[] => {
    if (resource.Type !== 'AWS::CloudFront::Distribution') return [];
    const kept = namesOf(resource);
    const lost = namesOf(old?.template.Resources?.[id]).filter((name) => !kept.includes(name));
    if (lost.length === 0) return [];
    const what = `edge.domainNames: the distribution no longer answers to ${lost.map(plain).join(' and ')}`;
    return [{ kind: 'removed', refused: false, stackName, resource: id, what, advice: 'move these names first' }];
  });
}

/** LaunchDarkly's or a proxy's allow lists may have the elastic addresses of NAT gateways. Without those, tasks have changing ones. */
function addressProblems({ stack, old, changes }: Update): UpdateProblem[] {
  const idsIn = (template: Template | undefined) =>
    Object.entries(template?.Resources ?? {}).flatMap(([id, { Type: type }]) => (type === 'AWS::EC2::EIP' ? [id] : []));
  const [before, after] = [idsIn(old?.template), idsIn(stack.template)];
  const lost = before.filter((id) => !after.includes(id) || changes.replaced.has(id));
  const gained = after.filter((id) => !before.includes(id) || changes.replaced.has(id));
  const [resource] = [...lost, ...gained];
  if (before.length === 0 || resource === undefined) return [];
  const { stackName, region } = stack;
  return [
    {
      ...{ kind: 'addresses', refused: false, stackName, resource },
      what: `networks.${region}: the relay's addresses towards LaunchDarkly change: ${lost.length} of ${before.length} are released for good, ${gained.length} added`,
      advice: 'change allow lists that have them',
    },
  ];
}

/** A table leaves the stage with its stack, which no deployment changes from then on. */
function tableProblems(deployed: readonly StackTemplate[], next: readonly StackTemplate[]): UpdateProblem[] {
  return deployed.flatMap(({ stackName, template }): UpdateProblem[] => {
    if (next.some((one) => one.stackName === stackName)) return [];
    const isTable = ([, { Type: type }]: [string, TemplateResource]) => type === 'AWS::DynamoDB::GlobalTable';
    const [resource] = Object.entries(template.Resources ?? {}).find(isTable) ?? [];
    if (resource === undefined) return [];
    return [
      {
        ...{ kind: 'removed', refused: true, stackName, resource },
        what: `table cannot become 'existing': the flag table is in stack ${stackName}, which would leave the stage, and nothing would keep its replicas, key and protection as the stage says`,
        advice: "keep table: 'new'; to move home, delete that stack first, as docs/deploying.md says",
      },
    ];
  });
}

/** DynamoDB: one change of replicas in each update of a table. A replica that goes takes what applications of its region read. */
function replicaProblems({ stack, old }: Update): UpdateProblem[] {
  const regionsOf = ({ Properties: properties }: TemplateResource) => {
    const { Replicas: replicas } = properties ?? {};
    return new Set((Array.isArray(replicas) ? replicas : []).map(({ Region: region }) => textOf(region)));
  };
  return Object.entries(stack.template.Resources ?? {}).flatMap(([id, resource]): UpdateProblem[] => {
    const was = old?.template.Resources?.[id];
    if (!was || resource.Type !== 'AWS::DynamoDB::GlobalTable') return [];
    const [before, after] = [regionsOf(was), regionsOf(resource)];
    const changed = [...before, ...after].filter((region) => !before.has(region) || !after.has(region));
    const [only] = changed;
    const { stackName } = stack;
    if (only === undefined) return [];
    if (changed.length === 1) {
      if (!before.has(only)) return [];
      const what = `replicaRegions: the replica in ${plain(only)} is deleted, and edge functions near it read another region`;
      const advice = 'move applications in daemon mode that read it first';
      return [{ kind: 'replicas', refused: false, stackName, resource: id, what, advice }];
    }
    return [
      {
        ...{ kind: 'replicas', refused: true, stackName, resource: id },
        what: `replicaRegions: ${changed.map(plain).join(' and ')} change at once, but DynamoDB accepts one change of replicas in each deployment`,
        advice: 'change one region, deploy, then change the next',
      },
    ];
  });
}

/** A deployment may neither stop tasks nor wait for ever to start one. */
function fleetProblems({ stack, old }: Update): UpdateProblem[] {
  const of = (template: Template | undefined, type: string) =>
    Object.entries(template?.Resources ?? {}).find(([, resource]) => resource.Type === type);
  const numberIn = (value: unknown) => (typeof value === 'number' ? value : undefined);
  const [, wasTarget] = of(old?.template, 'AWS::ApplicationAutoScaling::ScalableTarget') ?? [];
  const [targetId, target] = of(stack.template, 'AWS::ApplicationAutoScaling::ScalableTarget') ?? [];
  const [serviceId, service] = of(stack.template, 'AWS::ECS::Service') ?? [];
  const [wasLeast, wasMost] = [wasTarget?.Properties?.MinCapacity, wasTarget?.Properties?.MaxCapacity].map(numberIn);
  const most = numberIn(target?.Properties?.MaxCapacity);
  const deployment = service?.Properties?.DeploymentConfiguration as { readonly MaximumPercent?: unknown } | undefined;
  const percent = numberIn(deployment?.MaximumPercent) ?? 200;
  const { stackName } = stack;
  const problems: UpdateProblem[] = [];
  if (serviceId && wasLeast && Math.floor((wasLeast * percent) / 100) <= wasLeast) {
    problems.push({
      ...{ kind: 'stalls', refused: true, stackName, resource: serviceId },
      what: `production: while the ${wasLeast} tasks that always run now are replaced, ${percent} % of them leaves no room for another task, and the deployment would wait for ever`,
      advice: 'raise relay.tasks to 3 and deploy, then set production: true',
    });
  }
  if (targetId && wasMost !== undefined && most !== undefined && most < wasMost) {
    problems.push({
      ...{ kind: 'fewer-tasks', refused: false, stackName, resource: targetId },
      what: `relay.maxTasks falls from ${wasMost} to ${most}: tasks above that are stopped at once, with their streams`,
      advice: `deploy it while no more than ${most} tasks run`,
    });
  }
  return problems;
}
