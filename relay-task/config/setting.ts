import type { Reader } from '../common/setting-values.ts';

/** A name that a setting had in earlier versions of ld-relay: understood, and answered with one line of advice. */
export interface OldName {
  /** As it stood in the same section of the file. */
  readonly option?: string;
  readonly env?: string;
  /** What a number without a unit meant under this name, in milliseconds. */
  readonly bareMs?: number;
}

/** One setting: where it stands, how its text is read, what holds without it, and what it is for. */
export interface Setting<T> {
  /** Of the configuration file. */
  readonly section: string;
  /** Its name in that section; undefined: only the variable exists. */
  readonly option: string | undefined;
  /** The variable, or for what exists more than once the part in front of the name. */
  readonly env: string;
  readonly read: Reader<T>;
  /** The text that is read when the setting is absent or empty; undefined: the setting then has no value. */
  readonly fallback: string | undefined;
  readonly says: string;
  /** Never printed. */
  readonly secret?: boolean;
  /** Comma-separated; what the variable holds is added to what the file holds. */
  readonly many?: boolean;
  /** The same setting stands in these sections too. */
  readonly alsoIn?: readonly string[];
  /** What a number without a unit means, in milliseconds: earlier versions of ld-relay documented it. */
  readonly bareMs?: number;
  readonly old?: readonly OldName[];
}

type More = Pick<Setting<unknown>, 'secret' | 'many' | 'alsoIn' | 'bareMs' | 'old'>;

/** Two ways to make a row of a section: with a default, and without a value unless it is set. */
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
