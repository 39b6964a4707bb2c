/** The subjects that are visited after changes, by the addresses of their clients, which take turns. */
import { type Subject, swapRemove } from './connection.ts';
import type { Rounds } from './rounds.ts';

/** The subjects of an address. They are walked from the end to the beginning, so that none is missed when one leaves. */
export class Lane {
  readonly subjects: Subject[];
  /** Subjects below it still have their turn in this walk. */
  cursor = 0;
  /** The round in which this walk began. */
  walk: number;
  /** All its subjects were visited for this round and those before. */
  visited: number;
  /** Visits that have begun, with their preparation, and those of them that are in progress. */
  begun = 0;
  visiting = 0;
  /** Whether it waits for its turn, and which one is next. */
  isWaiting = false;
  next: Lane | undefined = undefined;

  constructor(first: Subject, round: number) {
    // Most have one.
    this.subjects = [first];
    this.walk = round;
    this.visited = round;
  }

  /** Whether all its subjects were visited in this walk. */
  get isThrough() {
    return this.cursor === 0 && this.begun === 0;
  }
}

export type Lanes = ReturnType<typeof createLanes>;

export function createLanes(rounds: Rounds) {
  const byAddress = new Map<string, Lane>();
  const waiting = createWaitingLanes();
  const canBeginAgain = (lane: Lane) => lane.isThrough && lane.walk < rounds.last;

  /** The next subject of the lane that is to be visited and is not already. */
  const nextOf = (lane: Lane): Subject | undefined => {
    if (canBeginAgain(lane)) {
      lane.walk = rounds.last;
      lane.cursor = lane.subjects.length;
    }
    while (lane.cursor > 0) {
      const subject = lane.subjects[--lane.cursor];
      if (subject && subject.round < rounds.last && !subject.underway) return subject;
    }
    return undefined;
  };
  const proceed = (lane: Lane): void => {
    if (lane.subjects.length === 0) return;
    if (lane.isThrough) {
      const before = lane.visited;
      lane.visited = lane.walk;
      rounds.moveLane(before, lane.walk);
    }
    if (lane.cursor > 0 || canBeginAgain(lane)) waiting.push(lane);
  };

  return {
    get any() {
      return byAddress.size > 0;
    },
    /** Whether a lane waits for its turn. */
    get waiting() {
      return waiting.any;
    },
    subjects: () => [...byAddress.values()].flatMap(({ subjects }) => subjects),
    join(subject: Subject, address: string): void {
      subject.round = rounds.last;
      subject.address = address;
      subject.index = 0;
      const known = byAddress.get(address);
      if (known) subject.index = known.subjects.push(subject) - 1;
      else {
        byAddress.set(address, new Lane(subject, rounds.last));
        rounds.addLane();
      }
    },
    leave(subject: Subject): void {
      const lane = byAddress.get(subject.address);
      if (!lane) return;
      swapRemove(lane.subjects, subject.index, (moved, index) => {
        moved.index = index;
      });
      subject.index = -1;
      lane.cursor = Math.min(lane.cursor, lane.subjects.length);
      if (lane.subjects.length > 0) return;
      byAddress.delete(subject.address);
      rounds.removeLane(lane.visited);
    },
    /** A round has begun. Lanes whose subjects are being visited follow by themselves. */
    begin(): void {
      for (const lane of byAddress.values()) if (lane.visiting === 0) waiting.push(lane);
    },
    /** It is the next lane's turn: `visit` gets the subject of it that is to be visited, if there is one. False: no lane waits. */
    turn(visit: (lane: Lane, subject: Subject) => void): boolean {
      const lane = waiting.shift();
      if (!lane) return false;
      const subject = nextOf(lane);
      if (!subject) {
        proceed(lane);
        return true;
      }
      lane.begun++;
      subject.underway = true;
      visit(lane, subject);
      return true;
    },
    /** The subject of the lane is being prepared: the next one may have its turn. */
    wait: waiting.push,
    enter(lane: Lane): void {
      lane.visiting++;
    },
    /** The subject was visited for this round and those before. */
    end(lane: Lane, subject: Subject, round: number): void {
      subject.round = round;
      subject.underway = false;
      lane.visiting--;
      lane.begun--;
      proceed(lane);
    },
  };
}

/** Lanes that have something to do, in the order in which they take turns. */
function createWaitingLanes() {
  let first: Lane | undefined;
  let last: Lane | undefined;
  return {
    get any() {
      return first !== undefined;
    },
    push(lane: Lane): void {
      if (lane.isWaiting) return;
      lane.isWaiting = true;
      if (last) last.next = lane;
      else first = lane;
      last = lane;
    },
    shift(): Lane | undefined {
      const lane = first;
      if (!lane) return undefined;
      first = lane.next;
      if (!first) last = undefined;
      lane.next = undefined;
      lane.isWaiting = false;
      return lane;
    },
  };
}
