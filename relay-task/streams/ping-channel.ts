/**
 * Streams that only say that something changed: `ping`, upon which client-side SDKs fetch their flags. The data is one
 * space, since parsers drop an event whose data is empty. Providers of OpenFeature are told in the words of OFREP's event
 * streams (github.com/open-feature/protocol, ADR 8), upon which they do the same.
 *
 * Pings are spread, so that what fetches is spread: each reader's comes at a random moment between half and all of
 * `jitterMs`, and stands for every change until then.
 */
import type { Channel, ChannelBasics } from './channel.ts';
import { type Connection, swapRemove } from './connection.ts';
import { createHeads, frame } from './framing.ts';

export interface PingChannelOptions extends ChannelBasics {
  readonly kind: 'ping' | 'refetch';
  readonly jitterMs: number;
}

const texts = { ping: 'event: ping\ndata:  \n\n', refetch: 'data: {"type":"refetchEvaluation"}\n\n' };
/** Moments at which pings are sent while they are spread. */
const SLOTS = 64;
/** Readers told in one turn of the event loop. */
const SLICE_READERS = 512;

export function createPingChannel(options: PingChannelOptions): Channel {
  const { view, framing, jitterMs, meter } = options;
  const head = createHeads(framing, options.environmentId);
  const ping = frame(texts[options.kind], framing);
  const connections: Connection[] = [];
  /** Who is to be told, by moment; a ring. Who has left meanwhile is still in it, until its moment. */
  const ring: Connection[][] = Array.from({ length: SLOTS }, () => []);
  let planned = 0;
  let tick = 0;
  let timer: NodeJS.Timeout | undefined;

  /** `next` is -1 while a ping is owed, 0 otherwise. */
  const send = (connection: Connection): void => {
    if (connection.next === 0 || connection.inChannel < 0 || !view.initialized) return;
    connection.next = 0;
    meter.wrote(ping.length);
    const { socket } = connection;
    if (!socket.write(ping) && socket.writableLength > 0) options.late(connection);
  };
  const sendAll = (list: Connection[]): void => {
    for (const connection of list.splice(-SLICE_READERS)) if (connection.lateSince === 0) send(connection);
    if (list.length > 0) setImmediate(sendAll, list);
  };
  const turn = () => {
    const due = ring[tick % SLOTS]!;
    tick++;
    planned -= due.length;
    sendAll(due.splice(0));
    if (planned > 0) return;
    clearInterval(timer);
    timer = undefined;
  };
  const plan = (connection: Connection) => {
    const moment = tick + Math.floor(SLOTS * (0.5 + 0.5 * Math.random()) * 0.999);
    ring[moment % SLOTS]!.push(connection);
    planned++;
  };
  const announce = () => {
    const owed = connections.filter((connection) => connection.next === 0);
    for (const connection of owed) connection.next = -1;
    if (jitterMs <= 0) return void setImmediate(sendAll, owed);
    for (const connection of owed) plan(connection);
    if (planned > 0) timer ??= setInterval(turn, jitterMs / SLOTS).unref();
  };

  return {
    environment: options.environment,
    kind: options.kind,
    framing,
    connections,
    start(connection) {
      connection.inChannel = connections.push(connection) - 1;
      const { socket, opening } = connection;
      connection.opening = undefined;
      const bytes = head(opening?.headers);
      meter.wrote(bytes.length);
      socket.cork();
      socket.write(bytes);
      if (view.initialized) send(connection);
      else connection.next = 0;
      socket.uncork();
      if (connection.lateSince === 0 && socket.writableLength > 0) options.late(connection);
    },
    remove(connection) {
      if (connection.inChannel < 0) return;
      swapRemove(connections, connection.inChannel, (moved, index) => {
        moved.inChannel = index;
      });
      connection.inChannel = -1;
    },
    send,
    publish: announce,
    refresh: announce,
  };
}
