/** Every kind of stream, one row each: its channel, and the kind that replaces it where an environment cannot serve it. */
import type { Item } from '../../lib/flag-table/index.ts';
import type { EvaluationLines } from '../common/evaluation-lines.ts';
import type { FairTurns } from '../common/fair-turns.ts';
import type { ClientView, ItemView, StreamKind } from '../ports.ts';
import { createChannel } from './channel.ts';
import type { Channel } from './connection.ts';
import { createEvaluatedChannel } from './evaluated-channel.ts';
import { createFDv2Feed, createFeed, type FDv2Source } from './messages.ts';
import { createPingChannel } from './ping-channel.ts';
import type { ChannelBasics } from './readers.ts';
import type { Affected } from './rounds.ts';

/** What an environment holds, and more that is known about it. */
interface StreamedView extends ItemView {
  /** Without it there are no FDv2 streams. */
  readonly fdv2?: FDv2Source;
  /** Which flags may have other values after a change of these items; without it: all. */
  affected?(items: readonly Item[]): Affected;
}

/** An environment as the hub needs it. */
export interface StreamSource {
  readonly name: string;
  readonly view: StreamedView;
  /** Without it streams of evaluated flags get pings. */
  readonly clientView?: ClientView | undefined;
  /** For `X-LD-EnvID`. */
  environmentId?(): string | undefined;
}

export interface ChannelSettings {
  /** Whether streams of evaluated flags send flags, or pings, after which SDKs fetch them. */
  readonly clientStreams: 'evaluated' | 'ping';
  /** Pings are sent at a random moment between half of it and all of it; 0: at once. */
  readonly pingJitterMs: number;
  /** Events that a channel keeps for clients that are behind; those further behind get a `put`. */
  readonly logMessages: number;
  readonly logBytes: number;
  /** In which first answers of streams of evaluated flags are made. */
  readonly turns: FairTurns;
  readonly evaluations: EvaluationLines;
}

interface KindRow {
  /** Undefined if the environment cannot serve this kind. */
  create(basics: ChannelBasics, source: StreamSource, settings: ChannelSettings): Channel | undefined;
  readonly otherwise?: StreamKind;
}

export const streamKinds: Readonly<Record<StreamKind, KindRow>> = {
  all: {
    create: (basics, { view }, settings) => createChannel({ ...basics, ...settings, feed: createFeed('all', view) }),
  },
  flags: {
    create: (basics, { view }, settings) => createChannel({ ...basics, ...settings, feed: createFeed('flags', view) }),
  },
  fdv2: {
    create: (basics, { view }, settings) =>
      view.fdv2 && createChannel({ ...basics, ...settings, feed: createFDv2Feed(view, view.fdv2) }),
  },
  eval: {
    create: (basics, { view, clientView }, { clientStreams, turns, evaluations }) =>
      clientView && clientStreams === 'evaluated'
        ? createEvaluatedChannel({
            ...basics,
            turns,
            evaluations,
            clientView,
            affected: (items) => affectedIn(view, items),
          })
        : undefined,
    otherwise: 'ping',
  },
  ping: {
    create: (basics, _source, { pingJitterMs }) =>
      createPingChannel({ ...basics, kind: 'ping', jitterMs: pingJitterMs }),
  },
  refetch: {
    create: (basics, _source, { pingJitterMs }) =>
      createPingChannel({ ...basics, kind: 'refetch', jitterMs: pingJitterMs }),
  },
};

function affectedIn(view: StreamedView, items: readonly Item[]): Affected {
  if (view.affected) return view.affected(items);
  return { flagKeys: Array.from(view.items('features'), ({ key }) => key), bigSegments: true };
}
