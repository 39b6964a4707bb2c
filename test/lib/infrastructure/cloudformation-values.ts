/** Templates as CloudFormation reads them: the order of their resources, and the values of their intrinsic functions. */

export interface Resource {
  readonly Type: string;
  readonly Properties?: Readonly<Record<string, unknown>>;
  readonly DependsOn?: string | readonly string[];
  readonly DeletionPolicy?: string;
  readonly UpdateReplacePolicy?: string;
}

export interface Template {
  readonly Resources: Readonly<Record<string, Resource>>;
  readonly Outputs?: Readonly<Record<string, { readonly Value: unknown; readonly Export?: { readonly Name: string } }>>;
  readonly Parameters?: Readonly<Record<string, { readonly Type: string; readonly Default?: string }>>;
}

/** What the values of a template depend on. */
export interface Scope {
  /** `Ref` of a resource or parameter. */
  ref(name: string): string;
  attribute(resource: string, name: string): string;
  imported(name: string): string;
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** The value of a property. Throws an Error for an intrinsic function that the simulation does not know. */
export function resolveValue(value: unknown, scope: Scope): unknown {
  if (Array.isArray(value)) return value.map((one) => resolveValue(one, scope));
  if (!isObject(value)) return value;
  const [[name, given] = ['', undefined], ...others] = Object.entries(value);
  if (others.length > 0 || (name !== 'Ref' && !name.startsWith('Fn::'))) {
    return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, resolveValue(one, scope)]));
  }
  switch (name) {
    case 'Ref':
      return scope.ref(String(given));
    case 'Fn::GetAtt': {
      const [resource, ...path] = Array.isArray(given) ? (given as string[]) : String(given).split('.');
      return scope.attribute(resource!, path.join('.'));
    }
    case 'Fn::ImportValue':
      return scope.imported(String(resolveValue(given, scope)));
    case 'Fn::Join': {
      const [between, parts] = given as [string, unknown];
      return (resolveValue(parts, scope) as unknown[]).join(between);
    }
    case 'Fn::Select': {
      const [index, list] = given as [number, unknown];
      return (resolveValue(list, scope) as unknown[])[Number(index)];
    }
    case 'Fn::Split': {
      const [at, text] = given as [string, unknown];
      return String(resolveValue(text, scope)).split(at);
    }
    case 'Fn::Sub':
      return String(given).replace(/\$\{([^}]+)\}/g, (_, inner: string) => {
        const [resource, ...path] = inner.split('.');
        return path.length > 0 ? scope.attribute(resource!, path.join('.')) : scope.ref(inner);
      });
    default:
      throw new Error(`the simulation does not know ${name}`);
  }
}

const orders = new WeakMap<Template, ReadonlyMap<string, ReadonlySet<string>>>();

/** The resources in an order of creation, each with those that must exist before it. */
export function orderOf(template: Template): ReadonlyMap<string, ReadonlySet<string>> {
  const known = orders.get(template);
  if (known) return known;
  const { Resources } = template;
  const order = new Map<string, ReadonlySet<string>>();
  const visit = (id: string) => {
    if (order.has(id)) return;
    const { Properties, DependsOn = [] } = Resources[id]!;
    const needed = new Set([DependsOn].flat());
    const note = (name: string) => {
      if (Object.hasOwn(Resources, name)) needed.add(name);
      return '';
    };
    resolveValue(Properties ?? {}, { ref: note, attribute: note, imported: () => '' });
    for (const one of needed) visit(one);
    order.set(id, needed);
  };
  for (const id of Object.keys(Resources)) visit(id);
  orders.set(template, order);
  return order;
}

/** A resource, and all that cannot exist without it. */
export function withDependents(template: Template, id: string): ReadonlySet<string> {
  const found = new Set([id]);
  for (const [one, needed] of orderOf(template)) if ([...needed].some((other) => found.has(other))) found.add(one);
  return found;
}
