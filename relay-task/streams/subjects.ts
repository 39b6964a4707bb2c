/** Streams for the same context with the same options are one subject: evaluated once and sent the same bytes. */
import { createHash } from 'node:crypto';
import type { Context } from '../../lib/evaluation/index.ts';
import { canonicalJson } from '../common/json.ts';
import type { EvaluationOptions } from '../ports.ts';
import { type Connection, Subject, swapRemove } from './connection.ts';

export interface Subjects {
  /** Those with connections, in no order. */
  readonly list: readonly Subject[];
  /** Adds the connection to its subject. */
  join(connection: Connection, context: Context, options: EvaluationOptions): Subject;
  leave(connection: Connection): void;
  /** Connections that join from now on share no subject with those before. */
  renew(): void;
}

export function createSubjects(): Subjects {
  const list: Subject[] = [];
  const byId = new Map<string, Subject>();
  return {
    list,
    join(connection, context, options) {
      const id = idOf(context, options);
      let subject = id === undefined ? undefined : byId.get(id);
      if (subject === undefined) {
        subject = new Subject(id ?? '', context, options);
        subject.index = list.push(subject) - 1;
        if (id !== undefined) byId.set(id, subject);
      }
      subject.connections.push(connection);
      connection.subject = subject;
      return subject;
    },
    leave(connection) {
      const { subject } = connection;
      if (subject === undefined) return;
      connection.subject = undefined;
      // Few connections share a subject; even thousands are scanned in microseconds.
      swapRemove(subject.connections, subject.connections.indexOf(connection), () => {});
      if (subject.connections.length > 0) return;
      if (byId.get(subject.id) === subject) byId.delete(subject.id);
      swapRemove(list, subject.index, (moved, index) => {
        moved.index = index;
      });
      subject.index = -1;
    },
    renew: () => byId.clear(),
  };
}

/** A digest of context and options, independent of the order of attributes; undefined if they cannot be written as JSON. */
function idOf(context: Context, { audience, withReasons }: EvaluationOptions): string | undefined {
  try {
    const text = canonicalJson(context);
    return createHash('sha256').update(`${audience} ${withReasons} ${text}`).digest('base64');
  } catch {
    // Nested too deeply for the stack: it gets a subject of its own.
    return undefined;
  }
}
