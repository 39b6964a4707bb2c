import type { Context } from './model.ts';

export type Attributes = Readonly<Record<string, unknown>>;

/** A context that was found valid. Attributes are read where they lie; nothing is copied. */
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
 * The context in a JSON value of any form (single-kind, multi-kind, legacy user), or undefined; see `describeContextProblem`.
 * One that was parsed is taken as it is.
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

/** A user from before contexts: its key may be empty and is turned into text, its custom attributes stand beside the others. */
function parseLegacyUser(user: Attributes): ParsedContext | undefined {
  const { key, custom, privateAttributeNames } = user;
  if (key === undefined || key === null || !areNames(privateAttributeNames)) return undefined;
  try {
    const attributes: Record<string, unknown> = { ...(custom as object), kind: 'user', key: String(key) };
    for (const name of ['name', 'ip', 'firstName', 'lastName', 'email', 'avatar', 'country', 'anonymous']) {
      const value = user[name];
      if (value !== undefined && value !== null) attributes[name] = name === 'anonymous' ? !!value : value;
    }
    if (privateAttributeNames) attributes._meta = { privateAttributes: privateAttributeNames };
    return new ParsedContext(['user'], [attributes]);
  } catch {
    // The key is an object that will not be turned into text.
    return undefined;
  }
}

export function isKind(kind: unknown): kind is string {
  return kind === 'user' || (typeof kind === 'string' && kind !== 'kind' && /^[\w.-]+$/.test(kind));
}

function isMember(member: unknown): member is Attributes {
  if (typeof member !== 'object' || member === null || Array.isArray(member)) return false;
  const { key, _meta } = member as Attributes;
  return typeof key === 'string' && key !== '' && areNames((_meta as Attributes | null | undefined)?.privateAttributes);
}

/** Private attributes: nothing, or texts. */
export function areNames(names: unknown): boolean {
  return !names || (Array.isArray(names) && names.every((name) => typeof name === 'string'));
}

/** LaunchDarkly's fully-qualified key: the bare key for one user, else `kind:key` of each kind in order, escaped. */
export function canonicalKey(context: Context): string {
  const keyOf = (kind: string) => (context as ParsedContext).keyOf(kind) as string;
  if (context.kinds.length === 1 && context.kinds[0] === 'user') return keyOf('user');
  return [...context.kinds]
    .sort()
    .map((kind) => `${kind}:${keyOf(kind).replaceAll('%', '%25').replaceAll(':', '%3A')}`)
    .join(':');
}

/** The hash with which LaunchDarkly's secure mode ties a browser to its context: lower-case hexadecimal HMAC-SHA-256. */
export function secureModeHash(
  hmacSha256Hex: (key: string, message: string) => string,
  sdkKey: string,
  context: Context,
): string {
  return hmacSha256Hex(sdkKey, canonicalKey(context));
}
