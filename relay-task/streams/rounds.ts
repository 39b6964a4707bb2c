/** The rounds of visits after changes, and what changed in them. A round is named by the last change that it includes. */

/** Which answers a change can affect: what a visit evaluates. */
export interface Affected {
  readonly flagKeys: readonly string[];
  /** Whether memberships in Big Segments must be loaded before these flags are evaluated. */
  readonly bigSegments: boolean;
}

/** What a visit is about. */
export interface Work extends Affected {
  /** The last change that it includes. */
  readonly generation: number;
}

export interface RoundsOptions {
  /** All were visited for a round of changes, if there are any subjects. `since`: when the oldest of the changes arrived. */
  finished(since: number): void;
  /** All were visited after the last changes that affect these flags. */
  settled(flagKeys: readonly string[]): void;
}

interface Round {
  readonly since: number;
  /** Lanes that were last visited as a whole for this one. */
  lanes: number;
}

export type Rounds = ReturnType<typeof createRounds>;

export function createRounds(options: RoundsOptions) {
  /** By generation, the oldest first: the last one that is over, and those that are not. */
  const rounds = new Map<number, Round>([[0, { since: 0, lanes: 0 }]]);
  /** Of each flag, the last one of these rounds that affects it, in their order. */
  const lastOf = new Map<string, number>();
  let last = 0;
  let settled = 0;
  let lanes = 0;
  let lastBigSegments = 0;
  const works = new Map<number, Work>();

  const count = (generation: number, change: number) => {
    const round = rounds.get(generation);
    if (round) round.lanes += change;
  };
  const forgetUntil = (generation: number): string[] => {
    const flagKeys: string[] = [];
    for (const [key, affecting] of lastOf) {
      if (affecting > generation) break;
      flagKeys.push(key);
      lastOf.delete(key);
    }
    return flagKeys;
  };
  /** Ends the rounds for which all lanes were visited. */
  const settle = (): void => {
    for (const [generation, round] of rounds) {
      if (generation > settled) {
        settled = generation;
        options.settled(forgetUntil(generation));
        if (lanes > 0) options.finished(round.since);
      }
      if (round.lanes > 0 || generation === last) return;
      rounds.delete(generation);
    }
  };
  return {
    get last() {
      return last;
    },
    get settled() {
      return settled;
    },
    begin({ generation, flagKeys, bigSegments }: Work, since: number): void {
      last = generation;
      if (bigSegments) lastBigSegments = generation;
      for (const key of flagKeys) {
        lastOf.delete(key);
        lastOf.set(key, generation);
      }
      works.clear();
      rounds.set(generation, { since, lanes: 0 });
      settle();
    },
    /** What changed in the rounds after this one. */
    workSince(generation: number): Work {
      let work = works.get(generation);
      if (!work) {
        const flagKeys: string[] = [];
        for (const [key, affecting] of lastOf) if (affecting > generation) flagKeys.push(key);
        work = { flagKeys, bigSegments: lastBigSegments > generation, generation: last };
        works.set(generation, work);
      }
      return work;
    },
    concerns: (key: string) => lastOf.has(key),
    /** A lane begins with the last round. */
    addLane(): void {
      lanes++;
      count(last, 1);
    },
    /** `visited`: the round for which the lane was last visited as a whole. */
    removeLane(visited: number): void {
      lanes--;
      count(visited, -1);
      settle();
    },
    /** A lane that had been visited for one round was visited for a later one. */
    moveLane(from: number, to: number): void {
      if (from === to) return;
      count(from, -1);
      count(to, 1);
      settle();
    },
  };
}
