/** A LaunchDarkly whose flag changes all the time, and clients that must get every change. */
import { until } from '../support/eventually.ts';
import type { FakeUpstream } from '../support/fake-upstream.ts';
import { startFakeUpstream } from '../support/fake-upstream.ts';
import type { Clients, Measured } from './clients.ts';
import { CHANGING, changingFlag, ordinaryFlags, otherKey } from './site.ts';

/** It accepts events, and the other environment has no flag but what a test sends. */
export async function startUpstream(): Promise<FakeUpstream> {
  const first = changingFlag({ version: 1, at: Date.now() });
  const upstream = await startFakeUpstream({ flags: { ...ordinaryFlags(), [CHANGING]: first } });
  upstream.dataFor = ({ headers }) => (headers.authorization === otherKey ? { flags: {}, segments: {} } : undefined);
  upstream.answer = ({ method }) => (method === 'POST' ? { status: 202 } : 'stream');
  return upstream;
}

export interface Changes {
  readonly version: number;
  /** Publishes one more and resolves when every stream is open and every client has it. */
  settle(streams: number, withinMs?: number): Promise<Measured>;
  close(): void;
}

export function startChanges(upstream: FakeUpstream, clients: Clients, everyMs: number): Changes {
  let version = 1;
  const change = () => {
    version++;
    const published = { version, at: Date.now() };
    clients.published(published);
    void upstream.patch('flags', changingFlag(published), { to: ({ headers }) => headers.authorization !== otherKey });
  };
  let timer: NodeJS.Timeout | undefined = setInterval(change, everyMs);
  const stop = () => {
    clearInterval(timer);
    timer = undefined;
  };
  return {
    get version() {
      return version;
    },
    async settle(streams, withinMs) {
      const running = timer !== undefined;
      stop();
      change();
      let measured: Measured | undefined;
      const settled = async () => {
        measured = await clients.measure();
        return measured.open === streams && measured.lowest === version;
      };
      try {
        await until(`every client had version ${version} on an open stream`, settled, withinMs);
      } catch (error) {
        throw new Error(`${(error as Error).message}; it was ${JSON.stringify(measured)}`);
      } finally {
        if (running) timer = setInterval(change, everyMs);
      }
      return measured as Measured;
    },
    close: stop,
  };
}
