/** Sorts everything that was given by the setting it belongs to: first the file, then the variables. */

import type { Findings } from '../common/findings.ts';
import { boolean } from '../common/setting-values.ts';
import type { FileOption, ParsedFile } from './config-file.ts';
import { type Located, locateOption, locateVariable, similarVariable, suggestionFor } from './names.ts';
import { nameOf, type Place } from './places.ts';
import type { OldName, Setting } from './setting.ts';
import { datadogVariables, environmentSettings, linkerVariables, type SettingWithoutEffect } from './settings.ts';

export type Variables = Readonly<Record<string, string | undefined>>;

/** One text that was given for a setting. */
export interface Piece {
  readonly text: string;
  readonly place: Place;
  /** An option without `=`, which only a switch may be. */
  readonly bare?: boolean;
  /** The older name under which it was given. */
  readonly old?: OldName;
}

/** Never empty lists. */
export type Pieces = ReadonlyMap<Setting<unknown>, readonly Piece[]>;

export interface Gathered {
  readonly relay: Pieces;
  readonly environments: ReadonlyMap<string, Pieces>;
  readonly filters: ReadonlyMap<string, Pieces>;
  readonly withoutEffect: ReadonlyMap<SettingWithoutEffect, readonly Piece[]>;
}

type GrowingPieces = Map<Setting<unknown>, Piece[]>;

export function gather(variables: Variables, file: ParsedFile | undefined, findings: Findings): Gathered {
  const relay: GrowingPieces = new Map();
  const environments = new Map<string, GrowingPieces>();
  const filters = new Map<string, GrowingPieces>();
  const withoutEffect = new Map<SettingWithoutEffect, Piece[]>();

  const put = (located: Located, name: string | undefined, piece: Piece) => {
    if (located.table === 'without-effect') return append(withoutEffect, located.row, piece);
    if (located.table === 'relay') return append(relay, located.row, piece);
    append(of(located.table === 'environment' ? environments : filters, name ?? ''), located.row, piece);
  };

  if (file) readFile(file);
  const inFile = new Set(environments.keys());
  readVariables();
  return { relay, environments, filters, withoutEffect };

  function readFile({ path, sections, options }: ParsedFile): void {
    for (const { section, name, line } of sections) {
      const family = section.toLowerCase();
      // An empty section defines its environment too, so that the missing key is reported.
      if (name && family === 'environment') of(environments, name);
      if (name && family === 'filters') of(filters, name);
      const named = isNamed(section);
      if (named && !name) findings.problem(`${path}:${line}: [${section}] needs a name: write [${section} "name"]`);
      if (!named && name !== undefined) {
        findings.problem(`${path}:${line}: [${section}] takes no name: remove the quoted part`);
      }
    }
    for (const given of options) readOption(path, given);
  }

  function readOption(path: string, { section, name, option, value, line }: FileOption): void {
    const located = locateOption(section, option);
    if (located === undefined) {
      findings.problem(`${path}:${line}: ${suggestionFor(section, option)}`);
      return;
    }
    // The missing name is already reported for the section.
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
      const { name = '', row } = located;
      // An empty LD_ENV_ is ignored if the file has the environment; otherwise the missing key is reported.
      if (row === environmentSettings.sdkKey && !located.old && (text !== '' || !inFile.has(name))) defined.add(name);
      if (row === environmentSettings.flagsFile && text !== '') defined.add(name);
    }
    for (const name of defined) of(environments, name);
    for (const { variable, text, located } of given) {
      if (text === '') continue;
      if (located === undefined) {
        warnUnknown(variable);
      } else if (located.table === 'environment' && !defined.has(located.name ?? '')) {
        findings.warning(`${variable} has no effect: ${missingDefinition(located.name ?? '')}`);
      } else {
        const isPart = located.table === 'relay' && located.name !== undefined;
        const whole = isPart ? `${located.name}:${text}` : text;
        put(located, located.name, { text: whole, place: { variable }, ...(located.old && { old: located.old }) });
      }
    }
  }

  /** Variables of other programs are none of our business, unless they look like ours and ours is not set. */
  function warnUnknown(variable: string): void {
    if (linkerVariables.test(variable) || datadogVariables.test(variable)) return;
    const isOurs = variable.startsWith('LD_');
    const similar = similarVariable(variable);
    const isMeant = similar !== undefined && (isOurs || !variables[similar]?.trim());
    if (!isOurs && !isMeant) return;
    findings.warning(`${variable} has no effect: no such setting${isMeant ? `; did you mean ${similar}?` : ''}`);
  }

  function missingDefinition(name: string): string {
    if (!inFile.has(name)) return `LD_ENV_${name} is not set`;
    return `environment ${name} is defined only in ${file?.path}; set it there, or set LD_ENV_${name} too`;
  }
}

/** Whether there is such a section for each environment or project. */
function isNamed(section: string): boolean {
  return /^(environment|filters)$/i.test(section);
}

/** The last piece that was given: the one in force. */
export function lastOf(pieces: Pieces, setting: Setting<unknown>): Piece | undefined {
  return pieces.get(setting)?.at(-1);
}

/** Undefined if the switch is not given, or not as a valid boolean. */
export function switchOf(pieces: Pieces, setting: Setting<boolean>): boolean | undefined {
  const result = boolean(lastOf(pieces, setting)?.text ?? '');
  return 'value' in result ? result.value : undefined;
}

/** The names of the places where these settings were given. */
export function placesOf(pieces: Pieces, ...settings: readonly Setting<unknown>[]): string[] {
  return settings.flatMap((setting) => (pieces.get(setting) ?? []).map(({ place }) => nameOf(place)));
}

function append<K>(map: Map<K, Piece[]>, key: K, piece: Piece): void {
  const list = map.get(key);
  if (list) list.push(piece);
  else map.set(key, [piece]);
}

function of(map: Map<string, GrowingPieces>, name: string): GrowingPieces {
  const found: GrowingPieces = map.get(name) ?? new Map();
  map.set(name, found);
  return found;
}
