import { type Field, type Shape, shapes } from './schema.ts';

export type Fields = Record<string, unknown>;

/** The known fields of a flag, with defaults for those that are absent. Values of the wrong type are not changed. */
export function completeFlag(data: Fields): Fields {
  const flag = completeObject(data, shapes.flag);
  const availability = flag.clientSideAvailability as { usingEnvironmentId?: unknown } | undefined;
  // The older field mirrors the newer one, if present.
  if (availability !== undefined) flag.clientSide = availability.usingEnvironmentId;
  return flag;
}

/** The same as `completeFlag`, for a segment. */
export function completeSegment(data: Fields): Fields {
  return completeObject(data, shapes.segment);
}

function completeObject(data: Fields, fields: readonly Field[]): Fields {
  const known: [string, unknown][] = [];
  for (const { name, shape, fallback, omit } of fields) {
    const value = complete((Object.hasOwn(data, name) ? data[name] : undefined) ?? fallback, shape);
    if (value === undefined || value === omit || (name === 'rollout' && isEmptyRollout(value))) continue;
    known.push([name, value]);
  }
  return Object.fromEntries(known);
}

function complete(value: unknown, shape: Shape): unknown {
  if (shape.is === 'list' && Array.isArray(value)) return value.map((part) => complete(part, shape.of));
  return shape.is === 'object' && isFields(value) ? completeObject(value, shape.fields) : value;
}

/** A rollout without variations has no effect, and ld-relay omits it. */
function isEmptyRollout(value: unknown): boolean {
  const { variations } = value as { variations?: unknown };
  return Array.isArray(variations) && variations.length === 0;
}

export function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
