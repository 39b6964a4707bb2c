import { type Field, type Shape, shapes } from './schema.ts';

/** Undefined for a well-formed flag; otherwise one sentence with path, value and expected type. Only types are checked. */
export function describeFlagProblem(data: unknown): string | undefined {
  return describeItem(data, shapes.flag);
}

/** The same as `describeFlagProblem`, for a segment. */
export function describeSegmentProblem(data: unknown): string | undefined {
  return describeItem(data, shapes.segment);
}

function describeItem(data: unknown, fields: readonly Field[]): string | undefined {
  const problem = describe(data, { is: 'object', fields }, '');
  if (problem !== undefined) return problem;
  const { key, version } = data as { key?: unknown; version?: unknown };
  if (typeof key !== 'string') return mustBe('key', 'a string', key);
  return typeof version === 'number' ? undefined : mustBe('version', 'a whole number', version);
}

const SCALARS = {
  text: { words: 'a string', fits: (value: unknown) => typeof value === 'string' },
  flag: { words: 'true or false', fits: (value: unknown) => typeof value === 'boolean' },
  number: { words: 'a number', fits: (value: unknown) => typeof value === 'number' },
  whole: { words: 'a whole number', fits: (value: unknown) => Number.isInteger(value) },
  any: { words: 'anything', fits: () => true },
};

function describe(value: unknown, shape: Shape, path: string): string | undefined {
  switch (shape.is) {
    case 'list':
      if (!Array.isArray(value)) return mustBe(path, 'an array', value);
      return first(value, (element, index) => describe(element, shape.of, `${path}[${index}]`));
    case 'object': {
      if (typeof value !== 'object' || value === null || Array.isArray(value)) return mustBe(path, 'an object', value);
      const prefix = path === '' ? '' : `${path}.`;
      return first(shape.fields, ({ name, shape: inner }) => {
        const part = Object.hasOwn(value, name) ? (value as Record<string, unknown>)[name] : undefined;
        return part === undefined || part === null ? undefined : describe(part, inner, prefix + name);
      });
    }
    default:
      return SCALARS[shape.is].fits(value) ? undefined : mustBe(path, SCALARS[shape.is].words, value);
  }
}

function first<T>(items: readonly T[], find: (item: T, index: number) => string | undefined): string | undefined {
  for (const [index, item] of items.entries()) {
    const problem = find(item, index);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

const SHOWN_CHARACTERS = 80;

function mustBe(path: string, words: string, value: unknown): string {
  const shown = JSON.stringify(value) ?? 'missing';
  const short = shown.length > SHOWN_CHARACTERS ? `${shown.slice(0, SHOWN_CHARACTERS)}…` : shown;
  const verdict = shown === 'missing' ? 'it is missing' : `not ${short}`;
  return `${path || 'the item'} must be ${words}, ${verdict}`;
}
