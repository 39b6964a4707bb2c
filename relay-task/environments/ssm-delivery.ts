import type { EnvironmentSink, Log } from '../ports.ts';
import type { Described, Remarks } from './ssm-descriptions.ts';
import type { Moment } from './ssm-drafts.ts';

export type Delivery = ReturnType<typeof createDelivery>;

/** Describes what is held, and delivers it if it changed. */
export function createDelivery(options: {
  readonly sink: EnvironmentSink;
  readonly log: Log;
  describe(moment: Moment): Described;
}) {
  const { sink, log } = options;
  const tellRemarks = createTeller(log);
  let delivered: string | undefined;
  /** Whether every environment that exists has been delivered once. */
  let isWhole = false;
  /** The environments that were delivered last. */
  let known: ReadonlySet<string> = new Set();
  let troubled: readonly string[] = [];
  let withheld = 0;
  return {
    deliver(moment: Moment) {
      const { remarks, ...described } = options.describe(moment);
      const isReading = !isWhole && described.awaited.size > 0;
      isWhole ||= !isReading;
      // While it is being read, a new environment is delivered once something opens it.
      const descriptions = described.descriptions.filter(
        ({ id, credentials }) => known.has(id) || !described.awaited.has(id) || credentials.length > 0,
      );
      known = new Set(descriptions.map(({ id }) => id));
      tellRemarks(remarks);
      troubled = descriptions.filter(({ keyProblem }) => keyProblem).map(({ name }) => name);
      withheld = described.withheld;
      const environments = descriptions.length;
      const text = JSON.stringify(descriptions);
      if (text !== delivered) {
        if (delivered !== undefined) log.info('The environments in SSM changed', { environments });
        delivered = text;
        sink.replace(descriptions, isReading ? 'incomplete' : undefined);
      }
      return { environments, unconfirmed: described.unconfirmed };
    },
    hasBegun: () => delivered !== undefined,
    /** Names of environments with a key problem. */
    troubled: () => troubled,
    /** How many credentials open nothing until their environment is known. */
    withheld: () => withheld,
  };
}

/** Logs each problem when it begins and when it ends, not at every reading. */
function createTeller(log: Log) {
  let told = new Map<string, { readonly environment: string; readonly problem: boolean }>();
  return (remarks: ReadonlyMap<string, Remarks>) => {
    const next: typeof told = new Map();
    for (const [environment, { problems, oddities }] of remarks) {
      for (const text of problems) next.set(text, { environment, problem: true });
      for (const text of oddities) next.set(text, { environment, problem: false });
    }
    for (const [text, { environment, problem }] of next) {
      if (told.has(text)) continue;
      if (problem)
        log.error('An SSM parameter cannot be used; the last good value stays in force', {
          environment,
          reason: text,
          runbook: 'operations.md#key-problem',
        });
      else
        log.warn('An SSM parameter looks odd; using it as it is', {
          environment,
          reason: text,
          runbook: 'operations.md#ssm-parameters',
        });
    }
    for (const [text, { environment, problem }] of told) {
      if (problem && !next.has(text)) log.info('An SSM parameter is fine again', { environment, problem: text });
    }
    told = next;
  };
}
