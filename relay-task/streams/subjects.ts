/**
 * Whom flags are evaluated for. Streams for the same context with the same options are one subject: evaluated once, told
 * with the same bytes.
 */
import { createHash } from 'node:crypto';
import type { Context } from '../../lib/evaluation/index.ts';
import type { EvaluatedFlag, EvaluationOptions } from '../ports.ts';
import { type Connection, swapRemove } from './connection.ts';

export class Subject {
  readonly id: string;
  readonly context: Context;
  readonly options: EvaluationOptions;
  readonly connections: Connection[] = [];
  /**
   * What its readers were last told of each flag, by the flag's slot; undefined until there is data. The answers belong to
   * the view, which makes each once: a slot costs a pointer.
   */
  held: (EvaluatedFlag | undefined)[] | undefined = undefined;
  /** Rises when `held` becomes different. */
  stamp = 0;
  /** Whether its first answers are on their way. */
  arriving = false;
  /** Its place in the list. */
  index = -1;

  constructor(id: string, context: Context, options: EvaluationOptions) {
    this.id = id;
    this.context = context;
    this.options = options;
  }
}

export interface Subjects {
  /** Those with readers, in no order. */
  readonly list: readonly Subject[];
  /** Makes the connection a reader of its subject. */
  join(connection: Connection, context: Context, options: EvaluationOptions): Subject;
  leave(connection: Connection): void;
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
      // Few share a subject; where thousands do, a scan is still microseconds.
      swapRemove(subject.connections, subject.connections.indexOf(connection), () => {});
      if (subject.connections.length > 0) return;
      byId.delete(subject.id);
      swapRemove(list, subject.index, (moved, index) => {
        moved.index = index;
      });
      subject.index = -1;
    },
  };
}

/** A digest of context and options, in which the order of attributes means nothing; undefined for what cannot be written as JSON. */
function idOf(context: Context, { audience, withReasons }: EvaluationOptions): string | undefined {
  try {
    const text = canonicalJson(context);
    return createHash('sha256').update(`${audience} ${withReasons} ${text}`).digest('base64');
  } catch {
    // Nested deeper than the stack: it shares with nobody.
    return undefined;
  }
}

function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, part: unknown) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );
}
