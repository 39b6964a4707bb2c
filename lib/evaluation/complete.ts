import { type Field, type Shape, shapes } from './schema.ts';
import { resultOf } from './steps.ts';

export type Fields = Record<string, unknown>;

/** The known fields of a flag, with defaults for those that are absent. Values of the wrong type are not changed. */
export function completeFlag(data: Fields): Fields {
  return resultOf(completeFlagInSteps(data));
}

/** The same as `completeFlag`, for a segment. */
export function completeSegment(data: Fields): Fields {
  return resultOf(completeSegmentInSteps(data));
}

/** As `completeFlag`, with a yield after each element of its lists. */
export function* completeFlagInSteps(data: Fields): Generator<void, Fields> {
  const flag = yield* completeObject(data, shapes.flag);
  const availability = flag.clientSideAvailability as { usingEnvironmentId?: unknown } | undefined;
  // The older field mirrors the newer one, if present.
  if (availability !== undefined) flag.clientSide = availability.usingEnvironmentId;
  return flag;
}

/** As `completeSegment`, with a yield after each element of its lists. */
export function completeSegmentInSteps(data: Fields): Generator<void, Fields> {
  return completeObject(data, shapes.segment);
}

function* completeObject(data: Fields, fields: readonly Field[]): Generator<void, Fields> {
  const known: [string, unknown][] = [];
  for (const { name, shape, fallback, omit } of fields) {
    const given = (Object.hasOwn(data, name) ? data[name] : undefined) ?? fallback;
    const value = shape.is === 'list' || shape.is === 'object' ? yield* complete(given, shape) : given;
    if (value === undefined || value === omit || (name === 'rollout' && isEmptyRollout(value))) continue;
    known.push([name, value]);
  }
  return Object.fromEntries(known);
}

function* complete(value: unknown, shape: Shape): Generator<void, unknown> {
  if (shape.is === 'object' && isFields(value)) return yield* completeObject(value, shape.fields);
  if (shape.is !== 'list' || shape.of.is !== 'object' || !Array.isArray(value)) return value;
  const parts: unknown[] = [];
  for (const part of value) {
    parts.push(yield* complete(part, shape.of));
    yield;
  }
  return parts;
}

/** A rollout without variations has no effect, and ld-relay omits it. */
function isEmptyRollout(value: unknown): boolean {
  const { variations } = value as { variations?: unknown };
  return Array.isArray(variations) && variations.length === 0;
}

export function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
