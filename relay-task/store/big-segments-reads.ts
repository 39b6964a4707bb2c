import { MAX_READ, type Membership } from './big-segments.ts';

/** A membership that was read just now. */
export interface ReadMembership {
  readonly membership: Membership | null;
  readonly incomplete: boolean;
  /** The store is behind what it held before. */
  readonly outdated: boolean;
}

interface MembershipReadsOptions {
  /** Undefined: the store cannot be asked. Never rejects. */
  read(hashes: readonly string[]): Promise<readonly ReadMembership[] | undefined>;
  /** How many changes of memberships there were: a read that began before one is not shared after it. */
  generation(): number;
  /** How many requests to the store are in progress at the same time, of up to 99 contexts each. */
  readonly maxInside: number;
  /** How many more contexts may wait. */
  readonly maxWaiting: number;
}

interface Job {
  /** Undefined while it waits. */
  generation: number | undefined;
  readonly done: Promise<ReadMembership | undefined>;
  readonly settle: (read: ReadMembership | undefined) => void;
}

/** Reads memberships in turn, many with one request. A context that is asked for twice is read once. */
export function createMembershipReads({ read, generation, maxInside, maxWaiting }: MembershipReadsOptions) {
  /** In the order of their arrival. */
  const waiting = new Map<string, Job>();
  const reading = new Map<string, Job>();
  let inside = 0;
  let scheduled = false;

  function start(): void {
    scheduled = false;
    while (inside < maxInside && waiting.size > 0) void readBatch();
  }

  async function readBatch(): Promise<void> {
    const batch: [string, Job][] = [];
    for (const entry of waiting) {
      if (batch.push(entry) === MAX_READ) break;
    }
    for (const [hash, job] of batch) {
      waiting.delete(hash);
      reading.set(hash, job);
      job.generation = generation();
    }
    inside += 1;
    const answers = await read(batch.map(([hash]) => hash));
    inside -= 1;
    batch.forEach(([hash, job], index) => {
      if (reading.get(hash) === job) reading.delete(hash);
      job.settle(answers?.[index]);
    });
    start();
  }

  return {
    /**
     * Resolves with undefined if the store cannot be asked. `full`: too many wait already; the patient wait all the same.
     */
    get(hash: string, patient: boolean): Promise<ReadMembership | undefined> | 'full' {
      const shared = waiting.get(hash) ?? reading.get(hash);
      if (shared && (shared.generation ?? generation()) === generation()) return shared.done;
      if (!patient && waiting.size >= maxWaiting) return 'full';
      const job = createJob();
      waiting.set(hash, job);
      // What is asked for in the same turn of the event loop shares a request.
      if (!scheduled) setImmediate(start);
      scheduled = true;
      return job.done;
    },
    /** Resolves what is in progress with undefined. */
    close(): void {
      for (const jobs of [waiting, reading]) {
        for (const job of jobs.values()) job.settle(undefined);
        jobs.clear();
      }
    },
  };
}

function createJob(): Job {
  let settle: Job['settle'] = () => {};
  const done = new Promise<ReadMembership | undefined>((resolve) => {
    settle = resolve;
  });
  return { generation: undefined, done, settle };
}
