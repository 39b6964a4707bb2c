/**
 * An AWS account in memory: creates, updates, rolls back and deletes stacks from their templates, as `cdk deploy` and CloudFormation do. It
 * knows names that are taken, deletion policies, what cannot be deleted, exports in use, termination protection and updates that it ignores. It knows nothing of what
 * resources do, nor of properties whose change replaces a resource, except names.
 *
 * Sources: AWS CloudFormation User Guide ("DeletionPolicy attribute", "Modify a stack template", "Stack failure options", "Protect stacks from being deleted"); for the
 * order of calls, `deployStack` in the CDK's command line, aws-cdk 2.1148.
 */
import { type Around, givenName, kindOf, logBucketOf, type Physical, type Properties } from './cloudformation-kinds.ts';
import {
  orderOf,
  type Resource,
  resolveValue,
  type Scope,
  type Template,
  withDependents,
} from './cloudformation-values.ts';

export interface StackTemplate {
  /** The construct's ID. */
  readonly id: string;
  readonly name: string;
  readonly region: string;
  readonly terminationProtection: boolean;
  /** Names of the stacks that are deployed before it. */
  readonly dependsOn: readonly string[];
  readonly template: Template;
}

/** A resource that cannot be created: it never exists, or it exists and does not become stable. */
export interface Fault {
  readonly resource: string;
  readonly exists: boolean;
}

interface Deployed {
  readonly stack: StackTemplate;
  readonly status: string;
  readonly protected: boolean;
  readonly resources: ReadonlyMap<string, Physical>;
  readonly exports: ReadonlyMap<string, string>;
  readonly imports: ReadonlySet<string>;
}

/** A resource's properties, with their values. */
type Given = Pick<Physical, 'properties' | 'uses'>;

/** Why an operation failed; the message starts with the stack's name. */
export class StackError extends Error {}

/** Values of properties, by resource of a template. */
const resolved = new WeakMap<Resource, Given & { readonly key: string }>();

const keyOf = ({ region, name }: Pick<StackTemplate, 'region' | 'name'>) => `${region}/${name}`;
const RETAINED = new Set(['Retain', 'RetainExceptOnCreate']);
/** Some regions in which edge functions run. */
const EDGE_REGIONS = ['us-east-1', 'eu-west-1', 'ap-northeast-1', 'sa-east-1'];

export class Account implements Around {
  #existing = new Map<string, Physical>();
  #names = new Map<string, string>();
  #stacks = new Map<string, Deployed>();
  #copied = new Set<string>();
  #written = new Set<string>();

  /** An account in the same state, which goes its own way. */
  copy(): Account {
    const other = new Account();
    other.#existing = new Map(this.#existing);
    other.#names = new Map(this.#names);
    other.#stacks = new Map(this.#stacks);
    other.#copied = new Set(this.#copied);
    other.#written = new Set(this.#written);
    return other;
  }

  /** As `cdk deploy '<stage>/*'`: in the order of their dependencies; stacks that are no longer among them are left alone. */
  deploy(stacks: readonly StackTemplate[]): void {
    for (const stack of inOrder(stacks)) this.deployStack(stack);
  }

  /** As `cdk deploy --exclusively`. Throws a StackError when CloudFormation would fail, and leaves the account as it then is. */
  deployStack(stack: StackTemplate, fault?: Fault): void {
    const before = this.#stacks.get(keyOf(stack));
    const failed = before && /^ROLLBACK_/.test(before.status);
    if (failed) this.#delete(before.stack);
    if (failed || !before) {
      this.#create(stack, fault);
      return;
    }
    if (/FAILED$/.test(before.status)) throw new StackError(`${stack.name}: is in ${before.status}`);
    this.#stacks.set(keyOf(stack), { ...before, protected: stack.terminationProtection });
    if (!changesPoliciesAlone(before.stack.template, stack.template)) this.#update(stack, fault);
  }

  /** As `cdk destroy --exclusively`, in the reverse order of their dependencies. */
  destroy(stacks: readonly StackTemplate[]): void {
    for (const stack of inOrder(stacks).reverse()) if (this.#stacks.has(keyOf(stack))) this.#delete(stack);
  }

  /** Hours later, CloudFront has removed the copies of functions that no distribution uses. */
  waitForCopies(): void {
    const used = new Set(this.#of('AWS::CloudFront::Distribution').flatMap(({ uses }) => [...uses]));
    for (const id of this.#copied) if (!used.has(id)) this.#copied.delete(id);
  }

  /** Edge functions run, and create the log groups that they miss. */
  runEdgeFunctions(): void {
    for (const { type, properties } of this.#of('AWS::Lambda::Function')) {
      const name = String(properties.FunctionName);
      if (!/-(viewer-request|origin-request|viewer-response)$/.test(name)) continue;
      for (const region of EDGE_REGIONS)
        this.#logGroup(region, `/aws/${type.split('::')[1]!.toLowerCase()}/us-east-1.${name}`);
    }
  }

  /** What exists without a stack: type, region, and name where it has one. */
  orphans(): string[] {
    return [...this.#existing.values()]
      .filter(({ owner }) => owner === undefined)
      .map(({ type, region, properties }) => givenName(type, region, properties) ?? `${type} ${region}`)
      .sort();
  }

  /** Names that are taken, in every region. */
  names(): string[] {
    return [...this.#names.keys()].map((name) => name.replaceAll(/-\d+~/g, '~')).sort();
  }

  /** By stack: its status. */
  statuses(): Record<string, string> {
    return Object.fromEntries([...this.#stacks.values()].map(({ stack, status }) => [stack.name, status]));
  }

  /** By `<region> <name>`: days, or undefined for ever. */
  retentions(): Map<string, unknown> {
    const groups = this.#of('AWS::Logs::LogGroup').filter(({ properties }) => properties.LogGroupName);
    return new Map(
      groups.map(({ region, properties }) => [`${region} ${properties.LogGroupName}`, properties.RetentionInDays]),
    );
  }

  hasObjects({ id }: Physical): boolean {
    return this.#written.has(id);
  }

  isReplicated({ id }: Physical): boolean {
    if (this.#copied.has(id)) return true;
    return [...this.#copied].some((version) => this.#existing.get(version)?.properties.FunctionName === id);
  }

  #of(type: string): Physical[] {
    return [...this.#existing.values()].filter((one) => one.type === type);
  }

  #create(stack: StackTemplate, fault: Fault | undefined): void {
    const resources = new Map<string, Physical>();
    const imports = new Set<string>();
    const problem = this.#createMissing(stack, resources, imports, fault);
    const state = { stack, protected: stack.terminationProtection, resources, exports: new Map(), imports };
    if (problem === undefined) {
      const exports = this.#exportsOf(stack, resources);
      this.#stacks.set(keyOf(stack), { ...state, exports, status: 'CREATE_COMPLETE' });
      return;
    }
    const left = this.#remove(stack, resources, new Set(['Retain']));
    const status = left.size > 0 ? 'ROLLBACK_FAILED' : 'ROLLBACK_COMPLETE';
    this.#stacks.set(keyOf(stack), { ...state, imports: new Set(), resources: left, status });
    throw new StackError(`${stack.name}: ${problem}`);
  }

  #update(stack: StackTemplate, fault: Fault | undefined): void {
    const before = this.#stacks.get(keyOf(stack))!;
    const resources = new Map(before.resources);
    const imports = new Set<string>();
    const { Resources } = stack.template;
    const refuse = (problem: string): never => {
      for (const one of before.resources.values()) this.#put(one);
      const added = [...resources].filter(([id, one]) => before.resources.get(id)?.id !== one.id);
      const left = this.#remove(stack, new Map(added), new Set(['Retain']));
      if (left.size > 0) this.#stacks.set(keyOf(stack), { ...before, status: 'UPDATE_ROLLBACK_FAILED' });
      throw new StackError(`${stack.name}: ${problem}`);
    };
    const replaced = new Map<string, Physical>();
    /** Why a resource cannot be updated. One whose name changes is replaced: it is created as if it did not exist. */
    const update = (id: string, given: Given): string | undefined => {
      const one = resources.get(id)!;
      const { Type, UpdateReplacePolicy } = Resources[id]!;
      const renamed =
        givenName(Type, stack.region, given.properties) !== givenName(one.type, one.region, one.properties);
      if (Type !== one.type || renamed) {
        resources.delete(id);
        replaced.set(id, RETAINED.has(UpdateReplacePolicy ?? '') ? { ...one, owner: undefined } : one);
        return undefined;
      }
      const problem = kindOf(Type).updateRefusal?.(one, given.properties);
      if (problem === undefined) resources.set(id, this.#put({ ...one, ...given }));
      return problem;
    };
    const problem = this.#createMissing(stack, resources, imports, fault, update);
    if (problem) refuse(problem);
    const exports = this.#exportsOf(stack, resources);
    for (const [name, value] of before.exports) {
      const user = this.#importerOf(stack, name);
      if (user && exports.get(name) !== value) refuse(`export ${name} is in use by ${user}`);
    }
    this.#stacks.set(keyOf(stack), {
      ...{ stack, protected: stack.terminationProtection, exports, imports },
      resources: new Map([...resources].filter(([id]) => Object.hasOwn(Resources, id))),
      status: 'UPDATE_COMPLETE',
    });
    // What cannot be deleted now stays without its stack.
    const gone = new Map([...before.resources].filter(([id]) => !Object.hasOwn(Resources, id)));
    for (const one of this.#remove(before.stack, gone, RETAINED).values()) this.#put({ ...one, owner: undefined });
    for (const one of replaced.values()) {
      if (one.owner === undefined || this.#refusal(one)) this.#put({ ...one, owner: undefined });
      else this.#drop(one);
    }
  }

  #delete(stack: StackTemplate): void {
    const { resources, ...before } = this.#stacks.get(keyOf(stack))!;
    if (before.protected)
      throw new StackError(`${stack.name}: cannot be deleted while TerminationProtection is enabled`);
    for (const name of before.exports.keys()) {
      const user = this.#importerOf(stack, name);
      if (user) throw new StackError(`${stack.name}: export ${name} is in use by ${user}`);
    }
    const left = this.#remove(before.stack, resources, RETAINED);
    if (left.size === 0) {
      this.#stacks.delete(keyOf(stack));
      return;
    }
    this.#stacks.set(keyOf(stack), { ...before, resources: left, status: 'DELETE_FAILED' });
    const reasons = [...left].map(([id, one]) => `${id}: ${this.#refusal(one) ?? 'what it belongs to is still there'}`);
    throw new StackError(`${stack.name}: ${reasons.join('; ')}`);
  }

  /** Updates what a template and `resources` have, and creates what `resources` has not. Returns the first problem; all that does not depend on it has been created. */
  #createMissing(
    stack: StackTemplate,
    resources: Map<string, Physical>,
    imports: Set<string>,
    fault: Fault | undefined,
    update: (id: string, given: Given) => string | undefined = () => undefined,
  ): string | undefined {
    const { template, region } = stack;
    const impossible = new Set<string>();
    let first: string | undefined;
    let scope: Scope & { readonly key: string };
    const fail = (id: string, problem: string) => {
      for (const one of withDependents(template, id)) impossible.add(one);
      first ??= `${id}: ${problem}`;
    };
    try {
      scope = this.#scope(stack, resources, imports);
    } catch (error) {
      if (error instanceof StackError) return error.message;
      throw error;
    }
    for (const id of orderOf(template).keys()) {
      if (impossible.has(id)) continue;
      const broken = fault?.resource === id;
      if (broken) fail(id, 'was made to fail');
      if (broken && !fault.exists) continue;
      const { Type } = template.Resources[id]!;
      try {
        const given = this.#given(stack, id, resources, scope);
        const refused = resources.has(id) ? update(id, given) : undefined;
        const exists = resources.has(id);
        const problem = refused ?? (exists ? undefined : this.#creationProblem(Type, region, given.properties));
        if (problem !== undefined) fail(id, problem);
        else if (!exists) {
          resources.set(id, this.#put({ ...given, type: Type, region, id: this.#newId(id), owner: keyOf(stack) }));
        }
      } catch (error) {
        if (!(error instanceof StackError)) throw error;
        fail(id, error.message);
      }
    }
    return first;
  }

  /** A resource's properties with their values. Resolving takes most of the time, and the values are mostly those of the time before. */
  #given(
    { template }: StackTemplate,
    id: string,
    resources: ReadonlyMap<string, Physical>,
    scope: Scope & { readonly key: string },
  ): Given {
    const resource = template.Resources[id]!;
    const known = resolved.get(resource);
    const key = [scope.key, ...[...orderOf(template).get(id)!].map((one) => resources.get(one)?.id)].join();
    if (known?.key === key) return known;
    const properties = resolveValue(resource.Properties ?? {}, scope) as Properties;
    const text = JSON.stringify(properties);
    const given = { key, properties, uses: new Set(text.match(/[A-Za-z0-9]+-\d+~/g)) };
    if (!known && JSON.stringify(resource).includes('Fn::ImportValue')) return given;
    resolved.set(resource, given);
    return given;
  }

  #newId(id: string): string {
    let number = 1;
    while (this.#existing.has(`${id}-${number}~`)) number++;
    return `${id}-${number}~`;
  }

  #creationProblem(type: string, region: string, properties: Properties): string | undefined {
    const name = givenName(type, region, properties);
    if (name !== undefined && this.#names.has(name)) return `${name} already exists`;
    if (type === 'AWS::Logs::SubscriptionFilter' || type === 'AWS::Logs::MetricFilter') {
      const group = String(properties.LogGroupName);
      if (!/~$/.test(group) && !this.#names.has(`AWS::Logs::LogGroup ${region} ${group}`))
        return `log group ${group} does not exist`;
    }
    return undefined;
  }

  /**
   * Deletes resources in the reverse order of their creation, and leaves those with these policies without a stack. Returns what
   * could not be deleted, and what that depends on.
   */
  #remove(
    stack: StackTemplate,
    resources: ReadonlyMap<string, Physical>,
    retained: ReadonlySet<string>,
  ): Map<string, Physical> {
    const { template } = stack;
    const left = new Map<string, Physical>();
    const needed = new Set<string>();
    for (const [id, before] of [...orderOf(template)].reverse()) {
      const one = resources.get(id);
      if (!one) continue;
      if (retained.has(template.Resources[id]!.DeletionPolicy ?? '')) {
        this.#put({ ...one, owner: undefined });
      } else if (needed.has(id) || this.#refusal(one) !== undefined) {
        left.set(id, one);
        for (const other of before) needed.add(other);
      } else this.#drop(one);
    }
    return left;
  }

  #refusal(one: Physical): string | undefined {
    const { heldByUsers, refusal } = kindOf(one.type);
    const user = heldByUsers && [...this.#existing.values()].find(({ id, uses }) => id !== one.id && uses.has(one.id));
    return user ? `it is used by ${user.type} ${user.id}` : refusal?.(one, this);
  }

  #put(one: Physical): Physical {
    this.#existing.set(one.id, one);
    const name = givenName(one.type, one.region, one.properties);
    if (name !== undefined) this.#names.set(name, one.id);
    const bucket = one.type.endsWith('::LoadBalancer') ? logBucketOf(one) : undefined;
    if (bucket !== undefined) this.#written.add(bucket);
    if (one.type === 'AWS::CloudFront::Distribution') {
      for (const id of one.uses) if (this.#existing.get(id)?.type === 'AWS::Lambda::Version') this.#copied.add(id);
    }
    if (one.type === 'Custom::EdgeLogGroups') {
      const { Regions, LogGroupNames, RetentionInDays } = one.properties;
      for (const region of Regions as string[])
        for (const group of LogGroupNames as string[]) this.#logGroup(region, group, Number(RetentionInDays));
    }
    return one;
  }

  #drop(one: Physical): void {
    this.#existing.delete(one.id);
    this.#copied.delete(one.id);
    this.#written.delete(one.id);
    if (one.type === 'AWS::Lambda::Function') {
      // Its versions go with it.
      const versions = this.#of('AWS::Lambda::Version').filter(({ properties }) => properties.FunctionName === one.id);
      for (const version of versions) this.#drop(version);
    }
    const name = givenName(one.type, one.region, one.properties);
    if (name !== undefined && this.#names.get(name) === one.id) this.#names.delete(name);
  }

  /** Creates a log group that does not exist, and sets its retention if there is one. */
  #logGroup(region: string, group: string, days?: number): void {
    const type = 'AWS::Logs::LogGroup';
    const known = this.#existing.get(this.#names.get(`${type} ${region} ${group}`) ?? '');
    if (known && days === undefined) return;
    const properties = { LogGroupName: group, ...(days !== undefined && { RetentionInDays: days }) };
    this.#put({ ...(known ?? { type, region, id: this.#newId('LogGroup'), uses: new Set() }), properties });
  }

  #scope(
    { template, region, name }: StackTemplate,
    resources: ReadonlyMap<string, Physical>,
    imports: Set<string>,
  ): Scope & { readonly key: string } {
    const parameters = new Map<string, string>();
    for (const [parameter, { Type, Default = '' }] of Object.entries(template.Parameters ?? {})) {
      if (parameter === 'BootstrapVersion') continue;
      const stored = this.#existing.get(this.#names.get(`AWS::SSM::Parameter ${region} ${Default}`) ?? '');
      if (/^AWS::SSM/.test(Type) && !stored) throw new StackError(`SSM parameter ${Default} does not exist`);
      parameters.set(parameter, stored ? String(stored.properties.Value) : Default);
    }
    const pseudo: Record<string, string> = {
      'AWS::AccountId': '123456789012',
      'AWS::Region': region,
      'AWS::Partition': 'aws',
      'AWS::URLSuffix': 'amazonaws.com',
      'AWS::StackName': name,
    };
    const ref = (one: string): string => {
      const physical = resources.get(one);
      const value = physical?.id ?? parameters.get(one) ?? pseudo[one];
      if (value === undefined) throw new Error(`${name}: ${one} has no value`);
      // Other stacks refer to log groups by their names.
      return String(
        physical?.properties.LogGroupName && physical.type === 'AWS::Logs::LogGroup'
          ? physical.properties.LogGroupName
          : value,
      );
    };
    return {
      key: [region, ...parameters.values()].join(),
      ref,
      attribute: (one, attribute) => `${ref(one)}.${attribute}`,
      imported: (one) => {
        imports.add(one);
        const value = [...this.#stacks.values()]
          .filter(({ stack }) => stack.region === region)
          .map(({ exports }) => exports.get(one))
          .find((found) => found !== undefined);
        if (value === undefined) throw new StackError(`no export named ${one}`);
        return value;
      },
    };
  }

  #exportsOf(stack: StackTemplate, resources: ReadonlyMap<string, Physical>): Map<string, string> {
    const scope = this.#scope(stack, resources, new Set());
    const exported = Object.values(stack.template.Outputs ?? {}).filter(({ Export }) => Export);
    return new Map(exported.map(({ Value, Export }) => [Export!.Name, String(resolveValue(Value, scope))]));
  }

  /** Another stack of the region that imports it. */
  #importerOf(stack: StackTemplate, name: string): string | undefined {
    return [...this.#stacks.values()].find(
      (other) => other.stack.region === stack.region && other.stack.name !== stack.name && other.imports.has(name),
    )?.stack.name;
  }
}

/** You cannot update deletion policies by themselves: CloudFormation finds no changes then, and keeps the former template. */
function changesPoliciesAlone(before: Template, after: Template): boolean {
  const policies = ['DeletionPolicy', 'UpdateReplacePolicy'];
  const without = (name: string, value: unknown) => (policies.includes(name) ? undefined : value);
  const texts = (replacer?: typeof without) => [before, after].map((one) => JSON.stringify(one, replacer));
  const areEqual = ([one, other]: string[]) => one === other;
  return before !== after && areEqual(texts(without)) && !areEqual(texts());
}

/** Stacks in the order in which they are deployed. */
export function inOrder(stacks: readonly StackTemplate[]): StackTemplate[] {
  const order: StackTemplate[] = [];
  const visit = (one: StackTemplate) => {
    if (order.includes(one)) return;
    for (const name of one.dependsOn) {
      const other = stacks.find((stack) => stack.name === name);
      if (other) visit(other);
    }
    order.push(one);
  };
  for (const one of stacks) visit(one);
  return order;
}
