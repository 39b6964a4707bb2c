const RFC_3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[-+]\d\d(:\d\d)?)/;

/** Unix ms from a number (unchanged) or an RFC 3339 string; undefined or NaN for anything else. */
export function parseDate(value: unknown): number | undefined {
  if (typeof value === 'number') return value;
  return typeof value === 'string' && RFC_3339.test(value) ? Date.parse(value) : undefined;
}
