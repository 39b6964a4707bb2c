/** The configuration in force, as a file that could be read again once its secrets were filled in. */
import type { ParsedConfig } from './config.ts';
import type { Effective } from './gather.ts';
import { masked, obscured, originOf } from './places.ts';

/** One line for each setting: its value, secrets masked, and where it came from. */
export function describeConfig({ effective }: Pick<ParsedConfig, 'effective'>): string {
  const sections = new Map<string, string[]>();
  for (const entry of effective) {
    const { setting, name } = entry;
    // Defaults need not be written; switches that only variables have cannot be.
    const comment = entry.places.length === 0 || setting.option === undefined ? '; ' : '';
    const assignment = `${comment}${setting.option ?? setting.env}`;
    const heading = name === undefined ? `[${setting.section}]` : `[${setting.section} ${quoted(name)}]`;
    const origin = entry.places.length > 0 ? entry.places.map(originOf).join(', ') : 'default';
    const line = `${`${assignment} = ${shown(entry)}`.padEnd(56)} # ${origin}`;
    sections.set(heading, [...(sections.get(heading) ?? []), line]);
  }
  return `${[...sections].map(([heading, lines]) => [heading, ...lines].join('\n')).join('\n\n')}\n`;
}

function shown({ setting, text }: Effective): string {
  if (text === '') return '""';
  if (!setting.secret) return plain(masked(text));
  // What an address says beside its password is no secret.
  return plain(text.includes('://') ? masked(text) : obscured(text));
}

/** In quotes where the file needs them. */
function plain(text: string): string {
  return /^[^"\\#;\s]+$/.test(text) ? text : quoted(text);
}

function quoted(text: string): string {
  return `"${text.replace(/[\\"]/g, '\\$&').replaceAll('\n', '\\n').replaceAll('\t', '\\t')}"`;
}
