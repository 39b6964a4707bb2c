/**
 * How long changes take. From their arrival at this relay, each is measured. LaunchDarkly does not send when it made a change, so the way
 * from there is measured by heartbeats, flags whose value is that time.
 */
import type { Measures } from '../common/measures.ts';

/** How far a change has come. `replica`: it can be read in another region's replica of the table. */
type Stage = 'relay' | 'stream' | 'table' | 'replica';

/** Of the last changes, at most `MOST_CHANGES` of the last `WINDOW_MS`. */
interface Taken {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly count: number;
}

export interface PropagationStatus {
  readonly windowMs: number;
  /** Every change, from its arrival at this relay. Absent: none in the window. */
  readonly stream?: Taken;
  readonly table?: Taken;
  /** Heartbeats, from LaunchDarkly. */
  readonly heartbeat?: Partial<Record<Exclude<Stage, 'replica'>, Taken>> & {
    readonly replicas?: Readonly<Record<string, Taken>>;
  };
}

interface PropagationOptions {
  readonly measures: Measures;
  /** Monotonic ms; `performance.now`. */
  now?(): number;
}

export interface Propagation {
  /** A change came this far; `ms` since its arrival. */
  took(stage: 'stream' | 'table', ms: number): void;
  /** A heartbeat came this far; `ms` since it was sent, as two clocks tell. `region`: of the replica. */
  beat(environment: string, stage: Stage, ms: number, region?: string): void;
  /** A heartbeat is looked for in a replica: from now on the number of those that were missed is 0 and not absent. */
  sought(environment: string, region: string): void;
  /** A heartbeat was not seen in a replica while it was looked for. */
  missed(environment: string, region: string): void;
  /** Whether an environment's heartbeats stay away; undefined: it has none. */
  overdue(environment: string, isOverdue: boolean | undefined): void;
  /** This relay sends heartbeats: from now on their numbers are 0 and not absent, so that the first one counts in `rate()`. */
  sends(): void;
  /** This relay tried to send a heartbeat. */
  wrote(outcome: 'written' | 'failed'): void;
  read(): PropagationStatus;
}

const WINDOW_MS = 15 * 60_000;
const MOST_CHANGES = 1_000;

export function createPropagation({ measures, now = () => performance.now() }: PropagationOptions): Propagation {
  const seconds = measures.histogram('heartbeat_seconds');
  const ahead = measures.counter('heartbeats_ahead_total');
  const misses = measures.counter('heartbeats_missed_total');
  const sent = measures.counter('heartbeats_sent_total');
  const late = new Map<string, boolean>();
  measures.gauge('heartbeats_overdue', (gauge) => {
    gauge.reset();
    for (const [env, isOverdue] of late) gauge.set({ env }, Number(isOverdue));
  });
  const changes = { stream: createRecent(now), table: createRecent(now) };
  const beats = { relay: createRecent(now), stream: createRecent(now), table: createRecent(now) };
  const replicas = new Map<string, Recent>();

  const recentOf = (stage: Stage, region: string): Recent => {
    if (stage !== 'replica') return beats[stage];
    const recent = replicas.get(region) ?? createRecent(now);
    replicas.set(region, recent);
    return recent;
  };

  return {
    took: (stage, ms) => changes[stage].add(ms),
    beat(env, stage, ms, region = '') {
      if (ms < 0) ahead.inc({ env, stage });
      const taken = Math.max(0, ms);
      seconds.observe({ env, stage, region }, taken / 1_000);
      recentOf(stage, region).add(taken);
    },
    sought: (env, region) => misses.inc({ env, region }, 0),
    missed: (env, region) => misses.inc({ env, region }),
    overdue(env, isOverdue) {
      if (isOverdue === undefined) late.delete(env);
      else late.set(env, isOverdue);
    },
    sends() {
      for (const outcome of ['written', 'failed']) sent.inc({ outcome }, 0);
    },
    wrote: (outcome) => sent.inc({ outcome }),
    read() {
      const heartbeat = {
        ...takenOf(beats),
        ...(replicas.size > 0 && { replicas: takenOf(Object.fromEntries(replicas)) }),
      };
      return {
        windowMs: WINDOW_MS,
        ...takenOf(changes),
        ...(Object.keys(heartbeat).length > 0 && { heartbeat }),
      };
    },
  };
}

/** Without those that have nothing to tell. */
function takenOf(recents: Readonly<Record<string, Recent>>): Readonly<Record<string, Taken>> {
  const entries = Object.entries(recents).flatMap(([name, recent]) => {
    const taken = recent.read();
    return taken ? [[name, taken] as const] : [];
  });
  return Object.fromEntries(entries);
}

type Recent = ReturnType<typeof createRecent>;

/** The last values of the window, exactly: a ring of fixed size. */
function createRecent(now: () => number) {
  const values = new Float64Array(MOST_CHANGES);
  const times = new Float64Array(MOST_CHANGES);
  let added = 0;
  return {
    add(ms: number): void {
      const at = added % MOST_CHANGES;
      values[at] = ms;
      times[at] = now();
      added += 1;
    },
    read(): Taken | undefined {
      const since = now() - WINDOW_MS;
      const held = Math.min(added, MOST_CHANGES);
      const inWindow = values.subarray(0, held).filter((_, index) => (times[index] ?? 0) > since);
      if (inWindow.length === 0) return undefined;
      inWindow.sort();
      // The smallest value that so many are not above.
      const at = (share: number) => Math.round((inWindow[Math.ceil(share * inWindow.length) - 1] ?? 0) * 10) / 10;
      return { p50Ms: at(0.5), p99Ms: at(0.99), count: inWindow.length };
    },
  };
}
