/** Which setting a name means. Options of the file are case-insensitive, variables are not. */
import { editDistance, nearest } from '../common/edit-distance.ts';
import { type OldName, type Setting, settingsIn } from './setting.ts';
import {
  environmentSettings,
  filterSettings,
  type SettingWithoutEffect,
  settings,
  settingsWithoutEffect,
} from './settings.ts';

export type Located = {
  /** The environment or project in the name of a variable. */
  readonly name?: string;
  readonly old?: OldName;
} & (
  | { readonly table: 'relay' | 'environment' | 'filters'; readonly row: Setting<unknown> }
  | { readonly table: 'without-effect'; readonly row: SettingWithoutEffect }
);

const all: readonly Located[] = [
  ...settingsIn(settings).map((row) => ({ table: 'relay' as const, row })),
  ...settingsIn(environmentSettings).map((row) => ({ table: 'environment' as const, row })),
  ...settingsIn(filterSettings).map((row) => ({ table: 'filters' as const, row })),
  ...settingsWithoutEffect.map((row) => ({ table: 'without-effect' as const, row })),
];

/** By section and option, both in lower case. */
const options = new Map<string, Map<string, Located>>();
const sectionNames = new Map<string, string>();
const optionNames = new Map<string, string[]>();
const variables = new Map<string, Located>();
/** Variables that end in a name. The longest first, so that `LD_TTL_MINUTES_x` is not `LD_TTL_` of `MINUTES_x`. */
const families: { readonly prefix: string; readonly located: Located }[] = [];

for (const located of all) {
  const { section: ownSection, alsoIn = [], option, env: ownEnv, old: oldNames = [] } = located.row;
  for (const section of [ownSection, ...alsoIn]) {
    const known = options.get(section.toLowerCase()) ?? new Map<string, Located>();
    options.set(section.toLowerCase(), known);
    sectionNames.set(section.toLowerCase(), section);
    if (option !== undefined) {
      known.set(option.toLowerCase(), located);
      optionNames.set(section, [...(optionNames.get(section) ?? []), option]);
    }
    for (const old of oldNames) {
      if (old.option !== undefined) known.set(old.option.toLowerCase(), { ...located, old });
    }
  }
  const named = [{ env: ownEnv, located }, ...oldNames.map((old) => ({ env: old.env, located: { ...located, old } }))];
  for (const { env, located: found } of named) {
    if (env === undefined) continue;
    if (env.endsWith('_')) families.push({ prefix: env, located: found });
    else variables.set(env, found);
  }
}
families.sort((a, b) => b.prefix.length - a.prefix.length);

/** Undefined if no section of that name has such an option. */
export function locateOption(section: string, option: string): Located | undefined {
  return options.get(section.toLowerCase())?.get(option.toLowerCase());
}

/** Undefined if the variable is not a setting. */
export function locateVariable(variable: string): Located | undefined {
  const found = variables.get(variable);
  if (found) return found;
  const family = families.find(({ prefix }) => variable.startsWith(prefix) && variable.length > prefix.length);
  return family && { ...family.located, name: variable.slice(family.prefix.length) };
}

/** The message for an option that does not exist. */
export function suggestionFor(section: string, option: string): string {
  const known = sectionNames.get(section.toLowerCase());
  if (known === undefined) {
    const names = [...sectionNames.values()];
    const near = nearest(section, names);
    return `[${section}] is not a section: ${near ? `did you mean [${near}]?` : `expected one of ${names.join(', ')}`}`;
  }
  const names = optionNames.get(known) ?? [];
  const near = nearest(option, names);
  return `[${section}] ${option} is not an option: ${near ? `did you mean ${near}?` : `expected one of ${names.join(', ')}`}`;
}

/**
 * The setting that an unknown variable was probably meant to be: one or two letters differ, or only their case. Undefined for variables of
 * other programs, as far as names tell. `others`: names of more settings.
 */
export function similarVariable(variable: string, others: readonly string[] = []): string | undefined {
  const whole = closest(variable, [...variables.keys(), ...others]);
  if (whole !== undefined) return whole;
  for (const { prefix } of families) {
    const parts = prefix.split('_').length - 1;
    const head = `${variable.split('_').slice(0, parts).join('_')}_`;
    if (!isSimilar(head, prefix)) continue;
    return `${prefix}${variable.slice(head.length) || '<name>'}`;
  }
  return undefined;
}

function closest(variable: string, names: readonly string[]): string | undefined {
  const similar = names.filter((name) => isSimilar(variable, name));
  const distanceOf = (name: string) => editDistance(variable.toUpperCase(), name.toUpperCase());
  return similar.sort((a, b) => distanceOf(a) - distanceOf(b))[0];
}

/**
 * Compared word by word, since short names have too many neighbours: `REDIS_POOL` is not `REDIS_PORT`. In all, two edits, or two letters
 * that changed places; in a short word only one of these. An underscore that is missing or too many counts as the only edit.
 */
function isSimilar(variable: string, name: string): boolean {
  if (name.length < 6 || Math.abs(variable.length - name.length) > 2) return false;
  const [given, known] = [variable.toUpperCase(), name.toUpperCase()];
  const [words, wanted] = [given.split('_'), known.split('_')];
  if (words.length !== wanted.length) return words.join('') === wanted.join('');
  const isNear = words.every((word, index) => isWordSimilar(word, wanted[index] ?? ''));
  return isNear && editDistance(given, known) <= 2;
}

function isWordSimilar(word: string, wanted: string): boolean {
  const distance = editDistance(word, wanted);
  return distance <= (wanted.length > 4 ? 2 : 1) || (distance === 2 && sorted(word) === sorted(wanted));
}

function sorted(text: string): string {
  return [...text].sort().join('');
}
