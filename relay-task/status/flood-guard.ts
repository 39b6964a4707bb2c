import { forgetOldest } from '../common/forget-oldest.ts';
import type { Log, LogFields } from '../ports.ts';

const WINDOW_MS = 60_000;
/** More than any orderly relay writes of one kind about one environment in a minute. */
const MOST_LINES = 20;
const MOST_KINDS = 10_000;
const MOST_CHARACTERS = 200;

interface Kind {
  since: number;
  lines: number;
  suppressed: number;
}

/**
 * The last limit, for lines that no other one holds back: a client, a store or LaunchDarkly can repeat whatever causes one. At most
 * twenty lines a minute with the same message about the same environment and store; the next one says how many were suppressed. Lines at level debug were
 * asked for, and all pass.
 */
export function guardFloods(log: Log, now: () => number = () => performance.now()): Log {
  const kinds = new Map<string, Kind>();

  function kindOf(name: string): Kind {
    const known = kinds.get(name);
    if (known) return known;
    const kind = { since: now(), lines: 0, suppressed: 0 };
    kinds.set(name, kind);
    forgetOldest(kinds, MOST_KINDS);
    return kind;
  }

  const at =
    (level: 'info' | 'warn' | 'error'): Log[keyof Log] =>
    (message, fields = {}) => {
      const kind = kindOf(nameOf(level, message, fields));
      if (now() - kind.since >= WINDOW_MS) Object.assign(kind, { since: now(), lines: 0 });
      if (kind.lines >= MOST_LINES) {
        kind.suppressed += 1;
        return;
      }
      kind.lines += 1;
      const suppressed = kind.suppressed + Number(fields.suppressed ?? 0);
      kind.suppressed = 0;
      log[level](message, suppressed > 0 ? { ...fields, suppressed } : fields);
    };
  return { debug: log.debug, info: at('info'), warn: at('warn'), error: at('error') };
}

/** Numbers in messages are durations and counts. */
function nameOf(level: string, message: string, { environment = '', database = '', prefix = '' }: LogFields): string {
  return `${level} ${environment} ${database} ${prefix} ${message.replace(/\d+(\.\d+)?/g, '0')}`.slice(
    0,
    MOST_CHARACTERS,
  );
}
