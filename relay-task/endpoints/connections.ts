/**
 * Limits the memory of connections that are no streams, and shares it by the addresses of their sockets: one gets no more than eight
 * ninths, so that others find room. When little is left, each newcomer makes room, of the address with the most connections: the one
 * on which requests came last ends with its present answer, and if that is too late, the one is closed that has been idle, or waiting
 * for the rest of a request, for longest, or else the one whose client has left its answer unread for longest. To its client that
 * looks like a keep-alive time-out. A request whose answer is being made is never cut.
 */
import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import type { Budget } from '../common/budget.ts';
import { createShares } from '../common/shares.ts';
import { TLS_BYTES } from '../common/tls-bytes.ts';
import { clientAddress } from './client-address.ts';

/** What one takes in memory, estimated: sockets, parser, buffers. */
const CONNECTION_BYTES = 16 * 1024;
/** Of the places that are free, for one address: not less, since behind a load balancer its few addresses are all there are. */
const SHARE_TIMES = 8;
/** A connection whose answer stays unread for this long may be closed for another one. Clients that read need less. */
const UNREAD_MS = 500;
/** Of all places: while no more than this part is left for an address, its newcomers make room. */
const SPARE = 1 / 16;

/** Kept on the socket, since a closed one no longer knows its address. */
const NAME = Symbol('name');
type NamedSocket = Socket & { [NAME]?: string };

interface Entry {
  readonly name: string;
  readonly socket: Socket;
  readonly address: string;
  state: 'unused' | 'reading' | 'busy' | 'idle';
  /** Ends with its present answer. */
  isLast: boolean;
  /** `performance.now()` when it was first seen with an answer that its client has not read; 0: it was not. */
  unreadSince: number;
}

/** Of the connections of one kind, those of one address. */
interface Ends {
  isOne(entry: Entry, now: number): boolean;
  /** How many connections of any kind it has. */
  held: number;
  first: Entry | undefined;
  last: Entry | undefined;
}

export type Connections = ReturnType<typeof trackConnections>;

export function trackConnections(
  server: Server,
  { budget, tls, refused }: { readonly budget: Budget; readonly tls: boolean; refused(): void },
) {
  const bytes = CONNECTION_BYTES + (tls ? TLS_BYTES : 0);
  /** Those that were used last are at the end. */
  const entries = new Map<string, Entry>();
  const places = createShares(() => Math.floor(budget.freeBytes / bytes), SHARE_TIMES);
  /** Places. So many connections that have just been opened are spared, too: their first requests may be on their way. */
  const spare = Math.ceil((budget.maxBytes / bytes) * SPARE);
  /** How many of them are unused. */
  let unused = 0;

  const forget = (name: string): void => {
    const entry = entries.get(name);
    if (!entry) return;
    entries.delete(name);
    if (entry.state === 'unused') unused -= 1;
    budget.release(bytes);
    places.giveBack([entry.address]);
  };
  /** Whether a connection of this address may be opened. */
  const makeRoom = (address: string): boolean => {
    if (places.fits([address], spare)) return true;
    const isIdle = ({ state }: Entry) => state !== 'busy' && (state !== 'unused' || unused > spare);
    const [busy, idle, unread] = endsOf(entries.values(), places.heldBy, [isBusy, isIdle, isUnread]);
    if (busy?.last) busy.last.isLast = true;
    if (places.fits([address])) return true;
    for (const victim of [idle?.first, unread?.first]) {
      // A flood takes no place of addresses that have fewer.
      if (!victim || places.heldBy(victim.address) < places.heldBy(address)) continue;
      forget(victim.name);
      victim.socket.destroy();
      return true;
    }
    return false;
  };

  server.on('connection', (socket: Socket) => {
    const name = nameOf(socket);
    // It may be gone already.
    if (name === undefined) return;
    // An earlier one with its port is gone, even if its end has not been heard of.
    forget(name);
    const address = clientAddress({ headers: {}, socket });
    if (!makeRoom(address) || !budget.reserve(bytes)) {
      socket.destroy();
      refused();
      return;
    }
    entries.set(name, { name, socket, address, state: 'unused', isLast: false, unreadSince: 0 });
    unused += 1;
    places.take([address]);
    (socket as NamedSocket)[NAME] = name;
    socket.on('close', onClose);
  });
  function onClose(this: Socket): void {
    const name = (this as NamedSocket)[NAME];
    // The port may belong to another connection by now.
    if (name !== undefined && entries.get(name)?.socket === this) forget(name);
  }

  const entryOf = (socket: NamedSocket): Entry | undefined => {
    socket[NAME] ??= nameOf(socket);
    return socket[NAME] === undefined ? undefined : entries.get(socket[NAME]);
  };
  const set = (socket: Socket, state: Exclude<Entry['state'], 'unused'>): void => {
    const entry = entryOf(socket);
    if (!entry) return;
    if (entry.state === 'unused') unused -= 1;
    entry.state = state;
    entries.delete(entry.name);
    entries.set(entry.name, entry);
  };

  return {
    /** A request has arrived on it, or its body as well. */
    begin: (socket: Socket) => set(socket, 'busy'),
    /** The body of its request is awaited. */
    read: (socket: Socket) => set(socket, 'reading'),
    /** Everything on it is answered. */
    end: (socket: Socket) => set(socket, 'idle'),
    /** Whether it must end with its present answer. */
    isLast: (socket: Socket) => entryOf(socket)?.isLast === true,
    /** It has become a stream. */
    leave(socket: Socket): void {
      const entry = entryOf(socket);
      if (!entry) return;
      forget(entry.name);
      // Streams hold nothing that they do not need.
      entry.socket.off('close', onClose);
    },
    /** Closes those on which nothing has arrived: browsers open some in advance, and node:http does not count them as idle. */
    closeUnused(): void {
      for (const { socket, state } of [...entries.values()]) {
        // With TLS, some bytes always arrive.
        if (state === 'unused' && (tls || socket.bytesRead === 0)) socket.destroy();
      }
    },
  };
}

/**
 * For each kind, of the address with the most connections among those that have one of it: the one that was used first, and the one that
 * was used last. All in one pass, since a flood of newcomers looks each time.
 */
function endsOf(
  entries: Iterable<Entry>,
  heldBy: (address: string) => number,
  kinds: readonly Ends['isOne'][],
): readonly Ends[] {
  const ends = kinds.map((isOne): Ends => ({ isOne, held: 0, first: undefined, last: undefined }));
  const now = performance.now();
  for (const entry of entries) {
    const held = heldBy(entry.address);
    for (const end of ends) {
      if (!end.isOne(entry, now)) continue;
      if (held > end.held) Object.assign(end, { held, first: entry });
      if (entry.address === end.first?.address) end.last = entry;
    }
  }
  return ends;
}

/** Remembers when it first saw the answer unread, so it takes two looks to be true. */
function isUnread(entry: Entry, now: number): boolean {
  if (entry.state !== 'busy' || entry.socket.writableLength === 0) entry.unreadSince = 0;
  else if (entry.unreadSince === 0) entry.unreadSince = now;
  else return now - entry.unreadSince >= UNREAD_MS;
  return false;
}

const isBusy = ({ state, isLast }: Entry) => state === 'busy' && !isLast;

/** The same for a TLS socket and the one below it. */
function nameOf({ remoteAddress, remotePort }: Socket): string | undefined {
  return remotePort === undefined ? undefined : `${remoteAddress} ${remotePort}`;
}
