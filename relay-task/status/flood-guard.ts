import { forgetOldest } from '../common/forget-oldest.ts';
import { cutText } from '../common/json.ts';
import type { Log, LogFields } from '../ports.ts';

const WINDOW_MS = 60_000;
/** More than any orderly relay writes of one kind about one environment in a minute. */
const MOST_LINES = 20;
const MOST_KINDS = 10_000;
const MOST_CHARACTERS = 200;
/** Between two looks for floods that have ended. */
const SHORTEST_WAIT_MS = 1_000;

interface Kind {
  since: number;
  lines: number;
}

/** Lines that were not written, and not counted in another line yet. */
interface Suppressed {
  lines: number;
  readonly tell: (lines: number) => void;
}

type Level = 'info' | 'warn' | 'error';

interface FloodTimes {
  /** In ms; `performance.now` by default. */
  now(): number;
  /** Calls it once, unless the process ends before. */
  after(ms: number, call: () => void): void;
}

interface GuardedLog extends Log {
  /** Says how many lines were suppressed, as far as no line has said so. For the end of the process. */
  tellSuppressed(): void;
}

const usualTimes: FloodTimes = {
  now: () => performance.now(),
  after: (ms, call) => void setTimeout(call, ms).unref(),
};

/**
 * The last limit, for lines that no other one holds back: a client, a store or LaunchDarkly can repeat whatever causes one. At most
 * twenty lines a minute with the same message about the same environment and store; the next one says how many were suppressed, and if none
 * comes, a line of its own when the minute is over. Lines at level debug were asked for, and all pass.
 */
export function guardFloods(log: Log, { now, after }: FloodTimes = usualTimes): GuardedLog {
  const kinds = new Map<string, Kind>();
  const untold = new Map<string, Suppressed>();
  let isWaiting = false;

  function kindOf(name: string): Kind {
    const known = kinds.get(name);
    if (known) return known;
    const kind = { since: now(), lines: 0 };
    kinds.set(name, kind);
    const forgotten = forgetOldest(kinds, MOST_KINDS);
    if (forgotten !== undefined) tell(forgotten);
    return kind;
  }

  /** How many lines were suppressed; from now on they count as told. */
  function take(name: string): number {
    const lines = untold.get(name)?.lines ?? 0;
    untold.delete(name);
    return lines;
  }

  function tell(name: string): void {
    const write = untold.get(name)?.tell;
    write?.(take(name));
  }

  const endOf = (name: string) => (kinds.get(name)?.since ?? Number.NEGATIVE_INFINITY) + WINDOW_MS;

  function wait(): void {
    if (isWaiting || untold.size === 0) return;
    isWaiting = true;
    const next = Math.min(...Array.from(untold.keys(), endOf));
    after(Math.max(SHORTEST_WAIT_MS, next - now()), () => {
      isWaiting = false;
      for (const name of untold.keys()) if (now() >= endOf(name)) tell(name);
      wait();
    });
  }

  const at =
    (level: Level): Log[keyof Log] =>
    (message, fields = {}) => {
      const name = nameOf(level, message, fields);
      const kind = kindOf(name);
      if (now() - kind.since >= WINDOW_MS) Object.assign(kind, { since: now(), lines: 0 });
      const before = Number(fields.suppressed ?? 0);
      if (kind.lines >= MOST_LINES) {
        const held = untold.get(name) ?? { lines: 0, tell: teller(log, level, message, fields) };
        held.lines += 1 + before;
        untold.set(name, held);
        wait();
        return;
      }
      kind.lines += 1;
      const suppressed = take(name) + before;
      log[level](message, suppressed > 0 ? { ...fields, suppressed } : fields);
    };
  return {
    debug: log.debug,
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    tellSuppressed() {
      for (const name of untold.keys()) tell(name);
    },
  };
}

/** Keeps what names the kind, and not all fields of a line, which may be large. */
function teller(log: Log, level: Level, message: string, fields: LogFields): Suppressed['tell'] {
  const { environment, database, prefix, runbook } = fields;
  const about = { environment, database, prefix, line: cutText(message, MOST_CHARACTERS) };
  return (suppressed) =>
    log[level]('Repeated lines of the log were left out', { ...about, suppressed, ...(runbook && { runbook }) });
}

/** Numbers in messages are durations and counts. Each part is cut on its own, so that a long environment name does not displace the message. */
function nameOf(level: string, message: string, { environment = '', database = '', prefix = '' }: LogFields): string {
  return [level, environment, database, prefix, message.replace(/\d+(\.\d+)?/g, '0')]
    .map((part) => String(part).slice(0, MOST_CHARACTERS))
    .join(' ');
}
