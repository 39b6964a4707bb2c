/** Everything that was given, found under the setting that it belongs to: the file first, the variables over it. */
import type { Variables } from './config.ts';
import type { FileOption, ParsedFile } from './config-file.ts';
import { type Located, locateOption, locateVariable, suggestionFor } from './names.ts';
import { nameOf, type Place } from './places.ts';
import type { OldName, Setting } from './setting.ts';
import { linkerVariables, type settingsWithoutEffect } from './settings.ts';

/** One text that was given for a setting. */
export interface Piece {
  readonly text: string;
  readonly place: Place;
  /** An option without `=`: only a switch may stand like that. */
  readonly bare?: boolean;
  /** It was given under this older name. */
  readonly old?: OldName;
}

/** Pieces by the name that the setting has in its table; never empty. */
export type Pieces = ReadonlyMap<string, readonly Piece[]>;

/** A setting with the value in force. */
export interface Effective {
  readonly setting: Setting<unknown>;
  /** The environment or project, of settings that exist once for each. */
  readonly name?: string;
  readonly text: string;
  /** Undefined: the default. */
  readonly places: readonly Place[];
}

export interface Gathered {
  readonly relay: Pieces;
  readonly environments: ReadonlyMap<string, Pieces>;
  readonly filters: ReadonlyMap<string, Pieces>;
  readonly withoutEffect: ReadonlyMap<(typeof settingsWithoutEffect)[number], readonly Piece[]>;
}

export function gather(
  variables: Variables,
  file: ParsedFile | undefined,
  problems: string[],
  warnings: string[],
): Gathered {
  const relay = new Map<string, Piece[]>();
  const environments = new Map<string, Map<string, Piece[]>>();
  const filters = new Map<string, Map<string, Piece[]>>();
  const withoutEffect = new Map<(typeof settingsWithoutEffect)[number], Piece[]>();

  const put = (located: Located, name: string | undefined, piece: Piece) => {
    if (located.table === 'without-effect') return append(withoutEffect, located.row, piece);
    const byName = located.table === 'environment' ? environments : filters;
    append(located.table === 'relay' ? relay : of(byName, name ?? ''), located.key, piece);
  };

  if (file) readFile(file);
  const inFile = new Set(environments.keys());
  readVariables();
  return { relay, environments, filters, withoutEffect };

  function readFile({ path, sections, options }: ParsedFile): void {
    for (const { section, name, line } of sections) {
      const family = section.toLowerCase();
      // A section alone defines its environment, so that its lack of a key is noticed.
      if (name && family === 'environment') of(environments, name);
      if (name && family === 'filters') of(filters, name);
      const named = isNamed(section);
      if (named && !name) problems.push(`${path}:${line}: [${section}] needs a name: write [${section} "name"]`);
      if (!named && name !== undefined) {
        problems.push(`${path}:${line}: [${section}] takes no name: remove the part in quotation marks`);
      }
    }
    for (const given of options) readOption(path, given);
  }

  function readOption(path: string, { section, name, option, value, line }: FileOption): void {
    const located = locateOption(section, option);
    if (located === undefined) {
      problems.push(`${path}:${line}: ${suggestionFor(section, option)}`);
      return;
    }
    // That it has no name has been said of its section.
    if (isNamed(section) && !name) return;
    const shownSection = name === undefined ? section : `${section} "${name}"`;
    const place = { file: path, line, section: shownSection, option };
    put(located, name, {
      text: value ?? 'true',
      place,
      ...(value === undefined && { bare: true }),
      ...(located.old && { old: located.old }),
    });
  }

  function readVariables(): void {
    const given = Object.entries(variables).flatMap(([variable, value]) => {
      const located = locateVariable(variable);
      return value === undefined ? [] : [{ variable, text: value.trim(), located }];
    });
    const defined = new Set<string>();
    for (const { located, text } of given) {
      if (located?.table !== 'environment') continue;
      const { name = '', key } = located;
      // An empty LD_ENV_ completes nothing where the file has the key, and elsewhere shows that the key is missing.
      if (key === 'sdkKey' && !located.old && (text !== '' || !inFile.has(name))) defined.add(name);
      if (key === 'flagsFile' && text !== '') defined.add(name);
    }
    for (const name of defined) of(environments, name);
    for (const { variable, text, located } of given) {
      if (text === '') continue;
      if (located === undefined) {
        if (variable.startsWith('LD_') && !linkerVariables.test(variable)) {
          warnings.push(`${variable} has no effect: there is no such setting`);
        }
      } else if (located.table === 'environment' && !defined.has(located.name ?? '')) {
        warnings.push(`${variable} has no effect: ${missingDefinition(located.name ?? '')}`);
      } else {
        put(located, located.name, { text, place: { variable }, ...(located.old && { old: located.old }) });
      }
    }
  }

  function missingDefinition(name: string): string {
    if (!inFile.has(name)) return `there is no LD_ENV_${name}`;
    return `environment ${name} stands in ${file?.path} alone; write it there, or set LD_ENV_${name} too`;
  }
}

/** Whether there is one such section for each environment or project. */
function isNamed(section: string): boolean {
  return /^(environment|filters)$/i.test(section);
}

/** The last piece that was given, as text; for switches that decide what else counts. */
export function lastOf(pieces: Pieces, key: string): Piece | undefined {
  return pieces.get(key)?.at(-1);
}

/** The names of the places where these settings were given. */
export function placesOf(pieces: Pieces, ...keys: readonly string[]): string[] {
  return keys.flatMap((key) => (pieces.get(key) ?? []).map(({ place }) => nameOf(place)));
}

function append<K>(map: Map<K, Piece[]>, key: K, piece: Piece): void {
  const list = map.get(key);
  if (list) list.push(piece);
  else map.set(key, [piece]);
}

function of(map: Map<string, Map<string, Piece[]>>, name: string): Map<string, Piece[]> {
  const found = map.get(name) ?? new Map<string, Piece[]>();
  map.set(name, found);
  return found;
}
