/** JSON log lines on stdout, written by Powertools. Every line is redacted in case it contains a key. */
import { Logger, type LogItem } from '@aws-lambda-powertools/logger';
import { cutText } from '../common/json.ts';
import { redactKeys } from '../common/secrets.ts';
import type { Log } from '../ports.ts';
import { writeToStdout } from './output.ts';

export interface LogOptions {
  /** `none` disables logging. */
  readonly level: LogLevel;
  /** Receives each line with its line feed; stdout by default. */
  write?(line: string): void;
}

/** Never throws. Unlike Powertools, which writes errors to stderr, sends every line through `write`. */
class LineLogger extends Logger {
  write: (line: string) => void = () => {};

  protected override printLog(_level: number, item: LogItem): void {
    item.prepareForPrint();
    this.write(`${redactKeys(toJson(item.getAttributes()))}\n`);
  }
}

export function createLog(options: LogOptions): Log {
  const logger = new LineLogger({
    serviceName: 'edge-flag-relay',
    logLevel: options.level === 'none' ? 'SILENT' : options.level,
  });
  logger.write = options.write ?? writeToStdout;
  return {
    debug: (message, fields = {}) => logger.debug(message, fields),
    info: (message, fields = {}) => logger.info(message, fields),
    warn: (message, fields = {}) => logger.warn(message, fields),
    error: (message, fields = {}) => logger.error(message, fields),
  };
}

const severities = ['debug', 'info', 'warn', 'error', 'none'] as const;
type LogLevel = (typeof severities)[number];

/** Drops log lines below `level`. */
export function limitLog(log: Log, level: LogLevel): Log {
  const least = severities.indexOf(level);
  const silent = () => {};
  const at = (name: keyof Log): Log[keyof Log] =>
    severities.indexOf(name) < least ? silent : (message, fields) => log[name](message, fields);
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

/** In characters. A key that is cut is redacted like a whole one. */
const LONGEST_TEXT = 1_000;
const LONGEST_STACK = 4_000;

/** Powertools has already removed cycles. */
function toJson(attributes: unknown): string {
  try {
    return JSON.stringify(attributes, (key, value: unknown) => {
      if (typeof value === 'bigint') return String(value);
      // What others send is in messages of errors, keys and reasons.
      if (typeof value === 'string') return cutText(value, key === 'stack' ? LONGEST_STACK : LONGEST_TEXT);
      return value instanceof Error ? fieldsOfError(value) : value;
    });
  } catch (error) {
    return JSON.stringify({ level: 'ERROR', message: `Could not serialize a log line: ${String(error)}` });
  }
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
