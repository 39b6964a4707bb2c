import type { Context } from './model.ts';

export type Attributes = Readonly<Record<string, unknown>>;

/** A valid context. Attributes are read from the caller's object, not copied. */
export class ParsedContext implements Context {
  declare readonly kinds: readonly string[];
  /** The attributes of each kind. */
  declare private readonly members: readonly Attributes[];

  constructor(kinds: readonly string[], members: readonly Attributes[]) {
    this.kinds = kinds;
    this.members = members;
  }

  ofKind(kind: string): Attributes | undefined {
    for (let i = 0; i < this.kinds.length; i++) if (this.kinds[i] === kind) return this.members[i];
    return undefined;
  }

  keyOf(kind: string): string | undefined {
    return this.ofKind(kind)?.key as string | undefined;
  }
}

/**
 * Parses a context of any form (single-kind, multi-kind, legacy user). Undefined if it is invalid; `describeContextProblem`
 * says why. A context that is already parsed is returned unchanged.
 */
export function parseContext(value: unknown): ParsedContext | undefined {
  if (value instanceof ParsedContext) return value;
  if (typeof value !== 'object' || value === null) return undefined;
  const context = value as Attributes;
  const { kind } = context;
  if (kind === undefined || kind === null) return parseLegacyUser(context);
  if (kind !== 'multi') return isKind(kind) && isMember(context) ? new ParsedContext([kind], [context]) : undefined;
  const kinds = Object.keys(context).filter((name) => name !== 'kind');
  const members = kinds.map((name) => context[name]);
  return kinds.length > 0 && kinds.every(isKind) && members.every(isMember)
    ? new ParsedContext(kinds, members)
    : undefined;
}

/** Attributes of legacy users that are texts in events. */
export const LEGACY_TEXTS = ['name', 'ip', 'firstName', 'lastName', 'email', 'avatar', 'country'] as const;

/** A legacy user: its key may be empty and is converted to a string; custom attributes are merged with the others. */
function parseLegacyUser(user: Attributes): ParsedContext | undefined {
  const { key, custom, privateAttributeNames } = user;
  if (key === undefined || key === null || !areNames(privateAttributeNames)) return undefined;
  try {
    const attributes: Record<string, unknown> = { ...(custom as object), kind: 'user', key: String(key) };
    for (const name of [...LEGACY_TEXTS, 'anonymous']) {
      const value = user[name];
      if (value !== undefined && value !== null) attributes[name] = name === 'anonymous' ? !!value : value;
    }
    if (privateAttributeNames) attributes._meta = { privateAttributes: privateAttributeNames };
    return new ParsedContext(['user'], [attributes]);
  } catch {
    // The key is an object that cannot be converted to a string.
    return undefined;
  }
}

/** Whether it is a text of letters, digits, `.`, `_` and `-`, and not "kind". "multi", which stands for several kinds, passes. */
export function isKind(kind: unknown): kind is string {
  return kind === 'user' || (typeof kind === 'string' && kind !== 'kind' && /^[\w.-]+$/.test(kind));
}

function isMember(member: unknown): member is Attributes {
  if (typeof member !== 'object' || member === null || Array.isArray(member)) return false;
  const { key, _meta } = member as Attributes;
  return typeof key === 'string' && key !== '' && areNames((_meta as Attributes | null | undefined)?.privateAttributes);
}

/** Whether private attributes are absent or an array of strings. */
function areNames(names: unknown): boolean {
  return !names || (Array.isArray(names) && names.every((name) => typeof name === 'string'));
}

/** LaunchDarkly's fully-qualified key: only the key for a single user, otherwise the escaped `kind:key` of each kind, sorted. */
export function canonicalKey(context: Context): string {
  const keyOf = (kind: string) => (context as ParsedContext).keyOf(kind) as string;
  if (context.kinds.length === 1 && context.kinds[0] === 'user') return keyOf('user');
  return [...context.kinds]
    .sort()
    .map((kind) => `${kind}:${keyOf(kind).replaceAll('%', '%25').replaceAll(':', '%3A')}`)
    .join(':');
}

/** The hash for LaunchDarkly's secure mode, which binds a browser to its context: HMAC-SHA-256 in lower-case hexadecimal. */
export function secureModeHash(
  hmacSha256Hex: (key: string, message: string) => string,
  sdkKey: string,
  context: Context,
): string {
  return hmacSha256Hex(sdkKey, canonicalKey(context));
}
