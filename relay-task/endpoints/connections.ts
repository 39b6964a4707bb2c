/**
 * Limits the memory of connections that are not streams. Beyond the limit a newcomer takes the place of another connection: of the
 * address with the most connections, the one that has been idle, or waiting for the rest of a request, for longest. To its client
 * that looks like a keep-alive time-out. A request that is being answered is never cut.
 */
import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import type { Budget } from '../common/budget.ts';

export interface Connections {
  /** A request has arrived on it, or its body as well. */
  begin(socket: Socket): void;
  /** The body of its request is awaited. */
  read(socket: Socket): void;
  /** Everything on it is answered. */
  end(socket: Socket): void;
  /** It has become a stream. */
  leave(socket: Socket): void;
  /** Closes those on which nothing has arrived: browsers open some in advance, and node:http does not count them as idle. */
  closeUnused(): void;
}

/** What one takes in memory, estimated: sockets, parser, buffers; with TLS its keys and buffers, too. */
const CONNECTION_BYTES = 16 * 1024;
const TLS_CONNECTION_BYTES = 48 * 1024;

/** Kept on the socket, since a closed one no longer knows its address. */
const NAME = Symbol('name');
type NamedSocket = Socket & { [NAME]?: string };

interface Entry {
  readonly socket: Socket;
  readonly address: string;
  state: 'unused' | 'reading' | 'busy' | 'idle';
}

export function trackConnections(
  server: Server,
  { budget, tls, refused }: { readonly budget: Budget; readonly tls: boolean; refused(): void },
): Connections {
  const bytes = tls ? TLS_CONNECTION_BYTES : CONNECTION_BYTES;
  /** Those that were used last are at the end. */
  const entries = new Map<string, Entry>();
  const perAddress = new Map<string, number>();

  const forget = (name: string): void => {
    const entry = entries.get(name);
    if (!entry) return;
    entries.delete(name);
    budget.release(bytes);
    const left = (perAddress.get(entry.address) ?? 0) - 1;
    if (left > 0) perAddress.set(entry.address, left);
    else perAddress.delete(entry.address);
  };
  /** Whether one could be closed. */
  const closeOne = (): boolean => {
    let victim: [string, Entry] | undefined;
    for (const [name, entry] of entries) {
      if (entry.state === 'busy') continue;
      if (victim && countOf(entry) <= countOf(victim[1])) continue;
      victim = [name, entry];
    }
    if (!victim) return false;
    forget(victim[0]);
    victim[1].socket.destroy();
    return true;
  };
  const countOf = ({ address }: Entry) => perAddress.get(address) ?? 0;

  server.on('connection', (socket: Socket) => {
    const name = nameOf(socket);
    // It may be gone already.
    if (name === undefined) return;
    if (!budget.reserve(bytes) && !(closeOne() && budget.reserve(bytes))) {
      socket.destroy();
      refused();
      return;
    }
    const address = socket.remoteAddress ?? '';
    entries.set(name, { socket, address, state: 'unused' });
    perAddress.set(address, (perAddress.get(address) ?? 0) + 1);
    (socket as NamedSocket)[NAME] = name;
    socket.on('close', onClose);
  });
  function onClose(this: Socket): void {
    const name = (this as NamedSocket)[NAME];
    // The port may belong to another connection by now.
    if (name !== undefined && entries.get(name)?.socket === this) forget(name);
  }

  const entryOf = (socket: Socket): [string, Entry] | undefined => {
    const name = nameOf(socket);
    const entry = name === undefined ? undefined : entries.get(name);
    return name !== undefined && entry ? [name, entry] : undefined;
  };
  const set = (socket: Socket, state: Entry['state']): void => {
    const [name, entry] = entryOf(socket) ?? [];
    if (name === undefined || !entry) return;
    entry.state = state;
    entries.delete(name);
    entries.set(name, entry);
  };

  return {
    begin: (socket) => set(socket, 'busy'),
    read: (socket) => set(socket, 'reading'),
    end: (socket) => set(socket, 'idle'),
    leave(socket) {
      const [name, entry] = entryOf(socket) ?? [];
      if (name === undefined) return;
      forget(name);
      // Streams hold nothing that they do not need.
      entry?.socket.off('close', onClose);
    },
    closeUnused() {
      for (const { socket, state } of [...entries.values()]) {
        // With TLS, some bytes always arrive.
        if (state === 'unused' && (tls || socket.bytesRead === 0)) socket.destroy();
      }
    },
  };
}

/** The same for a TLS socket and the one below it. */
function nameOf({ remoteAddress, remotePort }: Socket): string | undefined {
  return remotePort === undefined ? undefined : `${remoteAddress} ${remotePort}`;
}
