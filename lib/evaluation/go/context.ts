import { isFields } from '../complete.ts';
import { type Attributes, isKind, ParsedContext } from '../context.ts';
import type { Context } from '../model.ts';

/** Lead to what the Go evaluator knows of a context beside its attributes. Marked as pure, so that edge bundles can drop them. */
export const KIND = /* @__PURE__ */ Symbol('kind');
export const SECONDARY = /* @__PURE__ */ Symbol('secondary');

/** The user of a context of several kinds. No context has this kind, since a kind has no space. */
export const USER_AMONG_OTHERS = 'user among others';

/** With this many kinds or more, searching them one by one takes longer than an index. */
const MANY_KINDS = 16;

class MultiKindContext extends ParsedContext {
  readonly #index: ReadonlyMap<string, Attributes> | undefined;

  constructor(kinds: readonly string[], members: readonly Attributes[]) {
    super(kinds, members);
    if (kinds.length >= MANY_KINDS) this.#index = new Map(kinds.map((kind, i) => [kind, members[i]!]));
  }

  override ofKind(kind: string): Attributes | undefined {
    const known = kind === USER_AMONG_OTHERS ? 'user' : kind;
    return this.#index ? this.#index.get(known) : super.ofKind(known);
  }
}

/** Parses a context as LaunchDarkly's Go SDK parses its JSON. A context that is already parsed is returned unchanged. */
export function parseGoContext(value: unknown): ParsedContext | undefined {
  const parsed = parse(value);
  return typeof parsed === 'string' ? undefined : parsed;
}

/** Undefined for a valid context; otherwise one sentence that says what is wrong and what is expected. */
export function describeGoContextProblem(value: unknown): string | undefined {
  const parsed = parse(value);
  return typeof parsed === 'string' ? parsed : undefined;
}

/** A string says what is wrong. */
function parse(value: unknown): ParsedContext | string {
  if (value instanceof ParsedContext) return value;
  if (!isFields(value)) return `a context must be an object, not ${show(value)}`;
  const { kind } = value;
  if (kind === undefined) return parseUser(value);
  if (kind === '') return badKind(kind);
  return kind === 'multi' ? parseMulti(value) : single(parseMember(value, ''));
}

interface Member {
  readonly kind: string;
  readonly attributes: Attributes;
}

function single(member: Member | string): ParsedContext | string {
  return typeof member === 'string' ? member : new ParsedContext([member.kind], [member.attributes]);
}

function parseMulti(value: Attributes): ParsedContext | string {
  const names = Object.keys(value).filter((name) => name !== 'kind');
  const members: Member[] = [];
  const seen = new Set<string>();
  for (const name of names) {
    const member = parseMember(value[name], name);
    if (typeof member === 'string') return member;
    if (seen.has(member.kind)) return `a multi-kind context must have each kind once, not ${member.kind} twice`;
    seen.add(member.kind);
    members.push(member);
  }
  const [first, second] = members;
  if (!first) return 'a multi-kind context must have at least one kind';
  if (!second) return single(first);
  return new MultiKindContext(
    members.map(({ kind }) => kind),
    members.map(({ attributes }) => attributes),
  );
}

/** `name`: its name in a multi-kind context, where its own `kind` takes precedence. */
function parseMember(value: unknown, name: string): Member | string {
  if (!isFields(value)) return `the ${name} context must be an object, not ${show(value)}`;
  const { kind = name, key, name: title, anonymous, _meta } = value;
  if (typeof kind !== 'string') return badKind(kind);
  const known = kind || 'user';
  if (!isKind(known) || known === 'multi') return badKind(known);
  const must = (what: string, be: string, not: unknown) =>
    `${what} of the ${known} context must be ${be}, not ${show(not)}`;
  if (typeof key !== 'string' || key === '') return must('the key', 'a non-empty string', key);
  if (!isAbsent(title) && typeof title !== 'string') return must('the name', 'a string', title);
  if (anonymous !== undefined && typeof anonymous !== 'boolean') return must('anonymous', 'true or false', anonymous);
  if (!isAbsent(_meta) && !isFields(_meta)) return must('_meta', 'an object', _meta);
  const names = _meta?.privateAttributes;
  if (!areStrings(names)) return must('_meta.privateAttributes', 'an array of strings', names);
  // The Go SDK does not take metadata for an attribute.
  return { kind: known, attributes: { ...value, _meta: undefined, [KIND]: known } };
}

/** Custom attributes with these names are dropped: they are something else, or at the top level. */
const NOT_CUSTOM = new Set(['kind', 'key', 'name', 'anonymous', '_meta']);
const TEXTS = new Set(['name', 'secondary', 'firstName', 'lastName', 'email', 'country', 'avatar', 'ip']);

/** A user from before contexts. Its key may be empty. Of an attribute that is there twice, the later one counts. */
function parseUser(user: Attributes): ParsedContext | string {
  const { key, custom, anonymous, privateAttributeNames, secondary } = user;
  const must = (what: string, be: string, not: unknown) => `${what} of a user must be ${be}, not ${show(not)}`;
  if (typeof key !== 'string') return must('the key', 'a string', key);
  if (!isAbsent(anonymous) && typeof anonymous !== 'boolean') return must('anonymous', 'true or false', anonymous);
  if (!isAbsent(custom) && !isFields(custom)) return must('custom', 'an object', custom);
  if (!areStrings(privateAttributeNames))
    return must('privateAttributeNames', 'an array of strings', privateAttributeNames);
  const attributes = new Map<PropertyKey, unknown>([
    ['key', key],
    ['anonymous', anonymous],
    [KIND, 'user'],
  ]);
  for (const [name, value] of Object.entries(user)) {
    if (name === 'custom') {
      for (const [own, part] of Object.entries(custom ?? {})) if (!NOT_CUSTOM.has(own)) attributes.set(own, part);
    } else if (TEXTS.has(name) && !isAbsent(value)) {
      if (typeof value !== 'string') return must(name, 'a string', value);
      if (name !== 'secondary') attributes.set(name, value);
    }
  }
  if (!isAbsent(secondary)) attributes.set(SECONDARY, secondary);
  return new ParsedContext(['user'], [Object.fromEntries(attributes)]);
}

/**
 * The JSON of a valid context without what a legacy user has twice: of an attribute at the top level and in `custom`, only the one that
 * counts is left. So the order of members, on which that depends, means nothing any more.
 */
export function withoutOverridden(value: Attributes, context: Context): Attributes {
  const { kind, custom } = value;
  if (kind !== undefined || !isFields(custom)) return value;
  const twice = [...TEXTS].filter((name) => isBoth(name) && Object.hasOwn(custom, name) && !isAbsent(value[name]));
  if (twice.length === 0) return value;
  const counting = (context as ParsedContext).ofKind('user');
  const top: Record<string, unknown> = { ...value };
  const own: Record<string, unknown> = { ...custom };
  for (const name of twice) {
    if (counting?.[name] === value[name]) delete own[name];
    else delete top[name];
  }
  return { ...top, custom: own };
}

/** Whether it is the same attribute in `custom` and at the top level. */
function isBoth(name: string): boolean {
  return name !== 'secondary' && !NOT_CUSTOM.has(name);
}

/** Kinds are names, and no data. */
function badKind(kind: unknown): string {
  const shown = typeof kind === 'string' ? JSON.stringify(kind.slice(0, 80)) : show(kind);
  return `a context's kind must be letters, digits, ".", "_" or "-", and not "kind", not ${shown}`;
}

function isAbsent(value: unknown): value is null | undefined {
  return value === undefined || value === null;
}

function areStrings(value: unknown): boolean {
  return isAbsent(value) || (Array.isArray(value) && value.every((part) => typeof part === 'string'));
}

/** Says what there is, without a client's data: the sentence may end up in logs. */
function show(value: unknown): string {
  if (value === undefined) return 'missing';
  if (value === null) return 'null';
  if (value === '') return 'an empty string';
  if (Array.isArray(value)) return 'an array';
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}
