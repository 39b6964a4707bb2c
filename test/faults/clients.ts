/** The process with well-behaved clients, as the suites see it. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { root } from '../support/relay-process.ts';
import type { Published } from './site.ts';

export type StreamKind = 'server' | 'browser' | 'mobile';

/** Each but `published` is answered with what was measured. */
export type Order =
  | {
      readonly order: 'start';
      readonly port: number;
      readonly streams: number;
      /** In turn. */
      readonly kinds: readonly StreamKind[];
      readonly sdks: number;
    }
  | ({ readonly order: 'published' } & Published)
  | { readonly order: 'begin' | 'measure' };

/** Since `begin`, of all clients. */
export interface Measured {
  /** Streams that are open now and have had their first event. */
  readonly open: number;
  /** The lowest version that any client holds. */
  readonly lowest: number;
  /** The longest time that a client was without a stream. */
  readonly gapMs: number;
  /** The longest time from the publication of a version until a client had it or a newer one. */
  readonly behindMs: number;
  readonly repeated: number;
  readonly skipped: number;
  readonly backwards: number;
  /** Attempts to open a stream that failed, by status or reason. */
  readonly refused: Readonly<Record<string, number>>;
}

export interface Clients {
  start(options: Omit<Extract<Order, { order: 'start' }>, 'order'>): Promise<void>;
  published(published: Published): void;
  begin(): Promise<void>;
  measure(): Promise<Measured>;
  close(): Promise<void>;
}

/** A child process of these suites that runs a TypeScript file and ends with this process. */
export function forkTypeScript(file: string, args: readonly string[] = []): ChildProcess {
  return fork(join(root, 'test/faults', file), args, { execArgv: ['--import', 'tsx'], cwd: root });
}

/** The next message of a child. Rejects if it ends first. */
export async function answered<T>(child: ChildProcess): Promise<T> {
  const stopped = new AbortController();
  try {
    const { signal } = stopped;
    const ended = once(child, 'exit', { signal }).then(([code]) => {
      throw new Error(`the child process ended with ${code}`);
    });
    const [message] = await Promise.race([once(child, 'message', { signal }), ended]);
    return message as T;
  } finally {
    stopped.abort();
  }
}

export async function stopChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}

export function startClients(): Clients {
  const child = forkTypeScript('clients-child.ts');
  let last: Promise<unknown> = Promise.resolve();
  /** One question at a time. */
  const ask = (order: Order): Promise<Measured> => {
    const answer = last.then(() => {
      const waiting = answered<Measured>(child);
      child.send(order);
      return waiting;
    });
    last = answer.catch(() => {});
    return answer;
  };
  return {
    start: async (options) => void (await ask({ order: 'start', ...options })),
    published: (published) => void child.send({ order: 'published', ...published } satisfies Order),
    begin: async () => void (await ask({ order: 'begin' })),
    measure: () => ask({ order: 'measure' }),
    close: () => stopChild(child),
  };
}
