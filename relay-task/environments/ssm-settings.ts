/**
 * How the plain settings of an environment in SSM are read: by the readers of the environment variables, but for names. Variables
 * accept whatever ld-relay accepts as a prefix, a table or a project; parameters have no such past, so mistakes are refused.
 */
import { boolean, durationMs, filledList, list, logLevel, type Reader, text } from '../common/setting-values.ts';

const word: Reader<string> = (value) => (/^\S+$/.test(value) ? { value } : { wanted: 'one word without spaces' });

const tableName: Reader<string> = (value) =>
  /^[\w.-]{3,255}$/.test(value) ? { value } : { wanted: '3 to 255 characters from a-z A-Z 0-9 _ - .' };

export const settingReaders = {
  prefix: word,
  'table-name': tableName,
  'allowed-origins': list,
  'allowed-headers': list,
  'secure-mode': boolean,
  ttl: durationMs,
  filters: filledList,
  'project-key': word,
  'heartbeat-flag': word,
  'log-level': logLevel,
  'flags-file': text,
} as const;

type SettingName = keyof typeof settingReaders;

type SettingValue<Name extends SettingName> = (typeof settingReaders)[Name] extends Reader<infer T> ? T : never;

/** The value of a setting that was accepted before; undefined if there is none. */
export function settingOf<Name extends SettingName>(
  name: Name,
  parameters: { get(name: SettingName): { readonly text: string | undefined } | undefined },
): SettingValue<Name> | undefined {
  const text = parameters.get(name)?.text;
  if (text === undefined) return undefined;
  const result = (settingReaders[name] as Reader<SettingValue<Name>>)(text);
  return 'value' in result ? result.value : undefined;
}
