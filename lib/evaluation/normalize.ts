import { type Field, type Shape, shapes } from './schema.ts';

type Fields = Record<string, unknown>;

/**
 * The complete form of a flag, as ld-relay writes it: all arrays present, fields in its order, then unknown fields.
 * Old SDKs rely on the arrays. Values of the wrong type are not changed; see `describeFlagProblem`.
 */
export function normalizeFlag(data: Fields): Fields {
  return completeFlag(data, true);
}

/** The same as `normalizeFlag`, for a segment. */
export function normalizeSegment(data: Fields): Fields {
  return completeObject(data, shapes.segment, true);
}

export function completeFlag(data: Fields, keepUnknown: boolean): Fields {
  const flag = completeObject(data, shapes.flag, keepUnknown);
  const availability = flag.clientSideAvailability as { usingEnvironmentId?: unknown } | undefined;
  // The older field mirrors the newer one, if present.
  if (availability !== undefined) flag.clientSide = availability.usingEnvironmentId;
  return flag;
}

export function completeObject(data: Fields, fields: readonly Field[], keepUnknown: boolean): Fields {
  const known: [string, unknown][] = [];
  for (const { name, shape, fallback, omit } of fields) {
    const source = Object.hasOwn(data, name) ? data[name] : undefined;
    const value =
      source === undefined || source === null
        ? complete(fallback, shape, keepUnknown)
        : complete(source, shape, keepUnknown);
    if (value === undefined || value === omit || (name === 'rollout' && isEmptyRollout(value))) continue;
    known.push([name, value]);
  }
  const names = new Set(fields.map(({ name }) => name));
  const unknown = keepUnknown ? Object.entries(data).filter(([name]) => !names.has(name)) : [];
  // fromEntries defines own properties, so a field named __proto__ works like any other.
  return Object.fromEntries([...known, ...unknown]);
}

function complete(value: unknown, shape: Shape, keepUnknown: boolean): unknown {
  if (shape.is === 'list' && Array.isArray(value)) return value.map((part) => complete(part, shape.of, keepUnknown));
  if (shape.is === 'object' && typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return completeObject(value as Fields, shape.fields, keepUnknown);
  }
  return value;
}

/** A rollout without variations has no effect, and ld-relay omits it. */
function isEmptyRollout(value: unknown): boolean {
  const { variations } = value as { variations?: unknown };
  return Array.isArray(variations) && variations.length === 0;
}
