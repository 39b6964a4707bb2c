import { type IncomingMessage, request as requestPlain } from 'node:http';
import { request as requestSecure } from 'node:https';
import type { PeerCertificate } from 'node:tls';

export interface OpenStreamOptions {
  /** The relay's origin. */
  readonly url: string;
  /**
   * Whose certificate the relay shows. Unless told, the authority that issued it is checked and the name is not: a load
   * balancer inside a VPC is reached by a name of AWS's, which no certificate of ours has.
   */
  readonly serverName?: string | undefined;
  readonly sdkKey: string;
  readonly timeoutMs: number;
}

/** More than any set of flags; a stream that is none must not fill memory. */
const MAX_BYTES = 128 * 1024 * 1024;

/**
 * Opens a stream as server SDKs do (GET /all), and takes the first event, which holds everything. Resolves to flags and
 * their versions; rejects with what the matter is. The stream is closed in either case.
 */
export function openStream({ url, serverName, sdkKey, timeoutMs }: OpenStreamOptions): Promise<Map<string, number>> {
  const address = new URL('/all', url);
  const request = address.protocol === 'https:' ? requestSecure : requestPlain;
  const named: { servername?: string; checkServerIdentity?: (host: string, cert: PeerCertificate) => undefined } =
    serverName === undefined ? { checkServerIdentity: () => undefined } : { servername: serverName };
  return new Promise((resolve, reject) => {
    const signal = AbortSignal.timeout(timeoutMs);
    const headers = {
      accept: 'text/event-stream',
      authorization: sdkKey,
      'user-agent': 'edge-flag-relay-canary',
      ...(serverName !== undefined && { host: serverName }),
    };
    const fail = (problem: string) => {
      reject(new Error(signal.aborted ? `no flags came within ${timeoutMs} ms` : problem));
      outgoing.destroy();
    };
    const outgoing = request(address, { headers, signal, ...named }, (incoming) => {
      if (incoming.statusCode !== 200) return fail(`the relay answered ${incoming.statusCode}`);
      firstEvent(incoming)
        .then(versionsIn)
        .then(resolve, (error: Error) => fail(error.message))
        .finally(() => outgoing.destroy());
    });
    outgoing.on('error', (error) => fail(`the relay was not reached: ${error.message}`));
    outgoing.end();
  });
}

/** The data of the first event that has any; comments are heartbeats. */
async function firstEvent(incoming: IncomingMessage): Promise<string> {
  let text = Buffer.alloc(0);
  let chunks: Buffer[] = [];
  let bytes = 0;
  let last = '';
  for await (const chunk of incoming as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes > MAX_BYTES) throw new Error(`the first event is above ${MAX_BYTES} bytes`);
    // An event ends with an empty line, which may come in two pieces; only then is it worth joining them.
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
  if (!flags) throw new Error('the first event of the stream holds no flags');
  return new Map(Object.entries(flags).map(([key, { version }]) => [key, version]));
}
