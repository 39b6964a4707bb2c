import { type Attributes, LEGACY_TEXTS, type ParsedContext, parseContext } from './context.ts';
import { type Path, parseReference } from './reference.ts';

export interface RedactOptions {
  /** Attribute references whose values are left out, in addition to those that a context names. */
  readonly privateAttributes?: readonly string[];
  readonly allAttributesPrivate?: boolean;
}

/** Whether something names an attribute that can be left out, such as `email` or `/address/street`. */
export function isPrivateReference(value: unknown): boolean {
  const path = typeof value === 'string' ? parseReference(value, false) : undefined;
  return path?.every((part) => part !== '') === true && !KEPT.includes(path[0] as PropertyKey);
}

/** What `isPrivateReference` is true for, in a message. */
export const PRIVATE_REFERENCES =
  'attribute references, such as email or /address/street (key, kind, anonymous and _meta are always sent)';

interface Hidden {
  /** How the attribute is listed among the redacted ones. */
  readonly name: string;
  readonly path: Path;
}

/** These cannot be left out. */
const KEPT: readonly PropertyKey[] = ['key', 'kind', '_meta', 'anonymous'];

/**
 * Returns a function that makes the JSON of a caller's context for events: without private attributes, whose names it lists, and if
 * `withoutAnonymous`, without any attributes of anonymous contexts. Undefined for an invalid context. Source: LaunchDarkly's Node SDK
 * 9.13, whose events have the same.
 */
export function createRedact({
  privateAttributes = [],
  allAttributesPrivate = false,
}: RedactOptions): (context: unknown, withoutAnonymous: boolean) => unknown {
  const always = hiddenOf(privateAttributes, false);

  function redactKind(attributes: Attributes, legacy: boolean, withoutAnonymous: boolean): Record<string, unknown> {
    const { privateAttributes: named } = (attributes._meta ?? {}) as { readonly privateAttributes?: readonly string[] };
    const all = allAttributesPrivate || (withoutAnonymous && attributes.anonymous === true);
    const hidden = all ? hiddenOf(Object.keys(attributes), true) : [...always, ...hiddenOf(named ?? [], legacy)];
    const { copy, left } = copyWithout(attributes, hidden);
    if (legacy) for (const name of LEGACY_TEXTS) if (name in copy) copy[name] = String(copy[name]);
    if (left.length === 0 && !copy._meta) return copy;
    const { privateAttributes: _, ...meta } = (copy._meta ?? {}) as Record<string, unknown>;
    if (left.length > 0) meta.redactedAttributes = left.sort();
    delete copy._meta;
    return Object.keys(meta).length > 0 ? { ...copy, _meta: meta } : copy;
  }

  return (given, withoutAnonymous) => {
    const context: ParsedContext | undefined = parseContext(given);
    if (!context) return undefined;
    const legacy = ((given as Attributes).kind ?? undefined) === undefined && context !== given;
    const redacted = context.kinds.map((kind): [string, Record<string, unknown>] => [
      kind,
      redactKind(context.ofKind(kind) as Attributes, legacy, withoutAnonymous),
    ]);
    const [[kind, only] = []] = redacted;
    return redacted.length === 1 ? { ...only, kind } : { kind: 'multi', ...Object.fromEntries(redacted) };
  };
}

/** `literal`: the texts are names of attributes, not references. */
function hiddenOf(texts: readonly string[], literal: boolean): Hidden[] {
  return texts.flatMap((text) => {
    const path = parseReference(text, literal);
    if (!path || (path.length === 1 && KEPT.includes(path[0] as PropertyKey))) return [];
    const isAmbiguous = literal && text.startsWith('/');
    return { path, name: isAmbiguous ? `/${text.replaceAll('~', '~0').replaceAll('/', '~1')}` : text };
  });
}

/** Goes through objects, but not through lists; an object inside itself is left out. Without recursion, since they can nest to any depth. */
function copyWithout(attributes: Attributes, hidden: readonly Hidden[]) {
  const copy: Record<string, unknown> = {};
  const left: string[] = [];
  const waiting = [{ from: attributes, to: copy, path: [] as readonly string[], around: [attributes] }];
  for (let one = waiting.pop(); one; one = waiting.pop()) {
    const { from, to, path, around } = one;
    for (const key of Object.keys(from)) {
      const inner = [...path, key];
      const match = hidden.find(
        (each) => each.path.length === inner.length && each.path.every((part, i) => part === inner[i]),
      );
      const value = from[key];
      if (match) left.push(match.name);
      else if (typeof value !== 'object' || value === null || Array.isArray(value)) to[key] = value;
      else if (!around.includes(value as Attributes)) {
        const made: Record<string, unknown> = {};
        to[key] = made;
        waiting.push({ from: value as Attributes, to: made, path: inner, around: [...around, value as Attributes] });
      }
    }
  }
  return { copy, left };
}
