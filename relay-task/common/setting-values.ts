/**
 * How the text of a setting is read, from wherever it comes. The syntax is that of ld-relay and its Go configuration
 * library: durations as Go writes them, sizes in powers of two.
 */

/** Returns the value, or a description of valid values that completes "expected …". */
export type Reader<T> = (text: string) => { readonly value: T } | { readonly wanted: string };

export const text: Reader<string> = (value) => ({ value });

/** ld-relay accepts `true`, `yes` and `1` in variables, and `on` too in its file. */
export const boolean: Reader<boolean> = (value) => {
  if (/^(true|1|yes|on)$/i.test(value)) return { value: true };
  if (/^(false|0|no|off)$/i.test(value)) return { value: false };
  return { wanted: 'true or false' };
};

/** An integer from `min` to `max`, both included. */
export function integer(min: number, max: number): Reader<number> {
  return (value) => {
    const number = /^[+-]?\d{1,15}$/.test(value) ? Number(value) : Number.NaN;
    return number >= min && number <= max ? { value: number } : { wanted: `an integer from ${min} to ${max}` };
  };
}

export function oneOf<const T extends string>(...words: readonly T[]): Reader<T> {
  return (value) => {
    const found = words.find((word) => word === value.toLowerCase());
    return found === undefined ? { wanted: `one of ${words.join(', ')}` } : { value: found };
  };
}

/** An absolute http or https URL; trailing slashes are removed. */
export const httpUrl: Reader<string> = (value) => {
  const wanted = { wanted: 'an absolute URL that starts with http:// or https://' };
  try {
    const { protocol, host } = new URL(value);
    const absolute = (protocol === 'http:' || protocol === 'https:') && host !== '' && value.includes('://');
    return absolute ? { value: value.replace(/\/+$/, '') } : wanted;
  } catch {
    return wanted;
  }
};

/** Comma-separated items, trimmed; empty items are dropped. */
export const list: Reader<readonly string[]> = (value) => ({ value: itemsOf(value).filter((item) => item !== '') });

/** Comma-separated items, trimmed; an empty item is most likely a mistake, so it is refused. No text means no items. */
export const filledList: Reader<readonly string[]> = (value) => {
  const items = value === '' ? [] : itemsOf(value);
  return items.includes('') ? { wanted: 'comma-separated keys, none of them empty' } : { value: items };
};

function itemsOf(value: string): string[] {
  return value.split(',').map((item) => item.trim());
}

interface HostAndPort {
  readonly host: string;
  readonly port: number;
}

/** `host:port` or `[::1]:port`; the port is optional if there is a default. */
export function hostAndPort(defaultPort?: number): Reader<HostAndPort> {
  const wanted = { wanted: defaultPort === undefined ? 'a host and port, such as redis-1:26379' : 'host or host:port' };
  return (value) => {
    const [, ipv6, name, digits] = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:/@[\]]+))(?::(\d{1,5}))?$/.exec(value) ?? [];
    const host = ipv6 ?? name;
    const port = digits === undefined ? defaultPort : Number(digits);
    if (host === undefined || port === undefined || port < 1 || port > 65_535) return wanted;
    return { value: { host, port } };
  };
}

/** Comma-separated `host:port` items. */
export function hostsAndPorts(defaultPort?: number): Reader<readonly HostAndPort[]> {
  const one = hostAndPort(defaultPort);
  return (value) => {
    const results = itemsOf(value)
      .filter((item) => item !== '')
      .map(one);
    const found = results.flatMap((result) => ('value' in result ? [result.value] : []));
    if (found.length > 0 && found.length === results.length) return { value: found };
    return { wanted: 'comma-separated hosts with ports, such as redis-1:26379,redis-2:26379' };
  };
}

/** Both ways to write micro: U+00B5 and U+03BC. */
const UNIT_MS: Record<string, number> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  μs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};
const AMOUNT = /(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)/g;
const DURATION = /^[+-]?((?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+$/;

/** A duration as Go writes it (`1m30s`, `250ms`, `1.5h`, `0`), in milliseconds. */
export const durationMs: Reader<number> = (value) => {
  if (/^[+-]?0$/.test(value)) return { value: 0 };
  if (!DURATION.test(value)) return { wanted: 'a duration with a unit, such as 30s, 1m30s or 250ms' };
  let total = 0;
  for (const [, amount, unit] of value.matchAll(AMOUNT)) total += Number(amount) * (UNIT_MS[unit ?? ''] ?? Number.NaN);
  return { value: value.startsWith('-') ? -total : total };
};

/** A duration of which 0 means none, and so does less. */
export const durationOrNone: Reader<number> = (value) => {
  const result = durationMs(value);
  return 'value' in result ? { value: Math.max(0, result.value) } : result;
};

/** A duration of at least `minMs`, in milliseconds; `shown` is that minimum as a user would write it. */
export function durationFrom(minMs: number, shown: string, maxMs = Infinity, shownMax = ''): Reader<number> {
  return (value) => {
    const result = durationMs(value);
    if ('value' in result && result.value < minMs) return { wanted: `a duration of at least ${shown}` };
    if ('value' in result && result.value > maxMs) return { wanted: `a duration of at most ${shownMax}` };
    return result;
  };
}

const UNIT_BYTES: Record<string, number> = Object.fromEntries(
  ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'].map((unit, power) => [unit.toLowerCase(), 1024 ** power]),
);

/** A size in powers of two (`5MiB`, `1.5KiB`, `512KB` meaning the same as `512KiB`, `0B`), in bytes. */
export const bytes: Reader<number> = (value) => {
  const wanted = { wanted: 'a size with a unit, such as 5MiB, 512KiB or 0B' };
  if (value === '0') return { value: 0 };
  if (!/^(?:(?:\d+\.?\d*|\.\d+)(?:[KMGTPE]i?)?B)+$/i.test(value)) return wanted;
  let total = 0;
  for (const [, amount, unit] of value.matchAll(/(\d+\.?\d*|\.\d+)((?:[KMGTPE]i?)?B)/gi)) {
    total += Number(amount) * (UNIT_BYTES[(unit ?? '').toLowerCase().replace(/^([kmgtpe])b$/, '$1ib')] ?? Number.NaN);
  }
  return Number.isSafeInteger(Math.round(total)) ? { value: Math.round(total) } : wanted;
};

/** A size of at least `min` bytes, or 0, which means the default; `shown` is that minimum as a user would write it. */
export function bytesFrom(min: number, shown: string): Reader<number> {
  return (value) => {
    const result = bytes(value);
    const tooSmall = 'value' in result && result.value > 0 && result.value < min;
    return tooSmall ? { wanted: `a size of at least ${shown}, or 0B for the default` } : result;
  };
}

export const logLevel = oneOf('debug', 'info', 'warn', 'error', 'none');
