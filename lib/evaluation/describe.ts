import { type Field, type Shape, shapes } from './schema.ts';
import { resultOf } from './steps.ts';

/** Undefined for a well-formed flag; otherwise one sentence with path, value and expected type. Only types are checked. */
export function describeFlagProblem(data: unknown): string | undefined {
  return resultOf(describeFlagProblemInSteps(data));
}

/** The same as `describeFlagProblem`, for a segment. */
export function describeSegmentProblem(data: unknown): string | undefined {
  return resultOf(describeSegmentProblemInSteps(data));
}

/** As `describeFlagProblem`, in steps of less than a millisecond. */
export function describeFlagProblemInSteps(data: unknown): Generator<void, string | undefined> {
  return describeItem(data, shapes.flag);
}

/** As `describeSegmentProblem`, in steps of less than a millisecond. */
export function describeSegmentProblemInSteps(data: unknown): Generator<void, string | undefined> {
  return describeItem(data, shapes.segment);
}

function* describeItem(data: unknown, fields: readonly Field[]): Generator<void, string | undefined> {
  const problem = yield* find(data, { is: 'object', fields });
  if (problem !== undefined) return mustBe(problem.path.replace(/^\./, ''), problem.words, problem.value);
  const { key, version } = data as { key?: unknown; version?: unknown };
  if (typeof key !== 'string') return mustBe('key', 'a string', key);
  return typeof version === 'number' ? undefined : mustBe('version', 'a whole number', version);
}

interface Problem {
  /** `.rules[2].clauses`; put together on the way back, since hardly any item has a problem. */
  readonly path: string;
  /** What is expected. */
  readonly words: string;
  readonly value: unknown;
}

const SCALARS = {
  text: { words: 'a string', fits: (value: unknown) => typeof value === 'string' },
  flag: { words: 'true or false', fits: (value: unknown) => typeof value === 'boolean' },
  // 1e400 is valid JSON that parses to Infinity, which no JSON can express. LaunchDarkly's Go code refuses it, too.
  number: { words: 'a number', fits: Number.isFinite },
  whole: { words: 'a whole number', fits: (value: unknown) => Number.isInteger(value) },
  any: { words: 'anything', fits: () => true },
};

/** How many elements of a list are checked between two yields; of lists and objects inside it, one. */
const ELEMENTS_AT_ONCE = 1_000;

function* find(value: unknown, shape: Shape): Generator<void, Problem | undefined> {
  switch (shape.is) {
    case 'list': {
      if (!Array.isArray(value)) return { path: '', words: 'an array', value };
      const isOfScalars = shape.of.is !== 'list' && shape.of.is !== 'object';
      for (let index = 0; index < value.length; index += 1) {
        const problem = isOfScalars ? findScalar(value[index], shape.of) : yield* find(value[index], shape.of);
        if (problem !== undefined) return { ...problem, path: `[${index}]${problem.path}` };
        if (!isOfScalars || index % ELEMENTS_AT_ONCE === 0) yield;
      }
      return undefined;
    }
    case 'object':
      if (typeof value !== 'object' || value === null || Array.isArray(value)) {
        return { path: '', words: 'an object', value };
      }
      for (const { name, shape: inner } of shape.fields) {
        const part = Object.hasOwn(value, name) ? (value as Record<string, unknown>)[name] : undefined;
        if (part === undefined || part === null) continue;
        const isScalar = inner.is !== 'list' && inner.is !== 'object';
        const problem = isScalar ? findScalar(part, inner) : yield* find(part, inner);
        if (problem !== undefined) return { ...problem, path: `.${name}${problem.path}` };
      }
      return undefined;
    default:
      return findScalar(value, shape);
  }
}

function findScalar(
  value: unknown,
  { is }: Extract<Shape, { readonly is: keyof typeof SCALARS }>,
): Problem | undefined {
  return SCALARS[is].fits(value) ? undefined : { path: '', words: SCALARS[is].words, value };
}

const SHOWN_CHARACTERS = 80;

function show(value: unknown): string {
  // JSON has no Infinity.
  if (typeof value === 'number') return String(value);
  try {
    return JSON.stringify(value) ?? 'missing';
  } catch {
    // Nested too deeply for the stack.
    return Array.isArray(value) ? '[…]' : '{…}';
  }
}

function mustBe(path: string, words: string, value: unknown): string {
  const shown = show(value);
  const short = shown.length > SHOWN_CHARACTERS ? `${shown.slice(0, SHOWN_CHARACTERS)}…` : shown;
  const verdict = shown === 'missing' ? 'it is missing' : `not ${short}`;
  return `${path || 'the item'} must be ${words}, ${verdict}`;
}
