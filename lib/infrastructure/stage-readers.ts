import { holdsKey } from '../../relay-task/common/secrets.ts';

/**
 * Checks one property of a stage file: returns its value, or undefined after reporting what was expected. Stage files are
 * typed, but `cdk.json` is not.
 */
export type Read<T> = (value: unknown, at: string, problems: Problems) => T | undefined;

/** Problems found, one message per property. */
export class Problems {
  private readonly byProperty = new Map<string, string>();

  /** `wanted` completes "expected". */
  mustBe(at: string, value: unknown, wanted: string): undefined {
    this.say(at, `${at === '' ? shown(value) : `${at}=${shown(value)}`} is invalid: expected ${wanted}`);
  }

  /** Ignored if the property, a part of it or what it is part of already has a message. */
  say(at: string, message: string): undefined {
    for (const known of this.byProperty.keys()) {
      if (known === at || known.startsWith(`${at}.`) || at.startsWith(`${known}.`)) return;
    }
    this.byProperty.set(at, message);
  }

  list(): string[] {
    return [...this.byProperty.values()];
  }
}

function shown(value: unknown): string {
  // Messages must not reveal a password in a URL.
  const text = (JSON.stringify(value) ?? String(value)).replace(/\/\/[^/@\s"]*@/g, '//…@');
  if (holdsKey(text)) return '(contains a key)';
  return text.length > 120 ? `${text.slice(0, 117)}...` : text;
}

export function text(pattern: RegExp, wanted: string): Read<string> {
  return (value, at, problems) =>
    typeof value === 'string' && pattern.test(value) ? value : problems.mustBe(at, value, wanted);
}

export function integer(min: number, max = Number.MAX_SAFE_INTEGER, unit = ''): Read<number> {
  const range = max === Number.MAX_SAFE_INTEGER ? `from ${min}` : `from ${min} to ${max}`;
  return (value, at, problems) =>
    Number.isInteger(value) && (value as number) >= min && (value as number) <= max
      ? (value as number)
      : problems.mustBe(at, value, `an integer ${range}${unit && ` (${unit})`}`);
}

export function number(min: number, max: number, unit: string): Read<number> {
  return (value, at, problems) =>
    typeof value === 'number' && value >= min && value <= max
      ? value
      : problems.mustBe(at, value, `a number from ${min} to ${max} (${unit})`);
}

export const boolean: Read<boolean> = (value, at, problems) =>
  typeof value === 'boolean' ? value : problems.mustBe(at, value, 'true or false');

export function oneOf<const T extends string | number>(...words: readonly T[]): Read<T> {
  return (value, at, problems) =>
    words.includes(value as T) ? (value as T) : problems.mustBe(at, value, `one of ${words.join(', ')}`);
}

export function list<T>(item: Read<T>, wanted: string): Read<readonly T[]> {
  return (value, at, problems) => {
    if (!Array.isArray(value)) return problems.mustBe(at, value, wanted);
    const read = value.map((member, index) => item(member, `${at}[${index}]`, problems));
    if (new Set(value).size < value.length) problems.mustBe(at, value, 'no duplicates');
    return read.every((member) => member !== undefined) ? read : undefined;
  };
}

/** A map whose names match a pattern. Messages about a name omit the values, which may be secrets. */
export function mapOf<T>(name: RegExp, item: Read<T>, wanted: string): Read<Readonly<Record<string, T>>> {
  return (value, at, problems) => {
    if (!isRecord(value)) return problems.mustBe(at, value, wanted);
    const read = Object.entries(value).map(([key, member]) => {
      const path = `${at}.${key}`;
      if (name.test(key)) return [key, item(member, path, problems)];
      return [key, problems.say(path, `${at} has the invalid name ${shown(key)}: expected ${wanted}`)];
    });
    return read.every(([, member]) => member !== undefined) ? Object.fromEntries(read) : undefined;
  };
}

/** An object with known properties only; those in `required` must be present. */
export function group<T extends object>(
  properties: { readonly [Name in keyof T]-?: Read<NonNullable<T[Name]>> },
  required: readonly (keyof T & string)[] = [],
): Read<T> {
  return (value, at, problems) => {
    if (!isRecord(value)) return problems.mustBe(at, value, 'an object');
    const path = (name: string) => (at === '' ? name : `${at}.${name}`);
    for (const name of Object.keys(value)) {
      if (Object.hasOwn(properties, name)) continue;
      problems.say(path(name), `${path(name)} is unknown: ${advice(name, Object.keys(properties))}`);
    }
    const read: Record<string, unknown> = {};
    for (const [name, reader] of Object.entries(properties) as [string, Read<unknown>][]) {
      const given = value[name];
      if (given !== undefined) read[name] = reader(given, path(name), problems);
      else if ((required as readonly string[]).includes(name)) problems.say(path(name), `${path(name)} is missing`);
    }
    // Code that reads a group relies on its required properties.
    return required.every((name) => read[name] !== undefined) ? (read as T) : undefined;
  };
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function advice(name: string, known: readonly string[]): string {
  const near = known.find((one) => distance(one.toLowerCase(), name.toLowerCase()) <= 2);
  return near ? `did you mean ${near}?` : `expected one of ${known.join(', ')}`;
}

/** Levenshtein's. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (const [i, letter] of [...a].entries()) {
    const next = [i + 1];
    for (let j = 0; j < b.length; j++) {
      next.push(Math.min(row[j]! + (letter === b[j] ? 0 : 1), row[j + 1]! + 1, next[j]! + 1));
    }
    row = next;
  }
  return row.at(-1)!;
}

/** Every string in a value, property names included, with its path. */
export function* textsIn(value: unknown, at = ''): Generator<readonly [at: string, text: string]> {
  if (typeof value === 'string') yield [at, value];
  else if (typeof value === 'object' && value !== null) {
    for (const [name, member] of Object.entries(value)) {
      const path = at === '' ? name : `${at}.${name}`;
      yield [holdsKey(name) ? at : path, name];
      yield* textsIn(member, holdsKey(name) ? at : path);
    }
  }
}
