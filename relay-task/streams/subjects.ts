/** Streams for the same context with the same options are one subject: evaluated once and sent the same bytes. */
import type { EvaluationOptions, HeldContext } from '../ports.ts';
import { type Connection, Subject, swapRemove } from './connection.ts';

export function createSubjects() {
  const byId = new Map<string, Subject>();
  return {
    /** Adds the connection to its subject. */
    join(connection: Connection, context: HeldContext, options: EvaluationOptions): Subject {
      const id = idOf(context, options);
      let subject = byId.get(id);
      if (subject === undefined) {
        subject = new Subject(id, context, options);
        byId.set(id, subject);
      }
      subject.connections.push(connection);
      connection.subject = subject;
      return subject;
    },
    leave(connection: Connection): void {
      const { subject } = connection;
      if (subject === undefined) return;
      connection.subject = undefined;
      // Few connections share a subject; even thousands are scanned in microseconds.
      swapRemove(subject.connections, subject.connections.indexOf(connection), () => {});
      if (subject.connections.length === 0 && byId.get(subject.id) === subject) byId.delete(subject.id);
    },
    /** Connections that join from now on share no subject with those before. */
    renew: () => byId.clear(),
  };
}

function idOf({ id }: HeldContext, { audience, withReasons }: EvaluationOptions): string {
  return `${audience} ${withReasons} ${id}`;
}
