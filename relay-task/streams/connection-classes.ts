/** What connections share: places for first payloads, and memory. Server SDKs have their own, so that they never wait behind browsers. */
import type { Budget } from '../common/budget.ts';
import { createAdmission } from './admission.ts';
import { type Connection, hangUp } from './connection.ts';
import { sizeOf } from './framing.ts';
import { createRoom } from './room.ts';

export interface ConnectionClassesOptions {
  /**
   * How many first payloads are sent at once, and how many streams may wait for theirs: of server SDKs, and of client-side SDKs.
   * One environment takes half of the places and four fifths of the queue at most, one address a third and three quarters.
   */
  readonly maxInitialInFlight: number;
  readonly maxInitialWaiting: number;
  readonly memory: StreamMemory;
  /** Ms since the hub was created. */
  now(): number;
  /** Connections that have read nothing for a while and may be closed for others; oldest first. */
  idle(): readonly Connection[];
  /** One that waited begins. */
  start(connection: Connection): void;
}

/** What streams of server SDKs, and of client-side SDKs, may take in memory. */
interface StreamMemory {
  readonly servers: Budget;
  readonly clients: Budget;
}

export function createConnectionClasses(options: ConnectionClassesOptions) {
  const servers = createClass(options.memory.servers, options);
  const clients = createClass(options.memory.clients, options);
  const classes = [servers, clients];
  const classOf = ({ credentialKind }: Connection) => (credentialKind === 'sdkKey' ? servers : clients);

  const leave = (connection: Connection): void => {
    if (connection.admittedAt === 0) return;
    connection.admittedAt = 0;
    classOf(connection).admission.leave(connection);
    connection.needsPlace = false;
  };

  return {
    /** Connections that wait for their first payload. */
    get waiting() {
      return classes.reduce((sum, { admission }) => sum + admission.waiting, 0);
    },
    /** Connections that hold a place for theirs. */
    get starting() {
      return classes.reduce((sum, { admission }) => sum + admission.inFlight, 0);
    },
    /** Whether it may start now, or later, or why it is turned away. */
    ask(connection: Connection): 'now' | 'later' | 'memory' | 'queue' {
      const { room, admission } = classOf(connection);
      if (!room.reserve(connection)) return 'memory';
      const answer = admission.ask(connection);
      if (answer !== 'no') return answer;
      room.release(connection);
      return 'queue';
    },
    /** Its socket accepts no more. A first payload, even if it was made later than its stream opened, takes a place. */
    enter(connection: Connection): void {
      if (!connection.needsPlace || connection.admittedAt > 0) return;
      connection.admittedAt = options.now();
      classOf(connection).admission.enter(connection);
    },
    /** It holds no place for its first payload any more. */
    leave,
    countUnread: (connection: Connection) => classOf(connection).room.countUnread(connection),
    /** See `ChannelBasics`. */
    limit(connections: readonly Connection[]): void {
      for (const connection of [...connections]) {
        const { snapshot, channel } = connection;
        const bytes = snapshot ? sizeOf(snapshot) : (channel.payloadBytes ?? 0);
        if (classOf(connection).room.reserveFor(connection, bytes)) continue;
        hangUp(connection, 'memory');
        connection.snapshot = undefined;
      }
    },
    /** Others may have waited for its memory only. */
    proceed: (connection: Connection) => classOf(connection).admission.proceed(),
    /** It is closed. */
    release(connection: Connection): void {
      const { room, admission } = classOf(connection);
      if (connection.needsPlace && connection.admittedAt === 0) admission.forget(connection);
      connection.snapshot = undefined;
      room.release(connection);
      leave(connection);
    },
    /** Removes and returns those that waited for their first payload. */
    withdraw: (condition: (connection: Connection) => boolean) =>
      classes.flatMap(({ admission }) => admission.withdraw(condition)),
    /** All late connections were looked at: there may be room again. */
    swept(): void {
      for (const { room, admission } of classes) {
        room.swept();
        admission.proceed();
      }
    },
  };
}

function createClass(budget: Budget, options: ConnectionClassesOptions) {
  const room = createRoom({ budget, idle: options.idle, close: (connection) => hangUp(connection, 'memory') });
  const admission = createAdmission<Connection>({
    maxInFlight: options.maxInitialInFlight,
    maxWaiting: options.maxInitialWaiting,
    lanesOf: ({ lanes }) => lanes,
    hasRoom(connection) {
      const { payloadBytes } = connection.channel;
      return payloadBytes === undefined ? !budget.full : room.hasRoomFor(connection, payloadBytes);
    },
    admit: (connection) => {
      if (connection.socket.destroyed || connection.reason) return;
      // Otherwise more of those that wait would be let in than there is room for.
      room.reserveFor(connection, connection.channel.payloadBytes ?? 0);
      options.start(connection);
    },
  });
  return { room, admission };
}
