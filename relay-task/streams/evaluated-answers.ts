/** The answers that subjects hold: how they are made first, and kept up to date. */
import type { Connection, Subject } from './connection.ts';
import { type ArrivalsOptions, createArrivals } from './evaluated-arrivals.ts';
import { createUpdates } from './evaluated-updates.ts';
import type { ChannelBasics } from './readers.ts';
import type { Work } from './rounds.ts';

interface AnswersOptions extends ArrivalsOptions, Pick<ChannelBasics, 'failed'> {}

export function createEvaluatedAnswers(options: AnswersOptions) {
  const { passesOf } = options;
  /** Work for these subjects threw: their connections are closed. */
  const failed = (subjects: readonly Subject[], error: unknown): void => {
    for (const subject of subjects) subject.arriving = false;
    options.failed(
      subjects.flatMap(({ connections }) => connections),
      error,
    );
  };
  const updates = createUpdates(options);
  const { arrive, prepare, isPrepared } = createArrivals(options, updates, (subject, error) =>
    failed([subject], error),
  );

  /** Whether the subject has been evaluated since the last change. */
  const isCurrent = (subject: Subject) => {
    const { idle, generation } = passesOf(subject);
    return subject.held !== undefined && (idle || subject.generation === generation);
  };

  return {
    /** A connection joined the subject, and starts. */
    begin(connection: Connection, subject: Subject): void {
      if (isCurrent(subject)) return;
      connection.awaitsAnswers = true;
      updates.starting(connection, () => arrive(subject));
    },
    /** Loads the memberships that the work needs; undefined if there is nothing to wait for. */
    prepare: (subject: Subject, { bigSegments }: Work) =>
      subject.held && (bigSegments || !isPrepared(subject)) ? prepare(subject) : undefined,
    /** Evaluates what the work is about, and sends what changed. */
    *update(subject: Subject, { flagKeys, bigSegments, generation }: Work): Generator<void, void> {
      const { held } = subject;
      if (held && isPrepared(subject) && !subject.visiting) {
        yield* updates.visit(subject, held, flagKeys, generation);
        return;
      }
      if (subject.visiting || (subject.arriving && bigSegments)) subject.outdated = true;
      arrive(subject);
      // The slots of flags that are gone are freed after the pass.
      if (held) yield* updates.withdraw(subject, held, flagKeys);
    },
    /** No connection of the subject is left. */
    abandon(subject: Subject): void {
      subject.giveUp?.();
      subject.giveUp = undefined;
    },
    failed,
  };
}
