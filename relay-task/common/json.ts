/** Values parsed from JSON that somebody else wrote. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** A JSON object: neither null nor an array. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A whole number from 0, as versions and times in ms are. */
export function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** `a number`, `a list`, `null`: what a value is, without showing it, since it may hold a key. */
export function describeType(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (Array.isArray(value)) return 'a list';
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}

/** In characters. */
const MOST_SHOWN = 60;

/**
 * The beginning of a value's JSON, for a message. Looks at no more of the value than it shows, and never throws, however large and
 * deep the value is.
 */
export function showJson(value: unknown): string {
  if (value === undefined) return 'missing';
  let shown = '';
  const isFull = () => shown.length > MOST_SHOWN;

  // Each level adds a character, so the recursion ends.
  function add(part: unknown): void {
    if (typeof part === 'string') shown += JSON.stringify(part.slice(0, MOST_SHOWN + 1));
    // JSON has no Infinity, which 1e400 parses to.
    else if (typeof part !== 'object' || part === null) shown += String(part);
    else if (Array.isArray(part)) addList(part);
    else addObject(part as JsonObject);
  }
  function addList(list: readonly unknown[]): void {
    shown += '[';
    for (let at = 0; at < list.length && !isFull(); at += 1) {
      if (at > 0) shown += ',';
      add(list[at]);
    }
    shown += ']';
  }
  function addObject(members: JsonObject): void {
    shown += '{';
    let isFirst = true;
    for (const name in members) {
      if (isFull()) break;
      shown += isFirst ? '' : ',';
      isFirst = false;
      add(name);
      shown += ':';
      add(members[name]);
    }
    shown += '}';
  }

  add(value);
  return isFull() ? `${shown.slice(0, MOST_SHOWN)}…` : shown;
}

/** Whether there is a number that no double holds, such as 1e400: valid JSON, which others refuse. For values of bounded depth. */
export function hasInfinity(value: unknown): boolean {
  if (typeof value === 'number') return !Number.isFinite(value);
  if (typeof value !== 'object' || value === null) return false;
  return Object.values(value).some(hasInfinity);
}

/** The beginning of a long text, with its length. */
export function cutText(text: string, mostCharacters: number): string {
  return text.length > mostCharacters ? `${text.slice(0, mostCharacters)}… (${text.length} characters)` : text;
}

/** JSON in which the order of members means nothing: they are sorted by name, at every depth. For values of bounded depth. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(sorted(value));
}

/** A replacer function would be called for every value, which takes several times as long. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (!isObject(value)) return value;
  const names = Object.keys(value);
  if (names.length > 1) names.sort();
  const members: Record<string, unknown> = {};
  for (const name of names) setMember(members, name, sorted(value[name]));
  return members;
}

/** Adds a member as JSON.parse does, also one called `__proto__`: assigning to that would change the prototype. */
export function setMember(members: Record<string, unknown>, name: string, value: unknown): void {
  if (name !== '__proto__') members[name] = value;
  else Object.defineProperty(members, name, { value, writable: true, enumerable: true, configurable: true });
}
