/** A replica of a table that fails on demand: an HTTP server on 127.0.0.1 in front of the DynamoDB server. */
import { createServer, type IncomingHttpHeaders, request } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { keptConnections } from '../../support/kept-connections.ts';

/**
 * `hang`: never answers. `cut`: closes the connection. `half`: sends half of the response, then closes the connection.
 * `missing`: a response without items. `unprocessed`: only the first key of a batch is answered.
 */
export type Behaviour = 'pass' | 'hang' | 'cut' | 'half' | 'missing' | 'throttle' | 'unprocessed' | 'broken' | 'denied';

export interface Asked {
  readonly operation: string;
  readonly body: Record<string, unknown>;
  readonly headers: IncomingHttpHeaders;
}

export interface Replica {
  readonly endpoint: string;
  /** Every request that arrived, oldest first; a live list. */
  readonly asked: Asked[];
  /** Connections accepted so far. */
  connections(): number;
  behave(how: Behaviour | ((asked: Asked, nth: number) => Behaviour)): void;
  /** Closes the connections that are open. */
  closeConnections(): void;
  /** Answers nothing any more on the connections that are open, as if the network had lost them. */
  forgetConnections(): void;
  /** How long it waits before it answers, in ms; 0 at first. */
  delay(ms: number): void;
  close(): Promise<void>;
}

export async function startReplica(target: string): Promise<Replica> {
  const asked: Asked[] = [];
  let connections = 0;
  let delayMs = 0;
  const sockets = new Set<Socket>();
  const forgotten = new WeakSet<Socket>();
  let how: (asked: Asked, nth: number) => Behaviour = () => 'pass';

  const server = keptConnections(
    createServer((incoming, outgoing) => {
      const chunks: Buffer[] = [];
      incoming.on('data', (chunk) => chunks.push(chunk));
      incoming.on('end', () => {
        const operation = String(incoming.headers['x-amz-target']).replace(/.*\./, '');
        const one = { operation, body: JSON.parse(Buffer.concat(chunks).toString()), headers: incoming.headers };
        asked.push(one);
        const behaviour = how(one, asked.length);
        if (behaviour === 'hang' || forgotten.has(incoming.socket)) return;
        if (behaviour === 'cut') return void outgoing.destroy();
        if (behaviour === 'missing') return void outgoing.end('{}');
        if (behaviour === 'broken') return void outgoing.writeHead(500).end('<html>oops</html>');
        if (behaviour === 'denied') {
          const answer = { __type: 'com.amazon.coral.service#AccessDeniedException', message: 'not authorized' };
          return void outgoing.writeHead(400).end(JSON.stringify(answer));
        }
        if (behaviour === 'throttle') {
          const answer = { __type: 'com.amazonaws.dynamodb.v20120810#ThrottlingException', message: 'Rate exceeded' };
          return void outgoing.writeHead(400).end(JSON.stringify(answer));
        }
        let body = one.body;
        let left: Record<string, unknown> | undefined;
        if (behaviour === 'unprocessed' && operation === 'BatchGetItem') {
          const [table, { Keys }] = Object.entries(body.RequestItems as Record<string, { Keys: unknown[] }>)[0]!;
          body = { RequestItems: { [table]: { Keys: Keys.slice(0, 1) } } };
          if (Keys.length > 1) left = { [table]: { Keys: Keys.slice(1) } };
        }
        const text = JSON.stringify(body);
        const { host: _, 'content-length': __, ...headers } = incoming.headers;
        const inner = request(target, {
          method: 'POST',
          headers: { ...headers, 'content-length': Buffer.byteLength(text) },
        });
        inner.on('error', () => outgoing.destroy());
        inner.on('response', (answer) => {
          const parts: Buffer[] = [];
          answer.on('data', (part) => parts.push(part));
          answer.on('end', () => {
            let bytes = Buffer.concat(parts);
            if (left) bytes = Buffer.from(JSON.stringify({ ...JSON.parse(bytes.toString()), UnprocessedKeys: left }));
            setTimeout(() => {
              outgoing.writeHead(answer.statusCode!, { 'content-length': bytes.length });
              if (behaviour !== 'half') return void outgoing.end(bytes);
              outgoing.write(bytes.subarray(0, bytes.length >> 1), () => outgoing.destroy());
            }, delayMs);
          });
        });
        inner.end(text);
      });
    }),
  );
  server.on('connection', (socket: Socket) => {
    connections += 1;
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    connections: () => connections,
    behave(next) {
      how = typeof next === 'function' ? next : () => next;
    },
    closeConnections() {
      for (const socket of sockets) socket.destroy();
    },
    forgetConnections() {
      for (const socket of sockets) forgotten.add(socket);
    },
    delay(ms) {
      delayMs = ms;
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
