/**
 * Streams of evaluated flags for client-side SDKs, as LaunchDarkly's own service sends them: `put` with everything, then
 * `patch` and `delete` for flags whose value for this context changed.
 *
 * Client-side SDKs ignore a `patch` or `delete` whose version is not above the one that they hold, and they hold the versions of
 * deletions, too. Segments, prerequisites and Big Segments change values without raising a flag's version, and whole sets
 * from upstream may lower versions: then clients get one `put`. A change that alters no value sends nothing, even if it raised
 * a flag's version. So clients may know an older version than the one held for them, but never a newer one.
 *
 * A stream begins with the answers of the present flags: if a pass has not reached its subject yet, that is evaluated first.
 *
 * After a change a pass walks the subjects in slices of a few milliseconds and evaluates the flags that the change can
 * affect. Connections that accept no bytes get one `put` later and have no
 * queue. (@launchdarkly/js-client-sdk-common 1.32, launchdarkly-js-sdk-common 5.8)
 */
import type { Item } from '../../lib/flag-table/index.ts';
import type { EvaluationLines } from '../common/evaluation-lines.ts';
import type { FairTurns } from '../common/fair-turns.ts';
import type { ClientView } from '../ports.ts';
import type { Channel, Subject } from './connection.ts';
import { createEvaluatedAnswers } from './evaluated-answers.ts';
import { createEvaluatedEvents } from './evaluated-events.ts';
import { isLive } from './evaluated-updates.ts';
import { createPasses, type Passes } from './passes.ts';
import { type ChannelBasics, createReaders, nextSnapshotPiece } from './readers.ts';
import type { Affected } from './rounds.ts';
import { createSubjects } from './subjects.ts';

/** The answers themselves are shared. */
const SLOT_BYTES = 8;

interface EvaluatedChannelOptions extends ChannelBasics {
  /** First answers take turns with requests, and share the places for evaluations with them. */
  readonly turns: FairTurns;
  readonly evaluations: EvaluationLines;
  readonly clientView: ClientView;
  affected(items: readonly Item[]): Affected;
}

export function createEvaluatedChannel(options: EvaluatedChannelOptions): Channel {
  const { environment, kind, framing, meter } = options;
  const subjects = createSubjects();
  /** Of the last put that was made. */
  let putBytes = 0;
  const events = createEvaluatedEvents(framing, (bytes) => {
    putBytes = bytes;
    meter.snapshot(environment, kind, bytes);
  });

  const readers = createReaders({
    ...options,
    begin(connection, opening) {
      if (opening.kind !== 'eval') return;
      const { context, withReasons, credentialKind: audience } = opening;
      const subject = subjects.join(connection, context, { audience, withReasons });
      if (subject.connections.length === 1) passesOf(subject).join(subject, connection.address);
      answers.begin(connection, subject);
    },
    nextPiece(connection) {
      const { subject } = connection;
      if (!connection.snapshot && connection.next < 0 && subject?.held && !connection.awaitsAnswers) {
        connection.snapshot = events.put(subject);
        connection.next = 0;
        options.limit([connection]);
      }
      return nextSnapshotPiece(connection);
    },
  });
  const passesOf = ({ context }: Subject) => (context.isPacked ? packedPasses : passes);
  const answers = createEvaluatedAnswers({ ...options, events, readers, passesOf });

  let counted = { generation: -1, flags: 0 };
  const countFlags = () => {
    const { generation } = options.view;
    if (counted.generation !== generation) counted = { generation, flags: [...options.view.items('features')].length };
    return counted.flags;
  };

  /** Flags that are gone. Their slots are freed once no subject may still hold an answer of them. */
  const gone = new Set<string>();
  const freeSlots = (): void => {
    const passed: string[] = [];
    for (const key of gone) {
      const isBack = isLive(options.view, key);
      if (!isBack && allPasses.some(({ concerns }) => concerns(key))) continue;
      gone.delete(key);
      if (!isBack) passed.push(key);
    }
    events.passed(passed);
  };
  const startPasses = (): Passes =>
    createPasses({
      affected: (items) => (events.used ? options.affected(items) : { flagKeys: [], bigSegments: false }),
      ready: () => (events.used ? options.clientView.compile() : undefined),
      prepare: answers.prepare,
      visit: answers.update,
      failed: answers.failed,
      paused: readers.countBytes,
      finished: (since) =>
        meter.broadcast(performance.now() - since, {
          environment: options.environment,
          kind: options.kind,
          since,
          until: since,
        }),
      settled(flagKeys) {
        for (const key of flagKeys) if (!isLive(options.view, key)) gone.add(key);
        freeSlots();
      },
    });
  const passes = startPasses();
  /** On their own, since one visit takes as long as those of a hundred others. */
  const packedPasses = startPasses();
  const allPasses = [passes, packedPasses];

  return {
    ...readers.channel,
    get answerBytes() {
      return SLOT_BYTES * Math.max(events.slots, countFlags());
    },
    get payloadBytes() {
      return putBytes;
    },
    remove(connection) {
      const { subject } = connection;
      subjects.leave(connection);
      if (subject?.connections.length === 0) {
        passesOf(subject).leave(subject);
        answers.abandon(subject);
      }
      readers.channel.remove(connection);
      if (readers.connections.length === 0) events.emptied();
    },
    renew: subjects.renew,
    publish(change) {
      if (readers.connections.length === 0) return;
      events.changed();
      for (const { publish } of allPasses) publish(change);
    },
    refresh(flagKeys) {
      if (readers.connections.length === 0) return;
      events.changed();
      for (const { refresh } of allPasses) refresh(flagKeys);
    },
  };
}
