/** What the spool tells of itself: the same problem once, until it is over. */
import { errorText } from '../common/error-text.ts';
import { createPacedLines } from '../common/paced-lines.ts';
import type { Log, SpoolStatus } from '../ports.ts';
import type { EventMeter } from './metrics.ts';

interface SpoolReportsOptions {
  readonly log: Log;
  readonly meter: Pick<EventMeter, 'unspooled'>;
  readonly directory: string;
  readonly maxBytes: number;
}

interface SpoolLeft {
  readonly events: number;
  /** Others' directories that this relay has taken over and not read. */
  readonly unreadDirectories: number;
  readonly bytes: number;
}

const UNKEPT = {
  full: 'The spool has no room for more events, which are in memory only until they are sent; raise EVENTS_SPOOL_MAX_BYTES, or find out why they are not sent',
  slow: 'Writing events to the spool takes too long, so answers no longer wait for it; events that are not written are lost if this process is killed',
  failed:
    'Cannot write events to the spool; they are in memory only until they are sent, and lost if this process is killed',
} as const;

/** For `/status`: nothing, or not everything, is kept on the disk. */
const PROBLEMS = {
  slow: 'writing takes too long, so answers no longer wait for it',
  failed: 'events cannot be written',
  unusable: 'the directory cannot be used',
} as const;

export function createSpoolReports({ log, meter, directory, maxBytes }: SpoolReportsOptions) {
  const told = new Set<keyof typeof UNKEPT | 'unusable' | 'unmarked'>();
  const standing = createStanding();
  const paced = createPacedLines();
  const endWriting = () => {
    standing.ends('failed');
    standing.ends('slow');
  };
  return {
    status: standing.status,
    /** So many events are in memory only. */
    unkept(events: number, reason: keyof typeof UNKEPT, error?: unknown): void {
      // Nothing is written to a directory that cannot be used, so waiting for it is not a slow disk, and a line says why.
      const isUnusable = reason === 'slow' && told.has('unusable');
      if (events > 0) meter.unspooled(isUnusable ? 'failed' : reason, events);
      if (reason !== 'full' && !isUnusable) standing.begins(reason, error);
      if (isUnusable || told.has(reason)) return;
      const cause = error === undefined ? {} : { reason: errorText(error) };
      // A disk that is too slow now and then would otherwise fill the log.
      const isSaid = paced(reason, (more) => log.warn(UNKEPT[reason], { directory, maxBytes, ...cause, ...more }));
      if (isSaid) told.add(reason);
    },
    /** At the end, of a file. */
    unmarked(error: unknown): void {
      if (told.has('unmarked')) return;
      told.add('unmarked');
      log.warn(
        'What was delivered could not be marked as such in the spool, so the next relay sends some of it again',
        {
          directory,
          reason: errorText(error),
        },
      );
    },
    recovered(): void {
      endWriting();
      const wasTold = (['slow', 'failed'] as const).filter((reason) => told.delete(reason));
      if (wasTold.length > 0) log.info('Events are written to the spool again', { directory });
    },
    hasRoom(): void {
      if (told.delete('full')) log.info('The spool has room for more events again', { directory });
    },
    unusable(error: unknown): void {
      standing.begins('unusable', error);
      if (told.has('unusable')) return;
      told.add('unusable');
      log.error('Cannot use EVENTS_SPOOL_DIR; events are in memory only, and it is tried again every few seconds', {
        directory,
        reason: errorText(error),
      });
    },
    usable(): void {
      standing.ends('unusable');
      if (told.delete('unusable')) log.info('EVENTS_SPOOL_DIR can be used again', { directory });
    },
    foreign(name: string): void {
      log.warn('Something in EVENTS_SPOOL_DIR is not a spool of this version of the relay; it is left as it is', {
        directory,
        name,
      });
    },
    stuck(name: string, error: unknown): void {
      log.warn(
        'Cannot take over a directory in EVENTS_SPOOL_DIR; it is left as it is, and tried again every few seconds',
        {
          directory,
          name,
          reason: errorText(error),
        },
      );
    },
    /** `events`: that were in it. */
    deleted(events: number): void {
      endWriting();
      if (events > 0) meter.unspooled('failed', events);
      log.warn(
        'The directory of this relay in EVENTS_SPOOL_DIR was deleted; events that were in it are in memory only until they are sent, and it begins a new one',
        { directory, events },
      );
    },
    /** `left`: what was not delivered; undefined if the disk did not answer within `waitedMs`. */
    closed(left: SpoolLeft | undefined, waitedMs: number): void {
      if (!left) {
        log.warn('EVENTS_SPOOL_DIR did not answer in time at the end; events that are not written to it are lost', {
          directory,
          waitedMs,
        });
      } else if (left.events > 0 || left.unreadDirectories > 0) {
        log.info('Events stay in the spool; the next relay that uses EVENTS_SPOOL_DIR sends them', {
          directory,
          ...left,
        });
      }
    },
    /** `events`: that were not written when it was taken over. */
    takenOver(unsureMs: number, events: number): void {
      endWriting();
      if (events > 0) meter.unspooled('failed', events);
      log.warn(
        'Another relay has taken over the spool of this one, which did not write to it for long; it begins a new one',
        { directory, unsureMs },
      );
    },
  };
}

/** Which problems there are now. */
function createStanding() {
  const problems = new Set<keyof typeof PROBLEMS>();
  let stateSince = Date.now();
  let lastError: SpoolStatus['lastError'];
  return {
    begins(problem: keyof typeof PROBLEMS, error: unknown): void {
      const time = Date.now();
      if (problems.size === 0) stateSince = time;
      problems.add(problem);
      const cause = error === undefined ? '' : `: ${errorText(error)}`;
      lastError = { time, message: PROBLEMS[problem] + cause };
    },
    ends(problem: keyof typeof PROBLEMS): void {
      if (problems.delete(problem) && problems.size === 0) stateSince = Date.now();
    },
    status: (): Pick<SpoolStatus, 'state' | 'stateSince' | 'lastError'> => ({
      state: problems.size > 0 ? 'INTERRUPTED' : 'VALID',
      stateSince,
      ...(lastError && { lastError }),
    }),
  };
}
