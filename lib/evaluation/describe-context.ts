import { type Attributes, areNames, isKind, parseContext } from './context.ts';

/** Undefined for a valid context; otherwise one sentence that says what is wrong and what is expected. */
export function describeContextProblem(value: unknown): string | undefined {
  if (parseContext(value) !== undefined) return undefined;
  if (!isFields(value)) return `a context must be an object, not ${show(value)}`;
  const { kind, key, privateAttributeNames } = value;
  if (kind === undefined || kind === null) {
    return areNames(privateAttributeNames)
      ? `the key of a user must be a string, not ${show(key)}`
      : `privateAttributeNames must be an array of strings, not ${show(privateAttributeNames)}`;
  }
  if (kind !== 'multi') return describeMember(kind, value);
  const members = Object.entries(value).filter(([name]) => name !== 'kind');
  const problem = members.map(([name, member]) => describeMember(name, member)).find((found) => found !== undefined);
  return problem ?? 'a multi-kind context must have at least one kind';
}

function describeMember(kind: unknown, member: unknown): string | undefined {
  if (!isKind(kind))
    return `a context's kind must be letters, digits, ".", "_" or "-", and not "kind", not ${show(kind)}`;
  if (!isFields(member)) return `the ${kind} context must be an object, not ${show(member)}`;
  const { key, _meta } = member;
  if (typeof key !== 'string' || key === '')
    return `the key of the ${kind} context must be a non-empty string, not ${show(key)}`;
  const names = (_meta as Attributes | null | undefined)?.privateAttributes;
  return areNames(names) ? undefined : `_meta.privateAttributes must be an array of strings, not ${show(names)}`;
}

function isFields(value: unknown): value is Attributes {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const SHOWN_CHARACTERS = 80;

function show(value: unknown): string {
  return JSON.stringify(value)?.slice(0, SHOWN_CHARACTERS) ?? 'missing';
}
