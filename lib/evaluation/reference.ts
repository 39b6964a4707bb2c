import type { ParsedContext } from './context.ts';

/** The property names that lead to an attribute, outermost first. Symbols lead to what a dialect keeps beside attributes. */
export type Path = readonly PropertyKey[];

/**
 * The path in an attribute reference, or undefined when it is invalid.
 * `literal`: the text is a single attribute name, as in data from before contexts.
 * Source: LaunchDarkly's attribute references, with the Node SDK's leniencies (a component that begins with `~` is kept as it is).
 */
export function parseReference(text: string, literal: boolean): Path | undefined {
  if (literal) return text ? [text] : undefined;
  if (!text || text === '/' || /\/\/|^\/.*~[^01|^]|~$/.test(text)) return undefined;
  const path = text[0] === '/' ? text.slice(1).split('/').map(unescapeComponent) : [text];
  return path[0] === '_meta' ? undefined : path;
}

function unescapeComponent(component: string): string {
  return component[0] === '~' ? component : component.replaceAll('~1', '/').replaceAll('~0', '~');
}

/** An attribute of one kind; undefined or null if the context lacks the kind or the attribute. */
export function readAttribute(context: ParsedContext, kind: string, path: Path): unknown {
  const first = path[0];
  const single = path.length === 1;
  // `kind` means the list of all kinds, regardless of the clause's kind.
  if (single && first === 'kind') return context.kinds;
  let value: unknown = context.ofKind(kind);
  if (single && first === 'anonymous') return value && !!(value as { anonymous?: unknown }).anonymous;
  for (let i = 0; i < path.length; i++) {
    const name = path[i]!;
    if (typeof value !== 'object' || value === null || Array.isArray(value) || !Object.hasOwn(value, name)) {
      return undefined;
    }
    value = (value as Record<PropertyKey, unknown>)[name];
  }
  return value;
}
