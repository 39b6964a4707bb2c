import { createReasonLines, createSkippedLines } from '../common/paced-lines.ts';
import type { Log } from '../ports.ts';
import type { ItemReports } from './compiled-items.ts';

interface EnvironmentLines extends ItemReports {
  onNoRoom(reason: string): void;
  onSkipped(problems: readonly string[]): void;
}

/** What the log says of an environment's items. */
export function createEnvironmentLines(environment: string, log: Log): EnvironmentLines {
  return {
    onNoRoom: createReasonLines((fields) =>
      log.error('No memory for a change of a flag or segment; keeping the previous version', {
        environment,
        ...fields,
      }),
    ),
    onSkipped: createSkippedLines((skipped) =>
      log.warn('Skipped invalid items in the store', { environment, ...skipped }),
    ),
    onRefused: (pattern, more) =>
      log.warn('A regular expression is invalid and never matches', {
        environment,
        ...pattern,
        ...(more > 0 && { more }),
      }),
    onFailed: (item) =>
      log.error('Could not evaluate an item for clients; they get it without a value', { environment, ...item }),
  };
}
