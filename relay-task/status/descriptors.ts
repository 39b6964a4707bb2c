/**
 * The process's file descriptors. When none is left, libuv accepts and closes new connections without a word, and nothing else
 * can be opened either: LaunchDarkly, stores, files. So clients get all but a reserve, and what is refused is counted and logged.
 */
import { readFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import type { Measures } from '../common/measures.ts';
import type { Log } from '../ports.ts';

const LOOK_MS = 1_000;
/** How many looks without a refusal end a period of refusals. */
const QUIET_LOOKS = 30;
const MIN_RESERVE = 64;
const MORE_FILES = 'raise the limit of open files (ulimit -n), or run more relays';
const MORE_MEMORY = 'give the relay more memory, or run more relays; see memory in /status';

export function createDescriptors({ log, measures }: { log: Log; measures: Measures }) {
  const limit = limitOf(readLimits());
  const maxConnections = limit && maxConnectionsOf(limit);
  const refusals = measures.counter('connections_refused_total');
  // From the start, so that the first one counts in `rate()`.
  for (const reason of ['files', 'memory']) refusals.inc({ reason }, 0);
  const exhausted = measures.gauge('descriptors_exhausted');
  let refusing = 0;
  let quiet = 0;

  async function look(): Promise<void> {
    const problem = await problemWithOpening();
    if (problem !== undefined) note(problem, MORE_FILES);
    exhausted.set(Number(problem !== undefined));
    if (problem !== undefined || refusing === 0) return;
    quiet += 1;
    if (quiet < QUIET_LOOKS) return;
    refusing = 0;
    log.info('New connections are accepted again');
  }

  function note(reason: string, remedy: string): void {
    quiet = 0;
    refusing += 1;
    if (refusing > 1) return;
    log.error('New connections are refused', {
      reason,
      limit,
      maxConnections,
      remedy,
      runbook: 'operations.md#connections-refused',
    });
  }

  let timer: NodeJS.Timeout | undefined;
  return {
    /** How many connections clients may have; undefined where the limit is not known. */
    maxConnections,
    /** A connection was closed unanswered. `files`: because `maxConnections` are open; `memory`: all that they may take is in use. */
    refused(because: 'files' | 'memory'): void {
      refusals.inc({ reason: because });
      if (because === 'memory')
        note('requests are being answered on as many connections as memory allows', MORE_MEMORY);
      else note(`${maxConnections} connections are open, the most that the limit of open files allows`, MORE_FILES);
    },
    /** Looks once a second whether anything can be opened, until closed. */
    watch(): void {
      timer = setInterval(() => void look(), LOOK_MS);
      timer.unref();
    },
    close: () => clearInterval(timer),
  };
}

/** A sixteenth of the descriptors, at least 64, at most half, is for everything but clients. */
export function maxConnectionsOf(limit: number): number {
  return limit - Math.min(Math.floor(limit / 2), Math.max(MIN_RESERVE, Math.floor(limit / 16)));
}

/** Undefined: there is none, or it is not known. */
export function limitOf(limits: string): number | undefined {
  const [, soft] = /^Max open files\s+(\d+)/m.exec(limits) ?? [];
  return soft === undefined ? undefined : Number(soft);
}

function readLimits(): string {
  try {
    return readFileSync('/proc/self/limits', 'utf8');
  } catch {
    return '';
  }
}

/** Why no file can be opened; undefined: one can. */
async function problemWithOpening(): Promise<string | undefined> {
  try {
    await (await open('/dev/null')).close();
    return undefined;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    return code === 'EMFILE' || code === 'ENFILE' ? message : undefined;
  }
}
