import { parseDate } from './dates.ts';
import { compareVersions, parseVersion, type Version } from './versions.ts';
import type { Effort } from './work.ts';

/** Converts a value for comparison; undefined: the value can never satisfy the operator. */
type Form = (value: unknown) => unknown;
type Comparison = (a: never, b: never) => unknown;
type Callable = (...args: unknown[]) => unknown;
/** The conversion of both values, and the comparison of the context's value with the clause's. */
type Operator = readonly [Form, Comparison];

const text: Form = (value) => (typeof value === 'string' ? value : undefined);
const number: Form = (value) => (typeof value === 'number' ? value : undefined);
const anything: Form = (value) => value;

/** A compiled regular expression: whether a part of the text matches. */
export interface TextPattern {
  test(text: string): boolean;
}

/** JavaScript's regular expressions without flags, as in the Node SDK. Undefined: it is invalid, and never matches. */
function compileRegExp(source: string): TextPattern | undefined {
  try {
    return new RegExp(source);
  } catch {
    return undefined;
  }
}

/** Caches the last conversion, since range checks convert the same value twice. */
export function remembering<T>(form: (value: unknown) => T): (value: unknown) => T {
  let last: unknown;
  let formed: T;
  return (value) => {
    if (value !== last) formed = form(value);
    last = value;
    return formed;
  };
}

const date = remembering(parseDate);
const version = remembering(parseVersion);

const less: Comparison = (a: number, b: number) => a < b;
const greater: Comparison = (a: number, b: number) => a > b;

/** A plain object on purpose, like the Node SDK's table, so that operators named like members of Object.prototype behave the same. */
const OPERATORS: Readonly<Record<string, Operator | Callable | undefined>> = {
  in: [anything, Object.is],
  startsWith: [text, (a: string, b: string) => a.startsWith(b)],
  endsWith: [text, (a: string, b: string) => a.endsWith(b)],
  contains: [text, (a: string, b: string) => a.includes(b)],
  matches: [text, (a: string, b: TextPattern) => b.test(a)],
  lessThan: [number, less],
  lessThanOrEqual: [number, (a: number, b: number) => a <= b],
  greaterThan: [number, greater],
  greaterThanOrEqual: [number, (a: number, b: number) => a >= b],
  before: [date, less],
  after: [date, greater],
  semVerEqual: [version, (a: Version, b: Version) => compareVersions(a, b) === 0],
  semVerLessThan: [version, (a: Version, b: Version) => compareVersions(a, b) < 0],
  semVerGreaterThan: [version, (a: Version, b: Version) => compareVersions(a, b) > 0],
};

/** Whether a context's value (not an array) satisfies the operator with any of the clause's values. */
export interface Test {
  (value: unknown): boolean;
  /** Absent: `effortOf` the operator. */
  readonly effort?: Effort;
}

/** `compilePattern`: for the values of `matches`; undefined if a pattern is invalid. */
export function compileTest(
  op: string,
  values: readonly unknown[],
  compilePattern: (source: string) => TextPattern | undefined = compileRegExp,
): Test {
  if (op === 'in') {
    const set = new Set(values);
    return (value) => set.has(value);
  }
  const found = OPERATORS[op];
  const operator = Array.isArray(found) ? (found as Operator) : undefined;
  const [form, compare] = operator ?? [
    anything,
    // An unknown operator never matches.
    (a: unknown, b: unknown) => (found as Callable | undefined)?.call(OPERATORS, a, b),
  ];
  const formed = values.map(form).filter((operand) => operand !== undefined);
  const operands = (
    op === 'matches' ? (formed as string[]).flatMap((one) => compilePattern(one) ?? []) : formed
  ) as never[];
  return (value) => {
    const given = form(value);
    if (given === undefined) return false;
    for (let i = 0; i < operands.length; i++) if (compare(given as never, operands[i]!)) return true;
    return false;
  };
}
