import type { EvaluationPlace } from '../../../relay-task/common/evaluation-lines.ts';
import type { Subject } from '../../../relay-task/streams/connection.ts';
import { createSubjectTurns, waitFor } from '../../../relay-task/streams/subject-turns.ts';
import { turnsOfLoop } from '../../support/eventually.ts';

function start() {
  const log: string[] = [];
  const subject = { giveUp: undefined } as unknown as Subject;
  const place = {
    after: () => undefined,
    leave: () => void log.push('left'),
  } as unknown as EvaluationPlace;
  const turns = createSubjectTurns({
    environment: 'e',
    turns: { await: () => undefined },
    failed: (_, error) => log.push(String(error)),
  });
  return { ...turns, visit: { subject, place }, log };
}

test('work that throws in its turn costs its subject the place, and is reported', () => {
  const { step, visit, log } = start();
  step(visit, () => {
    throw new Error('a fault');
  });
  expect(log).toEqual(['left', 'Error: a fault']);
});

test('work that is put off is done in a later turn of the event loop', async () => {
  const { step, visit, log } = start();
  step(visit, () => log.push('done'), true);
  expect(log).toEqual([]);
  await turnsOfLoop(2);
  expect(log).toEqual(['done']);
});

test('steps run to their end and hand on what they return', () => {
  const { inTurns, visit, log } = start();
  const steps = (function* () {
    yield;
    return 'answers';
  })();
  inTurns(visit, steps, (result) => log.push(result));
  expect(log).toEqual(['answers']);
});

test('a subject that waits begins once, or gives up and releases what it held', () => {
  const log: string[] = [];
  const subject: Pick<Subject, 'giveUp'> = { giveUp: undefined };
  let admit = (_turn: string) => {};
  const enter = (begin: (turn: string) => void) => {
    admit = begin;
    return () => void log.push('out of the line');
  };
  waitFor(subject, enter, (turn) => log.push(turn));
  admit('first');
  expect(subject.giveUp).toBeUndefined();
  waitFor(
    subject,
    enter,
    () => log.push('never'),
    () => log.push('let go'),
  );
  subject.giveUp?.();
  expect(log).toEqual(['first', 'out of the line', 'let go']);
});

test('a subject that may begin at once leaves nothing to give up', () => {
  const subject: Pick<Subject, 'giveUp'> = { giveUp: undefined };
  waitFor<number>(
    subject,
    (begin) => {
      begin(1);
      return () => {};
    },
    () => {},
  );
  expect(subject.giveUp).toBeUndefined();
});
