import { type IncomingMessage, request as requestPlain } from 'node:http';
import { request as requestSecure } from 'node:https';
import type { PeerCertificate } from 'node:tls';

export interface OpenStreamOptions {
  /** The relay's origin. */
  readonly url: string;
  /**
   * The name in the relay's certificate. Without it only the issuing authority is checked, not the name: the load balancer
   * in the VPC has an AWS host name, which our certificates cannot contain.
   */
  readonly serverName?: string | undefined;
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
      reject(new Error(signal.aborted ? `no flags arrived within ${timeoutMs} ms` : problem));
      outgoing.destroy();
    };
    const outgoing = request(address, { headers, signal, ...named }, (incoming) => {
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
