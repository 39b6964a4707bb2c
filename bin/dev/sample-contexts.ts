/** Contexts that a flag's own rules and targets are about, for the commands that `npm start` prints. */
import type { KnownClause, KnownFlag } from './known-flags.ts';

type Attributes = Readonly<Record<string, string | number | boolean>>;

/** Of a user: a key, and attributes by their names. */
export interface SampleContext {
  readonly key: string;
  readonly attributes: Attributes;
}

const DAY_MS = 86_400_000;

/** The first target, and for each rule a context that its clauses seem to match; whether they do is for an evaluation to say. */
export function sampleContexts({ targets = [], rules = [] }: KnownFlag): SampleContext[] {
  const target = targets.flatMap(({ values }) => values ?? [])[0];
  const matching = rules.flatMap(({ clauses = [] }) => contextFor(clauses) ?? []);
  return [...(target === undefined ? [] : [{ key: target, attributes: {} }]), ...matching];
}

function contextFor(clauses: readonly KnownClause[]): SampleContext | undefined {
  const attributes: Record<string, string | number | boolean> = {};
  let key = 'ada';
  for (const clause of clauses) {
    const { attribute = '', contextKind = 'user' } = clause;
    const value = valueFor(clause);
    // An attribute of an attribute, or of another context, is too much for one line of a terminal.
    if (value === undefined || contextKind !== 'user' || !/^\w+$/.test(attribute)) return undefined;
    if (attribute === 'key') key = String(value);
    else attributes[attribute] = value;
  }
  return clauses.length === 0 ? undefined : { key, attributes };
}

function valueFor({ op, values = [], negate = false }: KnownClause): string | number | boolean | undefined {
  const [value] = values;
  if (negate) return undefined;
  if (typeof value === 'number') {
    if (op === 'before') return value - DAY_MS;
    if (op === 'after') return value + DAY_MS;
    if (op === 'lessThan') return value - 1;
    if (op === 'greaterThan') return value + 1;
    return op === 'in' || op === 'lessThanOrEqual' || op === 'greaterThanOrEqual' ? value : undefined;
  }
  if (typeof value === 'boolean') return op === 'in' ? value : undefined;
  if (typeof value !== 'string') return undefined;
  switch (op) {
    case 'in':
    case 'startsWith':
    case 'contains':
    case 'semVerEqual':
      return value;
    case 'endsWith':
      return value.startsWith('@') ? `ada${value}` : value;
    case 'semVerGreaterThan':
      return `${Number.parseInt(value, 10) + 1}.0.0`;
    case 'semVerLessThan':
      return '0.0.1';
    case 'before':
    case 'after': {
      const at = Date.parse(value);
      return Number.isNaN(at) ? undefined : new Date(at + (op === 'after' ? DAY_MS : -DAY_MS)).toISOString();
    }
    default:
      return undefined;
  }
}
