/** The texts given for the settings of one table, into values. */

import { boolean } from '../common/setting-values.ts';
import type { Effective, Piece, Pieces } from './gather.ts';
import { assignmentAt, masked, nameOf } from './places.ts';
import type { Setting } from './setting.ts';

export type Values<Table extends Record<string, Setting<unknown>>> = {
  readonly [Name in keyof Table]: Table[Name] extends Setting<infer T>
    ? Table[Name]['fallback'] extends string
      ? T
      : T | undefined
    : never;
};

/** What is said while reading. */
export interface Findings {
  readonly problems: string[];
  readonly warnings: string[];
  readonly effective: Effective[];
}

/** Reads a whole table. What could not be understood is a problem, and undefined here. */
export function readSettings<Table extends Record<string, Setting<unknown>>>(
  table: Table,
  pieces: Pieces,
  findings: Findings,
  name?: string,
): Values<Table> {
  const values = Object.entries(table).map(([key, setting]) => {
    const given = (pieces.get(key) ?? []).flatMap((piece) => understood(setting, piece, findings));
    return [key, setting.many ? readMany(setting, given) : readLast(setting, given)];

    function readMany(setting: Setting<unknown>, given: readonly Piece[]): unknown {
      const filled = given.filter(({ text }) => text !== '');
      if (filled.length === 0) return readLast(setting, []);
      const items = filled.flatMap((piece) => (readPiece(setting, piece, findings) as readonly unknown[]) ?? []);
      const places = filled.map(({ place }) => place);
      findings.effective.push({ setting, ...(name !== undefined && { name }), text: items.join(','), places });
      return items;
    }

    function readLast(setting: Setting<unknown>, given: readonly Piece[]): unknown {
      const last = given.at(-1);
      const piece = last?.text ? last : undefined;
      const text = piece?.text ?? setting.fallback;
      const places = piece ? [piece.place] : [];
      if (text !== undefined) {
        findings.effective.push({ setting, ...(name !== undefined && { name }), text, places });
      }
      if (piece) return readPiece(setting, piece, findings);
      if (text === undefined) return undefined;
      const result = setting.read(text);
      if (!('value' in result)) throw new Error(`the default of ${setting.env} is not understood`);
      return result.value;
    }
  });
  // The mapped type is what makes this cast true: each name is filled from its own row.
  return Object.fromEntries(values) as unknown as Values<Table>;
}

/** Reads one text; what cannot be understood becomes a problem. */
export function readPiece(
  setting: Pick<Setting<unknown>, 'read' | 'secret'>,
  { text, place }: Piece,
  findings: Pick<Findings, 'problems'>,
): unknown {
  const result = setting.read(text);
  if ('value' in result) return result.value;
  const shown = assignmentAt(place, masked(text, setting.secret));
  findings.problems.push(`${shown} is invalid: expected ${result.wanted}`);
  return undefined;
}

const PLAIN_NUMBER = /^-?\d{1,12}$/;

/** What was given under an old name or in an old form, as it would be given today, with one line of advice. */
export function understood(
  setting: Pick<Setting<unknown>, 'option' | 'env' | 'read' | 'bareMs'>,
  piece: Piece,
  { problems, warnings }: Pick<Findings, 'problems' | 'warnings'>,
): Piece[] {
  const { place, old, bare } = piece;
  if (bare && setting.read !== boolean) {
    problems.push(`${nameOf(place)} has no value: write ${setting.option} = and the value behind it`);
    return [];
  }
  const unitMs = old?.bareMs ?? setting.bareMs;
  const unitless = unitMs !== undefined && PLAIN_NUMBER.test(piece.text) && Number(piece.text) !== 0;
  const text = unitless ? durationOf(Number(piece.text) * unitMs) : piece.text;
  if (old) {
    const isVariable = 'variable' in place;
    const suffix = isVariable && old.env?.endsWith('_') ? place.variable.slice(old.env.length) : '';
    const today = isVariable ? `${setting.env}${suffix}` : setting.option;
    const value = unitless ? `${isVariable ? '=' : ' = '}${text}` : '';
    warnings.push(`${nameOf(place)} is an old name: write ${today}${value}`);
  } else if (unitless) {
    const unit = unitMs === 1 ? 'milliseconds' : 'seconds';
    warnings.push(`${assignmentAt(place, piece.text)} has no unit and is taken for ${unit}: write ${text}`);
  }
  return [{ ...piece, text }];
}

/** As people would write it. */
function durationOf(ms: number): string {
  if (ms % 60_000 === 0) return `${ms / 60_000}m`;
  return ms % 1000 === 0 ? `${ms / 1000}s` : `${ms}ms`;
}
