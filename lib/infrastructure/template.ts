/** CloudFormation templates as data, to compare them: see update-problems.ts. */

export interface TemplateResource {
  readonly Type: string;
  readonly Properties?: Readonly<Record<string, unknown>>;
  readonly DeletionPolicy?: string;
  readonly UpdateReplacePolicy?: string;
}

export interface Template {
  readonly Resources?: Readonly<Record<string, TemplateResource>>;
  readonly Outputs?: Readonly<
    Record<string, { readonly Value: unknown; readonly Export?: { readonly Name: unknown } }>
  >;
}

export interface StackTemplate {
  readonly stackName: string;
  readonly region: string;
  readonly template: Template;
}

/** The text of an intrinsic function or a literal: equal texts of one stack mean equal values, unless what they refer to is replaced. */
export function textOf(value: unknown): string {
  return JSON.stringify(value) ?? '';
}

/** Every object below a value, itself included. */
function* objectsIn(value: unknown): Generator<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null) return;
  if (!Array.isArray(value)) yield value as Record<string, unknown>;
  for (const member of Object.values(value)) yield* objectsIn(member);
}

/** Logical IDs, and pseudo parameters such as AWS::Region, to which a value refers by Ref, Fn::GetAtt or Fn::Sub. */
export function referencesIn(value: unknown): Set<string> {
  const found = new Set<string>();
  for (const object of objectsIn(value)) {
    const { Ref: ref, 'Fn::GetAtt': attribute, 'Fn::Sub': sub } = object;
    if (typeof ref === 'string') found.add(ref);
    if (Array.isArray(attribute)) found.add(String(attribute[0]));
    else if (typeof attribute === 'string') found.add(attribute.split('.')[0] ?? '');
    const text: unknown = Array.isArray(sub) ? sub[0] : sub;
    if (typeof text === 'string') {
      for (const [, name] of text.matchAll(/\$\{([A-Za-z0-9:]+)(?:\.[\w.]+)?\}/g)) found.add(name ?? '');
    }
  }
  return found;
}

/** The names that a template imports, as texts. */
export function importsOf(template: Template): Set<string> {
  const found = new Set<string>();
  for (const object of objectsIn(template)) {
    if (Object.hasOwn(object, 'Fn::ImportValue')) found.add(textOf(object['Fn::ImportValue']));
  }
  return found;
}

/** What a template exports: values by the texts of their names. */
export function exportsOf({ Outputs = {} }: Template): Map<string, unknown> {
  return new Map(
    Object.values(Outputs).flatMap((output) => (output.Export ? [[textOf(output.Export.Name), output.Value]] : [])),
  );
}
