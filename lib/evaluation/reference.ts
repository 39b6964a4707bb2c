import type { ParsedContext } from './context.ts';

/** The names that lead to an attribute, from outside in. */
export type Path = readonly string[];

/**
 * The path in an attribute reference, or undefined when it is invalid.
 * `literal`: the text is one attribute name, as data from before contexts has it.
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

/** An attribute of the context of one kind; undefined or null when the context lacks the kind or the attribute. */
export function readAttribute(context: ParsedContext, kind: string, path: Path): unknown {
  const first = path[0];
  const single = path.length === 1;
  // The list of all kinds, whatever the kind.
  if (single && first === 'kind') return context.kinds;
  let value: unknown = context.ofKind(kind);
  if (single && first === 'anonymous') return value && !!(value as { anonymous?: unknown }).anonymous;
  for (let i = 0; i < path.length; i++) {
    const name = path[i]!;
    if (typeof value !== 'object' || value === null || Array.isArray(value) || !Object.hasOwn(value, name)) {
      return undefined;
    }
    value = (value as Record<string, unknown>)[name];
  }
  return value;
}
