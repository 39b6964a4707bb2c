import { createReasonLines, createSkippedLines } from '../common/paced-lines.ts';
import type { FailedItem, Log, RefusedPattern } from '../ports.ts';

/** What the log says of an environment's items. */
export function createEnvironmentLines(environment: string, log: Log) {
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
    onRefused: (pattern: RefusedPattern, more: number) =>
      log.warn('A regular expression is invalid and never matches', {
        environment,
        ...pattern,
        ...(more > 0 && { more }),
      }),
    onFailed: (item: FailedItem) =>
      log.error('Could not evaluate an item for clients; they get it without a value', { environment, ...item }),
  };
}
