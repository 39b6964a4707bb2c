/** All answers for a subject: when its first connection opens, and when its memberships in Big Segments may have changed. */
import { type EvaluationLines, type EvaluationPlace, evaluationLanes } from '../common/evaluation-lines.ts';
import type { FairTurns } from '../common/fair-turns.ts';
import { inSlices } from '../common/slices.ts';
import { unlessVoid } from '../common/void-steps.ts';
import type { ClientView, EvaluatedFlag } from '../ports.ts';
import type { Subject } from './connection.ts';
import { isLive, type Updates, type UpdatesOptions } from './evaluated-updates.ts';
import type { Passes } from './passes.ts';
import type { ChannelBasics } from './readers.ts';
import { createSubjectTurns, waitFor } from './subject-turns.ts';

export interface ArrivalsOptions extends UpdatesOptions, Pick<ChannelBasics, 'environment' | 'limit'> {
  readonly turns: FairTurns;
  readonly evaluations: EvaluationLines;
  passesOf(subject: Subject): Passes;
}

/** One evaluation of everything for a subject. */
interface Visit {
  readonly subject: Subject;
  /** The last change when memberships were asked for, if any were. */
  readonly asked: number | undefined;
  /** How often it was begun again because a change arrived meanwhile. */
  readonly restarts: number;
  /** In the line. */
  readonly place: EvaluationPlace;
}

/** How often first answers are begun again because a change arrived meanwhile. Then they are sent, and evaluated again. */
const MOST_RESTARTS = 2;

/** `failed`: work for the subject threw. */
export function createArrivals(
  options: ArrivalsOptions,
  updates: Updates,
  failed: (subject: Subject, error: unknown) => void,
) {
  const { environment, view, clientView, events, readers, passesOf } = options;
  const { prepare, isPrepared } = createPreparation(clientView);
  const { guarded, step, inTurns } = createSubjectTurns({ environment, turns: options.turns, failed });

  /** Evaluates everything for the subject, with new memberships, if there is data and nothing else does so. */
  const arrive = (subject: Subject, restarts = 0): void => {
    if (subject.arriving || !view.initialized) return;
    subject.arriving = true;
    const { generation } = passesOf(subject);
    const preparation = prepare(subject);
    // Memberships may have changed since they were asked for.
    const asked = preparation && generation;
    const enter = () => {
      if (subject.connections.length === 0) return;
      const address = subject.connections[0]?.address ?? '';
      const line = options.evaluations[subject.options.audience];
      const lanes = evaluationLanes(environment, address);
      const begin = (place: EvaluationPlace) => {
        const visit = { subject, asked, restarts, place };
        step(visit, () => answer(visit));
      };
      // How many may wait is limited where streams are accepted.
      waitFor<EvaluationPlace>(subject, (enterNow) => line.enter(lanes, enterNow, 0), begin);
    };
    if (!preparation) {
      enter();
      return;
    }
    void preparation.then((isReady) => guarded(subject, isReady ? enter : () => giveUp(subject)));
  };
  /** Once it has its place. */
  const answer = (visit: Visit): void => {
    const { subject, asked, restarts, place } = visit;
    const { held, connections } = subject;
    if (subject.visiting) {
      // A pass is in the middle of it.
      step(visit, () => answer(visit), true);
      return;
    }
    // Many may have opened streams before the first of them were sent anything.
    options.limit(connections.filter(({ awaitsAnswers }) => awaitsAnswers));
    const isAwaited = connections.some(({ reason }) => !reason);
    const isLast = restarts >= MOST_RESTARTS;
    // A change arrived meanwhile, or a Big Segment of another context kind. Others continue while flags are compiled.
    if (!isAwaited || !isPrepared(subject) || (!isLast && clientView.compile())) {
      subject.arriving = false;
      if (isAwaited) arrive(subject, restarts + 1);
      place.leave();
      return;
    }
    const { generation } = passesOf(subject);
    if (held) {
      const all = Array.from(view.items('features'), ({ key }) => key);
      inTurns(visit, updates.visit(subject, held, all, asked ?? generation), () => finish(visit, generation));
      return;
    }
    const hasChanged = () => passesOf(subject).generation !== generation;
    const steps = clientView.evaluateInSteps(subject.context.read(), subject.options, subject.memberships);
    const isVoid = () => connections.length === 0 || (hasChanged() && !isLast) || !isPrepared(subject);
    inTurns(visit, unlessVoid(steps, isVoid), (answers) => {
      // The answers should be those of one state of the environment.
      if (!answers) return answer({ ...visit, restarts: restarts + 1 });
      hold(subject, answers, hasChanged());
      finish(visit, passesOf(subject).generation);
    });
  };
  const hold = (subject: Subject, answers: readonly EvaluatedFlag[], isMixed: boolean): void => {
    // Passes have left out this subject. What they would have sent is sent next.
    subject.outdated ||= isMixed;
    subject.held = events.place(isMixed ? answers.filter(({ key }) => isLive(view, key)) : answers);
  };
  const finish = (visit: Visit, generation: number): void => {
    const { subject, asked, place } = visit;
    subject.arriving = false;
    subject.generation = asked ?? generation;
    admit(subject);
    inTurns(visit, updates.sendMissing(subject), () => {
      if (subject.outdated) {
        subject.outdated = false;
        arrive(subject);
      }
      readers.countBytes();
      place.leave();
    });
  };
  /** Connections that have just joined get what the subject's others were sent, which cannot get more either. */
  const giveUp = (subject: Subject): void => {
    subject.arriving = false;
    admit(subject);
    inSlices(updates.sendMissing(subject)).then(readers.countBytes, (error: unknown) => failed(subject, error));
  };
  return { arrive, prepare, isPrepared };
}

function admit({ connections }: Subject): void {
  for (const connection of connections) connection.awaitsAnswers = false;
}

/** The memberships in Big Segments that subjects need. */
function createPreparation(clientView: ClientView) {
  let lookups = 0;
  const load = (subject: Subject): Promise<boolean> | undefined => {
    const lookup = ++lookups;
    return clientView
      .prepare(subject.context.read(), { patient: true, known: subject.memberships })
      ?.then((memberships) => {
        // Lookups may be answered in another order.
        if (memberships && lookup > subject.lookup) {
          subject.lookup = lookup;
          subject.memberships = memberships;
        }
        return memberships !== undefined;
      });
  };
  return {
    /** Loads the subject's memberships; undefined if it needs none. Resolves with false if none can be had. */
    prepare(subject: Subject): Promise<boolean> | undefined {
      const compiling = clientView.compile();
      return compiling ? compiling.then(() => load(subject) ?? true) : load(subject);
    },
    isPrepared: (subject: Subject) => clientView.isPrepared(subject.context.read(), subject.memberships),
  };
}
