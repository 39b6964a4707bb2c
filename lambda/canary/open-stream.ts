import type { IncomingMessage } from 'node:http';
import { type RelayAddress, requestRelay } from '../common/relay-request.ts';

export interface OpenStreamOptions extends RelayAddress {
  readonly sdkKey: string;
  readonly timeoutMs: number;
}

/** More than any flag set. Keeps an endless response from filling memory. */
const MAX_BYTES = 128 * 1024 * 1024;

/**
 * Opens a stream as server SDKs do (GET /all) and reads the first event, which contains all flags. Resolves to flag keys
 * and versions; rejects with the reason of a failure. Closes the stream in either case.
 */
export function openStream({ url, serverName, sdkKey, timeoutMs }: OpenStreamOptions): Promise<Map<string, number>> {
  return new Promise((resolve, reject) => {
    const signal = AbortSignal.timeout(timeoutMs);
    const fail = (problem: string) => {
      reject(new Error(signal.aborted ? `no flags arrived within ${timeoutMs} ms` : problem));
      outgoing.destroy();
    };
    const headers = { accept: 'text/event-stream', 'user-agent': 'edge-flag-relay-canary' };
    const about = { url, serverName, sdkKey, headers, signal } as const;
    const outgoing = requestRelay({ ...about, method: 'GET', path: '/all' }, (incoming) => {
      if (incoming.statusCode !== 200) return fail(`the relay answered ${incoming.statusCode}`);
      firstEvent(incoming)
        .then(versionsIn)
        .then(resolve, (error: Error) => fail(error.message))
        .finally(() => outgoing.destroy());
    });
    outgoing.on('error', (error) => fail(`could not reach the relay: ${error.message}`));
    outgoing.end();
  });
}

/** The data of the first event. Comments are heartbeats and are skipped. */
async function firstEvent(incoming: IncomingMessage): Promise<string> {
  let text = Buffer.alloc(0);
  let chunks: Buffer[] = [];
  let bytes = 0;
  let last = '';
  for await (const chunk of incoming as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes > MAX_BYTES) throw new Error(`the first event is larger than ${MAX_BYTES} bytes`);
    // An event ends with an empty line, which may be split between two chunks. Chunks are joined only at that point.
    const ended = chunk.includes('\n\n') || (last === '\n' && chunk[0] === 10);
    last = chunk.subarray(-1).toString('latin1');
    if (!ended) continue;
    text = Buffer.concat([text, ...chunks]);
    chunks = [];
    const events = text.toString('utf8').split('\n\n').slice(0, -1);
    const event = events.find((lines) => /^data:/m.test(lines));
    const data = event?.split('\n').filter((line) => line.startsWith('data:'));
    if (data) return data.map((line) => line.slice('data:'.length)).join('\n');
  }
  throw new Error('the stream ended before its first event');
}

function versionsIn(data: string): Map<string, number> {
  const { flags } = (JSON.parse(data) as { data?: { flags?: Record<string, { version: number }> } }).data ?? {};
  if (!flags) throw new Error('the first event of the stream contains no flags');
  return new Map(Object.entries(flags).map(([key, { version }]) => [key, version]));
}
