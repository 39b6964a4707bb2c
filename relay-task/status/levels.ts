/** Which log lines are written: as configured, and for a limited time all of them. */
import type { EnvironmentDescription, Log } from '../ports.ts';

const severities = ['debug', 'info', 'warn', 'error', 'none'] as const;
export type LogLevel = (typeof severities)[number];

/** Drops log lines below `level`. A function is asked at every line, so that the level can change. */
export function limitLog(log: Log, level: LogLevel | (() => LogLevel)): Log {
  const present = typeof level === 'string' ? () => level : level;
  const at =
    (name: keyof Log): Log[keyof Log] =>
    (message, fields) => {
      if (shows(present(), name)) log[name](message, fields);
    };
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

function shows(level: LogLevel, line: keyof Log): boolean {
  return severities.indexOf(line) >= severities.indexOf(level);
}

/** What decides about an environment's lines. */
type OwnLevel = Pick<EnvironmentDescription, 'logLevel' | 'logLevelUntil'>;

export interface Levels {
  /** The relay's. */
  present(): LogLevel;
  /** An environment's: its own if it has one. */
  of(own: OwnLevel): LogLevel;
  /** Everything is logged for a while; once more: no longer. `by`: who asked, for the log. */
  toggleDebug(by: string): void;
  close(): void;
}

const DEBUG_MS = 15 * 60_000;

export function createLevels(options: {
  readonly configured: LogLevel;
  /** Unlimited: whoever changes the level sees that it changed. */
  readonly log: Log;
  /** 15 min. */
  readonly debugMs?: number;
  now?(): number;
}): Levels {
  const { configured, log, debugMs = DEBUG_MS, now = Date.now } = options;
  let ending: NodeJS.Timeout | undefined;

  function end(by: string): void {
    clearTimeout(ending);
    ending = undefined;
    log.info(`Log level is ${configured} again`, { by });
  }

  return {
    present: () => (ending ? 'debug' : configured),
    of({ logLevel, logLevelUntil = Number.POSITIVE_INFINITY }) {
      if (ending) return 'debug';
      return logLevel !== undefined && now() < logLevelUntil ? logLevel : configured;
    },
    toggleDebug(by) {
      if (ending) return end(by);
      ending = setTimeout(end, debugMs, `the limit of ${debugMs / 60_000} min`);
      ending.unref();
      const until = new Date(now() + debugMs).toISOString();
      log.info(`Log level is debug until ${until}, then ${configured} again`, { by });
    },
    close: () => clearTimeout(ending),
  };
}
