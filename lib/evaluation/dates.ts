const RFC_3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[-+]\d\d(:\d\d)?)/;

/** Unix ms of a number (as it is) or of RFC 3339 text; undefined or NaN for everything else. */
export function parseDate(value: unknown): number | undefined {
  if (typeof value === 'number') return value;
  return typeof value === 'string' && RFC_3339.test(value) ? Date.parse(value) : undefined;
}
