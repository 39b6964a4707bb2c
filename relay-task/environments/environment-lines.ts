import { createReasonLines, createSkippedLines } from '../common/paced-lines.ts';
import type { FailedItem, Log, RefusedPattern } from '../ports.ts';

/** What the log says of an environment's items. */
export function createEnvironmentLines(environment: string, log: Log) {
  return {
    onNoRoom: createReasonLines((fields) =>
      log.error('No memory for a change of a flag or segment; keeping the previous version', {
        environment,
        ...fields,
        runbook: 'operations.md#memory',
      }),
    ),
    onSkipped: createSkippedLines((skipped) =>
      log.warn('Items in the store are invalid and were left out; LaunchDarkly will send them', {
        environment,
        ...skipped,
        runbook: 'operations.md#unreadable-items',
      }),
    ),
    onRefused: (pattern: RefusedPattern, more: number) =>
      log.warn('A regular expression is invalid and never matches', {
        environment,
        ...pattern,
        ...(more > 0 && { more }),
        runbook: 'operations.md#refused-patterns',
      }),
    onFailed: (item: FailedItem) =>
      log.error('Could not evaluate an item for clients; they get it without a value', {
        environment,
        ...item,
        runbook: 'operations.md#failed-items',
      }),
  };
}
