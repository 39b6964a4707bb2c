/** One relay process of limited memory for a test of its own, and what the tests ask it. */
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { eventually } from '../support/eventually.ts';
import { residentMemory } from '../support/memory-limit.ts';
import { listeningPort, type RelayProcess, type RunOptions, runRelay } from '../support/relay-process.ts';

const LIMIT_BYTES = 512 * 1024 * 1024;

export interface OneRelay extends RelayProcess {
  readonly port: number;
  readonly pid: number;
  /** Processor time so far, of all its threads. */
  cpuMs(): number;
  /** Throws if the process has ended or has ever taken more memory than it may. */
  expectWell(): Promise<void>;
  close(): Promise<unknown>;
}

/** Resolves when it listens. */
export async function startOneRelay(variables: Record<string, string>, options: RunOptions = {}): Promise<OneRelay> {
  const relay = runRelay(variables, [], { limitBytes: LIMIT_BYTES, steppedClock: true, ...options });
  const close = () => relay.child.kill('SIGKILL') && relay.exited;
  let gone: string | undefined;
  void relay.exited.then((code) => {
    gone = `the relay ended with ${code ?? relay.child.signalCode}: ${relay.output().stderr.slice(-2_000)}`;
  });
  const pid = relay.child.pid ?? 0;
  const port = await eventually(() => {
    if (gone !== undefined) return Promise.reject(new Error(gone));
    return listeningPort(relay.output().stdout);
  }).catch(async (error) => {
    await close();
    throw error;
  });
  return {
    ...relay,
    ...{ port, pid, close: async () => close() },
    cpuMs() {
      // Fields 14 and 15, in hundredths of a second; the second field is the name in parentheses.
      const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
        .replace(/^.*\) /, '')
        .split(' ');
      return 10 * (Number(fields[11]) + Number(fields[12]));
    },
    async expectWell() {
      expect(gone).toBeUndefined();
      const answer = await fetch(`http://127.0.0.1:${port}/livez`);
      expect(answer.status).toBe(200);
      expect(residentMemory(pid)?.peakBytes).toBeLessThan(LIMIT_BYTES);
    },
  };
}

interface RawAnswer {
  /** Everything that has come so far. */
  text(): string;
  statuses(): readonly number[];
  /** The first status; 0 if the relay closes the connection without one. */
  status(): Promise<number>;
  /** Resolves when the relay has closed the connection. */
  readonly closed: Promise<void>;
  close(): void;
}

/** Sends these bytes as they are. */
export function sendRaw(port: number, ...parts: readonly (string | Buffer)[]): RawAnswer {
  const socket = connect(port, '127.0.0.1');
  let text = '';
  socket.on('data', (bytes) => {
    text += bytes.toString('latin1');
  });
  socket.on('error', () => {});
  let over = false;
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  void closed.then(() => {
    over = true;
  });
  const statuses = () => [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status));
  for (const part of parts) socket.write(part);
  return {
    text: () => text,
    statuses,
    status: () =>
      eventually(() => {
        const [status] = statuses();
        if (status === undefined && !over) throw new Error('no answer');
        return status ?? 0;
      }),
    closed,
    close: () => socket.destroy(),
  };
}

/** The first status of the answer to these bytes; 0 if the relay closes the connection without one. */
export async function statusOf(port: number, ...parts: readonly (string | Buffer)[]): Promise<number> {
  const answer = sendRaw(port, ...parts);
  try {
    return await answer.status();
  } finally {
    answer.close();
  }
}

/** A POST with this body. */
export function post(path: string, body: Buffer | string, headers: readonly string[] = []): Buffer {
  const bytes = Buffer.from(body);
  const lines = [
    `POST ${path} HTTP/1.1`,
    'Host: relay',
    'Content-Type: application/json',
    `Content-Length: ${bytes.length}`,
  ];
  return Buffer.concat([Buffer.from(`${[...lines, ...headers].join('\r\n')}\r\n\r\n`), bytes]);
}
