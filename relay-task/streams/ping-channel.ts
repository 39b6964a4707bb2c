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
  const slotMs = jitterMs / SLOTS;
  /** Connections by slot. Those that have left stay in it until their moment. */
  const bySlot = new Map<number, Connection[]>();
  let beganAt = 0;
  /** The next one to look at. */
  let slot = 0;
  let timer: NodeJS.Timeout | undefined;
  // Timers know whole milliseconds only, and may be late.
  const elapsedSlots = () => (performance.now() - beganAt) / slotMs;

  const turn = () => {
    const due: Connection[][] = [];
    for (const now = elapsedSlots(); slot <= now && bySlot.size > 0; slot++) {
      due.push(bySlot.get(slot) ?? []);
      bySlot.delete(slot);
    }
    if (due.length > 0) send(due.flat());
    if (bySlot.size > 0) return;
    clearInterval(timer);
    timer = undefined;
  };
  return (connections) => {
    if (connections.length === 0) return;
    if (!timer) {
      timer = setInterval(turn, slotMs).unref();
      beganAt = performance.now();
      slot = 0;
    }
    const next = Math.ceil(elapsedSlots());
    for (const connection of connections) {
      const moment = next + Math.floor((SLOTS / 2) * (1 + Math.random()));
      const planned = bySlot.get(moment);
      if (planned) planned.push(connection);
      else bySlot.set(moment, [connection]);
    }
  };
}
