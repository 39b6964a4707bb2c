import type { Reader } from '../common/setting-values.ts';

/** A name from earlier versions of ld-relay: still read, with one line of advice. */
export interface OldName {
  /** In the same section of the file. */
  readonly option?: string;
  readonly env?: string;
  /** What a number without a unit meant under this name, in milliseconds. */
  readonly bareMs?: number;
}

/** Where a setting is given and how its text is read. */
export interface SettingSource<T> {
  /** Of the configuration file. */
  readonly section: string;
  /** Its name in that section; undefined if only the variable exists. */
  readonly option: string | undefined;
  /**
   * The variable. If it ends in `_`, the name of the environment or project follows; for a setting of the relay as a whole, the first
   * part of its text, up to a colon.
   */
  readonly env: string;
  readonly read: Reader<T>;
  /** Never printed. */
  readonly secret?: boolean;
  /** Comma-separated; the items of the variable are added to those of the file. */
  readonly many?: boolean;
  /** Other sections that have the same setting. */
  readonly alsoIn?: readonly string[];
  /** What a number without a unit means, in milliseconds: earlier versions of ld-relay documented it. */
  readonly bareMs?: number;
  readonly old?: readonly OldName[];
}

export interface Setting<T> extends SettingSource<T> {
  /** The text that is read if the setting is absent or empty; undefined if the setting then has no value. */
  readonly fallback: string | undefined;
  /** What it is for, as the documentation shows it. */
  readonly says: string;
}

/** Settings by the name of their value in `Config`; a nested table becomes a nested object. */
export interface SettingTable {
  readonly [name: string]: Setting<unknown> | SettingTable;
}

/** The values that a table describes. */
export type Values<Table> = {
  readonly [Name in keyof Table]: Table[Name] extends Setting<infer T>
    ? Table[Name]['fallback'] extends string
      ? T
      : T | undefined
    : Values<Table[Name]>;
};

/** Reads every setting of a table. */
export function valuesOf<Table extends SettingTable>(
  table: Table,
  read: (setting: Setting<unknown>) => unknown,
): Values<Table> {
  const values = Object.entries(table).map(([name, row]) => [name, isSetting(row) ? read(row) : valuesOf(row, read)]);
  return Object.fromEntries(values) as Values<Table>;
}

/** The rows of a table and of the tables in it, in order. */
export function settingsIn(table: SettingTable): Setting<unknown>[] {
  return Object.values(table).flatMap((row) => (isSetting(row) ? [row] : settingsIn(row)));
}

function isSetting(row: Setting<unknown> | SettingTable): row is Setting<unknown> {
  return typeof row.read === 'function';
}

type More = Pick<SettingSource<unknown>, 'secret' | 'many' | 'alsoIn' | 'bareMs' | 'old'>;

/** Two ways to write a row of a section: with a default, and without. */
export function inSection(section: string) {
  return {
    setting: <T>(
      option: string | undefined,
      env: string,
      read: Reader<T>,
      fallback: string,
      says: string,
      more: More = {},
    ): Setting<T> & { fallback: string } => ({ section, option, env, read, fallback, says, ...more }),
    optional: <T>(
      option: string | undefined,
      env: string,
      read: Reader<T>,
      says: string,
      more: More = {},
    ): Setting<T> & { fallback: undefined } => ({ section, option, env, read, fallback: undefined, says, ...more }),
  };
}
