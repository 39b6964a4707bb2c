/** How the plain settings of an environment in SSM are read: as those of the relay's own configuration are. */

/** A reader answers the value, or says what would do. */
export type Reader<T> = (text: string) => { readonly value: T } | { readonly wanted: string };

const word: Reader<string> = (text) => (/^\S+$/.test(text) ? { value: text } : { wanted: 'one word without spaces' });

const list: Reader<readonly string[]> = (text) => ({
  value: text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== ''),
});

const boolean: Reader<boolean> = (text) => {
  if (/^(true|1|yes)$/i.test(text)) return { value: true };
  if (/^(false|0|no)$/i.test(text)) return { value: false };
  return { wanted: 'true or false' };
};

const UNIT_MS: Record<string, number> = { ns: 1e-6, us: 1e-3, µs: 1e-3, ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** A duration as Go writes it (`1m30s`, `250ms`, `1.5h`, `0`), never negative, in milliseconds. */
export const durationMs: Reader<number> = (text) => {
  if (text === '0') return { value: 0 };
  if (!/^((\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h))+$/.test(text)) {
    return { wanted: 'a duration with its unit, such as 30s, 1m30s or 24h' };
  }
  let value = 0;
  for (const [, amount, unit] of text.matchAll(/(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)/g)) {
    value += Number(amount) * (UNIT_MS[unit ?? ''] ?? Number.NaN);
  }
  return { value };
};

const logLevels = ['debug', 'info', 'warn', 'error', 'none'] as const;
const logLevel: Reader<(typeof logLevels)[number]> = (text) => {
  const value = logLevels.find((level) => level === text.toLowerCase());
  return value === undefined ? { wanted: `one of ${logLevels.join(', ')}` } : { value };
};

const tableName: Reader<string> = (text) =>
  /^[\w.-]{3,255}$/.test(text) ? { value: text } : { wanted: '3 to 255 of a-z A-Z 0-9 _ - .' };

const path: Reader<string> = (text) => ({ value: text });

export const settingReaders = {
  prefix: word,
  'table-name': tableName,
  'allowed-origins': list,
  'allowed-headers': list,
  'secure-mode': boolean,
  ttl: durationMs,
  filters: list,
  'project-key': word,
  'log-level': logLevel,
  'flags-file': path,
} as const;

type SettingName = keyof typeof settingReaders;

export type SettingValue<Name extends SettingName> = (typeof settingReaders)[Name] extends Reader<infer T> ? T : never;

/** A setting that was accepted before; undefined: there is none. */
export function settingOf<Name extends SettingName>(
  name: Name,
  text: string | undefined,
): SettingValue<Name> | undefined {
  if (text === undefined) return undefined;
  const result = (settingReaders[name] as Reader<SettingValue<Name>>)(text);
  return 'value' in result ? result.value : undefined;
}
