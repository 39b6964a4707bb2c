import { durationText } from '../common/duration-text.ts';
import type { Log, LogFields, StoreStatus } from '../ports.ts';
import type { Clock } from './timings.ts';

/** The parts of a store that can fail independently. */
type StorePart = 'read' | 'lease' | 'write';

/** The state of one store, for status and log: one line when it begins to fail, and for each other reason, and one when it works again. */
export function createStoreState(options: {
  readonly clock: Clock;
  readonly log: Log;
  /** For log lines: which store of which environment. */
  readonly where: LogFields;
  describe(error: unknown): string;
  /** Whether memory has data. */
  serves(): boolean;
}) {
  const { clock, log, where } = options;
  const failing = new Set<StorePart>();
  /** Since it began to fail. A database that is down fails all parts for one reason. */
  const told = new Map<StorePart, string>();
  let state: StoreStatus['state'] = 'INITIALIZING';
  let stateSince = clock.wall();
  /** The same, monotonic. */
  let since = clock.now();
  let lastError: StoreStatus['lastError'];

  return {
    /** A part worked (undefined) or failed. */
    report(part: StorePart, error: unknown): void {
      if (error === undefined) {
        failing.delete(part);
        // Whatever works proves that the database can be reached.
        failing.delete('read');
      } else {
        const message = options.describe(error);
        if (!failing.has(part) && ![...told.values()].includes(message)) {
          told.set(part, message);
          const meanwhile = options.serves() ? 'still serving from memory' : 'there are no flags yet';
          log.warn(`The store fails; ${meanwhile}, retrying`, {
            ...where,
            part,
            reason: message,
            runbook: 'operations.md#store-down',
          });
        }
        failing.add(part);
        lastError = { time: clock.wall(), message };
      }
      const next = failing.size > 0 ? 'INTERRUPTED' : 'VALID';
      if (next === state) return;
      if (next === 'VALID') told.clear();
      const afterMs = Math.round(clock.now() - since);
      if (state === 'INTERRUPTED')
        log.info(`The store works again after ${durationText(afterMs)}`, { ...where, afterMs });
      [state, stateSince, since] = [next, clock.wall(), clock.now()];
    },
    read: (): Pick<StoreStatus, 'state' | 'stateSince' | 'lastError'> => ({
      state,
      stateSince,
      ...(lastError && { lastError }),
    }),
  };
}
