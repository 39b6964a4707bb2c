/**
 * Streams that only say that something changed: a `ping`, after which client-side SDKs fetch their flags. Its data is one
 * space, since parsers drop events with empty data. OpenFeature's providers get the same in the format of OFREP's event
 * streams (github.com/open-feature/protocol, ADR 8).
 *
 * Pings are spread so that the fetches are: each connection gets one at a random moment between half of `jitterMs` and all
 * of it, which covers every change until then.
 */

import { inNextTurn } from '../common/slices.ts';
import type { Channel, Connection } from './connection.ts';
import { frame } from './framing.ts';
import { type ChannelBasics, createReaders, SLICE_CONNECTIONS } from './readers.ts';

interface PingChannelOptions extends ChannelBasics {
  readonly kind: 'ping' | 'refetch';
  readonly jitterMs: number;
}

const texts = { ping: 'event: ping\ndata:  \n\n', refetch: 'data: {"type":"refetchEvaluation"}\n\n' };
/** Moments at which spread pings are sent. */
const SLOTS = 64;

export function createPingChannel(options: PingChannelOptions): Channel {
  const { kind, framing, view, jitterMs } = options;
  const ping = frame(texts[kind], framing);

  /** `next` is -1 while a ping is due, otherwise 0. */
  const readers = createReaders({
    ...options,
    begin(connection) {
      if (!view.initialized) connection.next = 0;
    },
    nextPiece(connection) {
      if (connection.next === 0 || connection.inChannel < 0 || !view.initialized) return undefined;
      connection.next = 0;
      return ping;
    },
  });
  const sendAll = (list: Connection[]): void => {
    for (const connection of list.splice(-SLICE_CONNECTIONS)) if (connection.lateSince === 0) readers.send(connection);
    readers.countBytes();
    if (list.length > 0) inNextTurn(() => sendAll(list));
  };
  const spread = createSpread(jitterMs, sendAll);
  const announce = () => {
    const due = readers.connections.filter((connection) => connection.next === 0);
    for (const connection of due) connection.next = -1;
    if (jitterMs > 0) spread(due);
    else inNextTurn(() => sendAll(due));
  };

  return {
    ...readers.channel,
    publish: announce,
    refresh: announce,
  };
}

/** Calls `send` with each connection at a random moment between half of `jitterMs` and all of it, by one timer. */
function createSpread(jitterMs: number, send: (due: Connection[]) => void): (connections: Connection[]) => void {
  /** Connections by tick. Those that have left stay in it until their moment. */
  const byMoment = new Map<number, Connection[]>();
  let tick = 0;
  let timer: NodeJS.Timeout | undefined;

  const turn = () => {
    const due = byMoment.get(tick);
    byMoment.delete(tick++);
    if (due) send(due);
    if (byMoment.size > 0) return;
    clearInterval(timer);
    timer = undefined;
  };
  return (connections) => {
    for (const connection of connections) {
      const moment = tick + Math.floor(SLOTS * (0.5 + 0.5 * Math.random()) * 0.999);
      const planned = byMoment.get(moment);
      if (planned) planned.push(connection);
      else byMoment.set(moment, [connection]);
    }
    if (byMoment.size > 0) timer ??= setInterval(turn, jitterMs / SLOTS).unref();
  };
}
