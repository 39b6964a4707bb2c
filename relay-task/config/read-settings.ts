/** From the texts given for a setting to its value. */

import type { Findings } from '../common/findings.ts';
import { boolean } from '../common/setting-values.ts';
import type { Piece } from './gather.ts';
import { assignmentAt, masked, nameOf, type Place } from './places.ts';
import type { Setting, SettingSource } from './setting.ts';

interface Reading {
  /** Undefined if there is none, or if it is invalid, which is then a problem. */
  readonly value: unknown;
  /** The text in force; undefined if there is none. */
  readonly text: string | undefined;
  /** Where the text was given; empty for the default. */
  readonly places: readonly Place[];
}

export function readSetting(setting: Setting<unknown>, pieces: readonly Piece[], findings: Findings): Reading {
  const given = pieces.flatMap((piece) => understood(setting, piece, findings));
  const filled = given.filter(({ text }) => text !== '');
  if (setting.many && filled.length > 0) {
    const items = filled.flatMap((piece) => (readPiece(setting, piece, findings) as readonly unknown[]) ?? []);
    return { value: items, text: items.join(','), places: filled.map(({ place }) => place) };
  }
  const last = given.at(-1);
  if (last?.text) return { value: readPiece(setting, last, findings), text: last.text, places: [last.place] };
  return { value: defaultOf(setting), text: setting.fallback, places: [] };
}

function defaultOf({ fallback, read, env }: Setting<unknown>): unknown {
  if (fallback === undefined) return undefined;
  const result = read(fallback);
  if (!('value' in result)) throw new Error(`the default of ${env} is invalid: expected ${result.wanted}`);
  return result.value;
}

/** Reads one text; an invalid one is a problem. */
export function readPiece(
  setting: Pick<SettingSource<unknown>, 'read' | 'secret'>,
  { text, place }: Piece,
  findings: Findings,
): unknown {
  const result = setting.read(text);
  if ('value' in result) return result.value;
  const shown = assignmentAt(place, masked(text, setting.secret));
  findings.problem(`${shown} is invalid: expected ${result.wanted}`);
  return undefined;
}

const PLAIN_NUMBER = /^-?\d{1,12}$/;

/** Translates an old name or form into today's, with one line of advice. Empty if the piece cannot be used. */
export function understood(setting: SettingSource<unknown>, piece: Piece, findings: Findings): Piece[] {
  const { place, old, bare } = piece;
  if (bare && setting.read !== boolean) {
    findings.problem(`${nameOf(place)} has no value: write ${setting.option} = <value>`);
    return [];
  }
  const unitMs = old?.bareMs ?? setting.bareMs;
  const unitless = unitMs !== undefined && PLAIN_NUMBER.test(piece.text) && Number(piece.text) !== 0;
  const text = unitless ? formatDuration(Number(piece.text) * unitMs) : piece.text;
  if (old) {
    const isVariable = 'variable' in place;
    const suffix = isVariable && old.env?.endsWith('_') ? place.variable.slice(old.env.length) : '';
    const today = isVariable ? `${setting.env}${suffix}` : setting.option;
    const value = unitless ? `${isVariable ? '=' : ' = '}${text}` : '';
    findings.warning(`${nameOf(place)} is an old name: write ${today}${value}`);
  } else if (unitless) {
    const unit = unitMs === 1 ? 'milliseconds' : 'seconds';
    findings.warning(`${assignmentAt(place, piece.text)} has no unit and is read as ${unit}: write ${text}`);
  }
  return [{ ...piece, text }];
}

function formatDuration(ms: number): string {
  if (ms % 60_000 === 0) return `${ms / 60_000}m`;
  return ms % 1000 === 0 ? `${ms / 1000}s` : `${ms}ms`;
}
