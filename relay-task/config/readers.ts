/**
 * How one setting's text is understood. A reader answers the value, or says what would do.
 * Syntax is ld-relay's (its Go configuration library): durations as Go writes them, booleans in six spellings.
 */
export type Reader<T> = (text: string) => { value: T } | { wanted: string };

export const text: Reader<string> = (value) => ({ value });

export const boolean: Reader<boolean> = (value) => {
  if (/^(true|1|yes)$/i.test(value)) return { value: true };
  if (/^(false|0|no)$/i.test(value)) return { value: false };
  return { wanted: 'true or false' };
};

/** A whole number within bounds, both included. */
export function integer(min: number, max: number): Reader<number> {
  return (value) => {
    const number = /^[+-]?\d{1,15}$/.test(value) ? Number(value) : Number.NaN;
    return number >= min && number <= max ? { value: number } : { wanted: `a whole number from ${min} to ${max}` };
  };
}

export function oneOf<const T extends string>(...words: readonly T[]): Reader<T> {
  return (value) => {
    const found = words.find((word) => word === value.toLowerCase());
    return found === undefined ? { wanted: `one of ${words.join(', ')}` } : { value: found };
  };
}

/** An absolute http or https address, without a trailing slash. */
export const httpUrl: Reader<string> = (value) => {
  const wanted = { wanted: 'an absolute address that begins with http:// or https://' };
  try {
    const { protocol } = new URL(value);
    return protocol === 'http:' || protocol === 'https:' ? { value: value.replace(/\/+$/, '') } : wanted;
  } catch {
    return wanted;
  }
};

const UNIT_MS: Record<string, number> = { ns: 1e-6, us: 1e-3, µs: 1e-3, ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** A duration as Go writes it (`1m30s`, `250ms`, `1.5h`, `0`), in milliseconds. */
export const durationMs: Reader<number> = (value) => {
  const wanted = { wanted: 'a duration with its unit, such as 30s, 1m30s or 250ms' };
  if (value === '0') return { value: 0 };
  const body = /^[+-]?((?:\d+\.?\d*|\.\d+)(?:ns|us|µs|ms|s|m|h))+$/.test(value)
    ? value.replace(/^[+-]/, '')
    : undefined;
  if (body === undefined) return wanted;
  let total = 0;
  for (const [, amount, unit] of body.matchAll(/(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)/g)) {
    total += Number(amount) * (UNIT_MS[unit ?? ''] ?? Number.NaN);
  }
  return { value: value.startsWith('-') ? -total : total };
};
