import { type Bucketing, compileBucketing } from '../bucketing.ts';
import type { ParsedContext } from '../context.ts';
import type { RolloutData } from '../data.ts';
import type { Dialect } from '../dialect.ts';
import type { Bucket } from '../model.ts';
import { compileTest, remembering, type Test } from '../operators.ts';
import { type Path, readAttribute } from '../reference.ts';
import { countHashed, type Work } from '../work.ts';
import { KIND, parseGoContext, SECONDARY } from './context.ts';
import { compareMoments, isZero, parseGoDate, toInt64 } from './dates.ts';
import { goTargetsOf, readGoFlag, readGoSegment } from './items.ts';
import { compareGoVersions, parseGoVersion } from './versions.ts';

/** A compiled regular expression of RE2. */
export interface Pattern {
  /** Whether a part of the text matches. */
  test(text: string): boolean;
  /** What each character of a text costs, in nanoseconds. */
  readonly perCharacter: number;
}

/**
 * LaunchDarkly's Go evaluator 3.0, set up as in ld-relay. `compilePattern`: undefined if RE2 refuses the pattern, which then never
 * matches. The evaluator's `bucket` should be `sha1BucketFloat32`.
 */
export function createGoDialect(compilePattern: (source: string) => Pattern | undefined): Dialect {
  const operators = operatorsWith(compilePattern);
  const never: Test = () => false;
  return {
    strict: true,
    context: parseGoContext,
    flag: readGoFlag,
    segment: readGoSegment,
    targets: goTargetsOf,
    path: parseGoReference,
    test(op, values) {
      const operator = operators.get(op);
      if (operator) return operator(values);
      // Nothing is equal to null.
      return COMMON_OPERATORS.has(op)
        ? compileTest(
            op,
            values.filter((value) => value !== null),
          )
        : never;
    },
    rollout: compileGoBucketing,
    bucket: goBucketOf,
    limit: (from, weight) => Math.fround(from + Math.fround(Math.fround(weight ?? 0) / 100_000)),
  };
}

/** The operators that are the same in the Node SDK. */
const COMMON_OPERATORS = new Set([
  'in',
  'startsWith',
  'endsWith',
  'contains',
  'lessThan',
  'lessThanOrEqual',
  'greaterThan',
  'greaterThanOrEqual',
]);

type Operator = (values: readonly unknown[]) => Test;

function operatorsWith(compilePattern: (source: string) => Pattern | undefined): ReadonlyMap<string, Operator> {
  const date = remembering(parseGoDate);
  const dateOperand = (value: unknown) => {
    const moment = parseGoDate(value);
    return moment && !isZero(moment) ? moment : undefined;
  };
  const version = remembering(parseGoVersion);
  return new Map([
    ['matches', matchesWith(compilePattern)],
    ['before', operator(date, dateOperand, (a, b) => compareMoments(a, b) < 0)],
    ['after', operator(date, dateOperand, (a, b) => compareMoments(a, b) > 0)],
    ['semVerEqual', operator(version, version, (a, b) => compareGoVersions(a, b) === 0)],
    ['semVerLessThan', operator(version, version, (a, b) => compareGoVersions(a, b) < 0)],
    ['semVerGreaterThan', operator(version, version, (a, b) => compareGoVersions(a, b) > 0)],
  ]);
}

/** Its effort depends on the patterns. */
function matchesWith(compilePattern: (source: string) => Pattern | undefined): Operator {
  const text = (value: unknown) => (typeof value === 'string' ? value : undefined);
  return (values) => {
    const patterns = values.map((source) => (typeof source === 'string' ? compilePattern(source) : undefined));
    const matches = operator(
      text,
      (pattern) => pattern as Pattern | undefined,
      (a, b) => b.test(a),
    )(patterns);
    const perCharacter = patterns.reduce((sum, pattern) => sum + (pattern?.perCharacter ?? 0), 0);
    return Object.assign(matches, { effort: { perValue: PER_SEARCH * patterns.length, perCharacter } });
  };
}

/** However short the text is, in nanoseconds. */
const PER_SEARCH = 600;

/** The conversions of the context's value and of the clause's values, and their comparison. */
function operator<A, B>(
  form: (value: unknown) => A | undefined,
  operandForm: (value: unknown) => B | undefined,
  compare: (value: A, operand: B) => boolean,
): Operator {
  return (values) => {
    const operands = values.map(operandForm).filter((operand) => operand !== undefined);
    return (value) => {
      const formed = form(value);
      return formed !== undefined && operands.some((operand) => compare(formed, operand as B));
    };
  };
}

/** A path has no empty component, and each `~` is followed by 0 or 1. A text without a leading slash is one name. */
function parseGoReference(reference: string, literal: boolean): Path | undefined {
  if (reference === '' || literal || reference[0] !== '/') return reference === '' ? undefined : [reference];
  const components = reference.slice(1).split('/');
  if (components.some((component) => component === '' || /~(?![01])/.test(component))) return undefined;
  const path = components.map((component) => component.replaceAll('~1', '/').replaceAll('~0', '~'));
  // `kind` means the list of all kinds, but `/kind` the kind of the clause's context.
  return path.length === 1 && path[0] === 'kind' ? [KIND] : path;
}

/** A seed may be 0, and a rollout may bucket by the context's kind. */
function compileGoBucketing(prefix: string, rollout: RolloutData): GoBucketing {
  const { seed, bucketBy, contextKind, kind } = rollout;
  const experiment = kind === 'experiment';
  const by = experiment || !bucketBy ? ['key'] : parseGoReference(bucketBy, !contextKind);
  return {
    ...compileBucketing(typeof seed === 'number' ? `${toInt64(seed)}.` : prefix, { contextKind }),
    by: by?.length === 1 && by[0] === 'kind' ? [KIND] : by,
    experiment,
  };
}

interface GoBucketing extends Bucketing {
  readonly experiment: boolean;
}

/** In 32-bit floating-point numbers. The secondary key of a legacy user counts, except in experiments. */
function goBucketOf(run: Work, context: ParsedContext, bucketing: Bucketing, bucket: Bucket): number | undefined {
  const { kind, by, prefix, experiment } = bucketing as GoBucketing;
  const member = context.ofKind(kind) as { [SECONDARY]?: string } | undefined;
  if (!member) return undefined;
  const value = hashed(readAttribute(context, kind, by as Path));
  if (value === undefined) return 0;
  const secondary = experiment ? undefined : member[SECONDARY];
  return Math.fround(bucket(prefix, countHashed(run, secondary === undefined ? value : `${value}.${secondary}`)));
}

/** A text, or the digits of an integer of 64 bits. */
function hashed(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  if (!Number.isInteger(value)) return undefined;
  if (Number.isSafeInteger(value)) return String(value);
  return Number(toInt64(value as number)) === value ? String(toInt64(value)) : undefined;
}
