/** Work for subjects, in slices that take turns with other work of the environment. Work that has taken long lets others go first. */
import { begunLanes, type EvaluationPlace } from '../common/evaluation-lines.ts';
import type { FairTurns } from '../common/fair-turns.ts';
import { nextTurn, SLICE_MS } from '../common/slices.ts';
import type { Subject } from './connection.ts';

/** The subject of the work, and its place among evaluations. */
interface Visit {
  readonly subject: Subject;
  readonly place: EvaluationPlace;
}

interface SubjectTurnsOptions {
  readonly environment: string;
  readonly turns: Pick<FairTurns, 'await'>;
  /** Work for the subject threw. */
  failed(subject: Subject, error: unknown): void;
}

export function createSubjectTurns({ environment, turns, failed }: SubjectTurnsOptions) {
  // How many may wait is limited where streams are accepted.
  const inTurn = (place: EvaluationPlace, work: () => void, later: boolean): void => {
    const waits = later ? nextTurn() : turns.await(begunLanes(environment, place));
    if (waits) void waits.then(work);
    else work();
  };

  /** For work that no caller guards. */
  const guarded = (subject: Subject, work: () => void): void => {
    try {
      work();
    } catch (error) {
      failed(subject, error);
    }
  };

  /** Works for the subject in its turn. What throws costs it its place, too. */
  const step = ({ subject, place }: Visit, work: () => void, later = false): void =>
    inTurn(
      place,
      () =>
        guarded(subject, () => {
          try {
            work();
          } catch (error) {
            place.leave();
            throw error;
          }
        }),
      later,
    );

  /** Runs the steps to their end, a slice in each turn. */
  const inTurns = <T>(visit: Visit, steps: Generator<void, T>, done: (result: T) => void): void => {
    const { subject, place } = visit;
    const began = performance.now();
    let next = steps.next();
    while (!next.done && performance.now() < began + SLICE_MS) next = steps.next();
    if (next.done) {
      done(next.value);
      return;
    }
    const goOn = () => step(visit, () => inTurns(visit, steps, done));
    const wait = place.after(performance.now() - began);
    if (wait) waitFor<void>(subject, wait, goOn, place.leave);
    else goOn();
  };

  return { guarded, step, inTurns };
}

/** Waits until the work may begin. A subject without connections gives up waiting. */
export function waitFor<T>(
  subject: Pick<Subject, 'giveUp'>,
  enter: (begin: (turn: T) => void) => () => void,
  begin: (turn: T) => void,
  abandoned = () => {},
): void {
  let isWaiting = true;
  const giveUp = enter((turn) => {
    isWaiting = false;
    subject.giveUp = undefined;
    begin(turn);
  });
  if (!isWaiting) return;
  subject.giveUp = () => {
    giveUp();
    abandoned();
  };
}
