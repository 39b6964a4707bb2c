/** The configuration in force, as a file that could be read again once its secrets are filled in. */
import type { Effective } from './assemble.ts';
import { masked, obscured, originOf } from './places.ts';

/** One line for each setting: its value, with secrets masked, and where it came from. */
export function describeConfig(effective: readonly Effective[]): string {
  const sections = new Map<string, string[]>();
  for (const entry of effective) {
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
