/** The relay's log for a person at a terminal: lines instead of JSON. */
import { relative } from 'node:path';
import type { Log } from '../../relay-task/ports.ts';
import { painted } from '../checks/print.ts';

export interface Terminal {
  print(line: string): void;
  readonly colour: boolean;
}

type Level = keyof Log;

const COLOURS = { debug: 'dim', info: 'dim', warn: 'yellow', error: 'red' } as const satisfies Record<Level, string>;
const NAMES = { debug: 'debug', info: 'info', warn: 'warning', error: 'error' } as const;

/** The level in front of the lines of a message. */
export function atLevel(level: Level, message: string, { colour }: Terminal): string {
  const name = `${NAMES[level]}:`;
  return `${colour ? painted(COLOURS[level], name) : name} ${message}`;
}

/** A path as the person at the terminal would write it. */
export function shownPath(path: string): string {
  const short = relative('', path);
  return short === '' || short.startsWith('..') ? path : short;
}

/** What is said of a flag or segment of a file begins with the place; the message, which many lines have in common, is last. */
export function createPlainLog(terminal: Terminal): Log {
  const at =
    (level: Level) =>
    (message: string, fields: Record<string, unknown> = {}) =>
      terminal.print(atLevel(level, lineOf(message, fields), terminal));
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

function lineOf(message: string, fields: Record<string, unknown>): string {
  const { path, kind, key, at, reason, environment, ...others } = fields;
  if (typeof path !== 'string' || typeof reason !== 'string') return `${message}${details(fields)}`;
  const item = kind === undefined ? [] : [`${kind === 'features' ? 'flag' : 'segment'} ${String(key)}`];
  const place = [shownPath(path), ...item, ...(typeof at === 'string' && at !== '' ? [at] : [])].join(', ');
  // Each of the probable mistakes says what follows from it.
  return `${place}: ${reason}${at === undefined ? `. ${message}` : ''}${details(others)}`;
}

/** Without the runbooks, which are for an operator. */
function details({ runbook: _, ...fields }: Record<string, unknown>): string {
  const shown = Object.entries(fields).map(
    ([key, value]) => `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
  );
  return shown.length > 0 ? ` (${shown.join(', ')})` : '';
}
