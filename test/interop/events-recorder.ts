import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gunzipSync } from 'node:zlib';

interface ReceivedEvents {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  /** A diagnostic event is sent alone. */
  readonly events: readonly Record<string, unknown>[];
}

export interface EventsRecorder {
  readonly uri: string;
  readonly requests: readonly ReceivedEvents[];
  close(): Promise<void>;
}

/** LaunchDarkly's events endpoint: accepts events from servers and from pages of any origin. */
export async function startEventsRecorder(): Promise<EventsRecorder> {
  const requests: ReceivedEvents[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const allowed = String(request.headers['access-control-request-headers'] ?? '');
      const cors = { 'Access-Control-Allow-Origin': '*', 'Access-Control-Allow-Headers': allowed };
      if (request.method === 'OPTIONS') return void response.writeHead(200, cors).end();
      // Another suite's client of DynamoDB may still look for its server, which had this port before.
      if (request.headers['x-amz-target'] !== undefined) return void response.writeHead(404).end();
      const body = Buffer.concat(chunks);
      const text = (request.headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body).toString();
      const events = [JSON.parse(text)].flat();
      requests.push({ path: request.url ?? '', headers: request.headers, events });
      response.writeHead(202, cors).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    uri: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      return closed;
    },
  };
}
