/** Which setting a name means: options of the file without regard to case, variables exactly. */
import { nearest } from '../common/edit-distance.ts';
import type { OldName, Setting } from './setting.ts';
import { environmentSettings, filterSettings, settings, settingsWithoutEffect } from './settings.ts';

export type Located = {
  /** The environment or project in the name of a variable. */
  readonly name?: string;
  readonly old?: OldName;
} & (
  | { readonly table: 'relay' | 'environment' | 'filters'; readonly key: string }
  | { readonly table: 'without-effect'; readonly row: (typeof settingsWithoutEffect)[number] }
);

type Row = Pick<Setting<unknown>, 'section' | 'option' | 'env' | 'alsoIn' | 'old'>;

const all: readonly { readonly row: Row; readonly located: Located }[] = [
  ...rowsOf('relay', settings),
  ...rowsOf('environment', environmentSettings),
  ...rowsOf('filters', filterSettings),
  ...settingsWithoutEffect.map((row) => ({ row, located: { table: 'without-effect' as const, row } })),
];

function rowsOf(table: 'relay' | 'environment' | 'filters', rows: Record<string, Row>) {
  return Object.entries(rows).map(([key, row]) => ({ row, located: { table, key } }));
}

/** `section` in lower case → `option` in lower case → setting. */
const options = new Map<string, Map<string, Located>>();
const sectionNames = new Map<string, string>();
const optionNames = new Map<string, string[]>();
const variables = new Map<string, Located>();
/** Variables that carry a name behind them; the longest first, so that `LD_TTL_MINUTES_x` is not `LD_TTL_` of `MINUTES_x`. */
const families: { readonly prefix: string; readonly located: Located }[] = [];

for (const { row, located } of all) {
  for (const section of [row.section, ...(row.alsoIn ?? [])]) {
    const known = options.get(section.toLowerCase()) ?? new Map<string, Located>();
    options.set(section.toLowerCase(), known);
    sectionNames.set(section.toLowerCase(), section);
    if (row.option !== undefined) {
      known.set(row.option.toLowerCase(), located);
      optionNames.set(section, [...(optionNames.get(section) ?? []), row.option]);
    }
    for (const old of row.old ?? []) {
      if (old.option !== undefined) known.set(old.option.toLowerCase(), { ...located, old });
    }
  }
  const named = [
    { env: row.env, located },
    ...(row.old ?? []).map((old) => ({ env: old.env, located: { ...located, old } })),
  ];
  for (const { env, located: found } of named) {
    if (env === undefined) continue;
    if (env.endsWith('_')) families.push({ prefix: env, located: found });
    else variables.set(env, found);
  }
}
families.sort((a, b) => b.prefix.length - a.prefix.length);

/** Undefined: there is no such option in any section of that name. */
export function locateOption(section: string, option: string): Located | undefined {
  return options.get(section.toLowerCase())?.get(option.toLowerCase());
}

/** Undefined: the variable is not ours. */
export function locateVariable(variable: string): Located | undefined {
  const found = variables.get(variable);
  if (found) return found;
  const family = families.find(({ prefix }) => variable.startsWith(prefix) && variable.length > prefix.length);
  return family && { ...family.located, name: variable.slice(family.prefix.length) };
}

/** What to say of an option that does not exist. */
export function suggestionFor(section: string, option: string): string {
  const known = sectionNames.get(section.toLowerCase());
  if (known === undefined) {
    const names = [...sectionNames.values()];
    const near = nearest(section, names);
    return `[${section}] is not a section: ${near ? `did you mean [${near}]?` : `there are ${names.join(', ')}`}`;
  }
  const names = optionNames.get(known) ?? [];
  const near = nearest(option, names);
  return `[${section}] ${option} is not an option: ${near ? `did you mean ${near}?` : `there are ${names.join(', ')}`}`;
}
