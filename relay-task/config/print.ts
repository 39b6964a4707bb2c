/** The configuration in force, as a file that could be read again once its secrets are filled in. */
import { counted } from '../common/counted.ts';
import type { Config, Effective } from './assemble.ts';
import { storesIn } from './assemble-stores.ts';
import { masked, obscured, originOf } from './places.ts';
import { settings } from './settings.ts';

interface DescribeOptions {
  /** Whether to list settings that have their default, too. @default true */
  readonly defaults?: boolean;
}

/** One line for each setting: its value, with secrets masked, and where it came from. */
export function describeConfig(
  effective: readonly Effective[],
  { defaults: withDefaults = true }: DescribeOptions = {},
): string {
  const sections = new Map<string, string[]>();
  for (const entry of effective) {
    if (!withDefaults && entry.places.length === 0) continue;
    const { setting, name } = entry;
    // Defaults need not be set, and settings that are variables only cannot be set here.
    const comment = entry.places.length === 0 || setting.option === undefined ? '; ' : '';
    const assignment = `${comment}${setting.option ?? setting.env}`;
    const heading = name === undefined ? `[${setting.section}]` : `[${setting.section} ${quoted(name)}]`;
    const origin = entry.places.length > 0 ? entry.places.map(originOf).join(', ') : 'default';
    const line = `${`${assignment} = ${shown(entry)}`.padEnd(56)} # ${origin}`;
    sections.set(heading, [...(sections.get(heading) ?? []), line]);
  }
  return `${[...sections].map(([heading, lines]) => [heading, ...lines].join('\n')).join('\n\n')}\n`;
}

/** The last line of a check that found no problem: a comment, so that the whole is still a valid file. */
export function describeVerdict(config: Config, effective: readonly Effective[], warnings: readonly string[]): string {
  const isGiven = (row: unknown) => effective.some(({ setting, places }) => setting === row && places.length > 0);
  const source = [settings.autoConfig.key, settings.offline.path, settings.ssm.path].find(isGiven);
  const names = config.environments.map(({ name }) => name);
  const environments =
    source === undefined
      ? `${counted(names.length, 'environment')} (${some(names)})`
      : `environments from ${source.env}`;
  const stores = [...new Set(storesIn(config).map(({ key }) => key))];
  const parts = [
    environments,
    stores.length === 0 ? 'no store' : `${stores.length === 1 ? 'store' : 'stores'} ${stores.join(', ')}`,
    warnings.length === 0 ? 'no warnings' : counted(warnings.length, 'warning'),
  ];
  return `# OK: ${parts.join('; ')}\n`;
}

const MOST_NAMES = 5;

function some(names: readonly string[]): string {
  const shown = names.slice(0, MOST_NAMES).join(', ');
  return names.length > MOST_NAMES ? `${shown} and ${names.length - MOST_NAMES} more` : shown;
}

function shown({ setting, text }: Effective): string {
  if (text === '') return '""';
  if (!setting.secret) return plain(masked(text));
  // Only the user and password of a URL are secret.
  return plain(text.includes('://') ? masked(text) : obscured(text));
}

/** Quoted if the file needs it. */
function plain(text: string): string {
  return /^[^"\\#;\s]+$/.test(text) ? text : quoted(text);
}

function quoted(text: string): string {
  return `"${text.replace(/[\\"]/g, '\\$&').replaceAll('\n', '\\n').replaceAll('\t', '\\t')}"`;
}
