/** Log lines on stdout, made by Powertools: as JSON, or as text for people. Every text in them is redacted in case it contains a secret. */
import { LogFormatter, Logger, LogItem } from '@aws-lambda-powertools/logger';
import { escaped } from '../common/escaped.ts';
import { cutText, isObject } from '../common/json.ts';
import { redactSecrets } from '../common/secrets.ts';
import type { Log, LogFields } from '../ports.ts';
import type { LogLevel } from './levels.ts';
import { toText } from './log-text.ts';
import { writeToStdout } from './output.ts';

export interface LogOptions {
  /** `none` disables logging. */
  readonly level: LogLevel;
  /** `json` by default. */
  readonly format?: 'json' | 'text';
  /** Text is coloured by severity. */
  readonly colour?: boolean;
  /** Receives each line with its line feed; stdout by default. */
  write?(line: string): void;
}

/** Level, message and time come first, the fields after them, and nothing else that Powertools would add. */
class LineFormatter extends LogFormatter {
  override formatAttributes(...[own, fields]: Parameters<LogFormatter['formatAttributes']>): LogItem {
    const { logLevel, message, timestamp } = own;
    const attributes = { level: logLevel, message, timestamp: this.formatTimestamp(timestamp) };
    return new LogItem({ attributes }).addAttributes(fields);
  }
}

/** Never throws. Unlike Powertools, which writes errors to stderr, sends every line through `write`. */
class LineLogger extends Logger {
  write: (item: Record<string, unknown>) => void = () => {};

  protected override printLog(_level: number, item: LogItem): void {
    item.prepareForPrint();
    this.write(item.getAttributes());
  }
}

export function createLog({ level, format = 'json', colour = false, write = writeToStdout }: LogOptions): Log {
  const logger = new LineLogger({
    logLevel: level === 'none' ? 'SILENT' : level,
    logFormatter: new LineFormatter(),
  });
  const lineOf = (item: Record<string, unknown>) =>
    format === 'text' ? toText(JSON.parse(toJson(item)), colour) : escaped(toJson(item));
  logger.write = (item) => write(`${lineOf(item)}\n`);
  return {
    debug: (message, fields) => logger.debug(message, withOwnNames(fields)),
    info: (message, fields) => logger.info(message, withOwnNames(fields)),
    warn: (message, fields) => logger.warn(message, withOwnNames(fields)),
    error: (message, fields) => logger.error(message, withOwnNames(fields)),
  };
}

/** Of Powertools, which drops fields with these names and writes a second line about each. `LogFields` excludes them, as far as types can. */
const RESERVED: ReadonlySet<string> = new Set(['level', 'message', 'sampling_rate', 'service', 'timestamp']);

/** Nothing is lost: a reserved name gets an underscore. */
function withOwnNames(fields: LogFields = {}): Record<string, unknown> {
  const names = Object.keys(fields);
  if (!names.some((name) => RESERVED.has(name))) return fields;
  return Object.fromEntries(names.map((name) => [RESERVED.has(name) ? `${name}_` : name, fields[name]]));
}

/** In characters. A key that is cut is redacted like a whole one. */
const LONGEST_TEXT = 1_000;
const LONGEST_STACK = 4_000;

/** Powertools has already removed cycles. */
function toJson(attributes: unknown): string {
  try {
    return JSON.stringify(attributes, (key, value: unknown) => {
      if (typeof value === 'bigint') return String(value);
      // What others send is in messages of errors, names and reasons. In a finished line, `\n` would hide where a key begins.
      if (typeof value === 'string') {
        return redactSecrets(cutText(value, key === 'stack' ? LONGEST_STACK : LONGEST_TEXT));
      }
      return value instanceof Error ? fieldsOfError(value) : isObject(value) ? withoutKeys(value) : value;
    });
  } catch (error) {
    return JSON.stringify({
      level: 'ERROR',
      message: `Could not serialize a log line: ${redactSecrets(String(error))}`,
    });
  }
}

/** Keys are hidden in the names of members, too. */
function withoutKeys(members: Readonly<Record<string, unknown>>): unknown {
  const names = Object.keys(members);
  if (names.every((name) => redactSecrets(name) === name)) return members;
  return Object.fromEntries(names.map((name) => [redactSecrets(name), members[name]]));
}

function fieldsOfError(error: Error): Record<string, unknown> {
  const { name, message, stack, cause } = error;
  return {
    name,
    message,
    ...('code' in error ? { code: error.code } : {}),
    stack,
    ...(cause === undefined ? {} : { cause }),
  };
}
