/** A replica of a table that fails on demand: an HTTP or HTTPS server on 127.0.0.1 in front of the DynamoDB server. */
import { createServer, type IncomingHttpHeaders, type RequestListener, request } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { pipeline, type Writable } from 'node:stream';
import { keptConnections } from '../../support/kept-connections.ts';

/**
 * `hang`: never answers. `cut`: closes the connection. `half`: sends half of the response, then closes the connection; `stall`: then sends
 * nothing more; `drip`: then byte by byte. `truncated`: half of the JSON is the whole response. `corrupt`: one bit of each binary attribute is
 * wrong. `refused`: HTTP 400 without a reason. `endless`: never stops sending. `missing`: a response without items; `empty`: without anything. `unprocessed`: only the first key of a batch is answered. The
 * others are what AWS says.
 */
export type Behaviour =
  | 'pass'
  | 'hang'
  | 'cut'
  | 'half'
  | 'stall'
  | 'drip'
  | 'truncated'
  | 'corrupt'
  | 'missing'
  | 'empty'
  | 'unprocessed'
  | 'broken'
  | 'refused'
  | 'endless'
  | keyof typeof refusals;

/** DynamoDB Developer Guide, "Error handling"; answers of DynamoDB to requests that AWS's SDK signed wrongly on purpose. */
const refusals = {
  throttle: ['com.amazonaws.dynamodb.v20120810#ThrottlingException', 'Rate exceeded'],
  denied: ['com.amazon.coral.service#AccessDeniedException', 'not authorized'],
  'no-table': ['com.amazonaws.dynamodb.v20120810#ResourceNotFoundException', 'Requested resource not found'],
  'wrong-region': [
    'com.amazon.coral.service#InvalidSignatureException',
    "Credential should be scoped to a valid region, not 'eu-west-1'.",
  ],
  expired: ['com.amazon.coral.service#ExpiredTokenException', 'The security token included in the request is expired'],
  skewed: [
    'com.amazon.coral.service#InvalidSignatureException',
    'Signature expired: 20261130T000000Z is now earlier than 20261130T005500Z',
  ],
} as const;

interface Asked {
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

/** `tls`: PEM; without, it speaks HTTP. */
export async function startReplica(
  target: string,
  tls?: { readonly key: string; readonly cert: string },
): Promise<Replica> {
  const asked: Asked[] = [];
  let connections = 0;
  let delayMs = 0;
  const sockets = new Set<Socket>();
  const forgotten = new WeakSet<Socket>();
  let how: (asked: Asked, nth: number) => Behaviour = () => 'pass';

  const listener: RequestListener = (incoming, outgoing) => {
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
      if (behaviour === 'refused') return void outgoing.writeHead(400).end('<html>oops</html>');
      if (behaviour === 'empty') return void outgoing.end();
      if (behaviour === 'endless') return void pipeline(endless(), outgoing, () => {});
      if (behaviour in refusals) {
        const [__type, message] = refusals[behaviour as keyof typeof refusals];
        return void outgoing.writeHead(400).end(JSON.stringify({ __type, message }));
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
          if (behaviour === 'corrupt') bytes = Buffer.from(corrupted(bytes.toString()));
          if (behaviour === 'truncated') bytes = bytes.subarray(0, bytes.length >> 1);
          setTimeout(() => {
            outgoing.writeHead(answer.statusCode!, { 'content-length': bytes.length });
            if (!['half', 'stall', 'drip'].includes(behaviour)) return void outgoing.end(bytes);
            const half = bytes.length >> 1;
            outgoing.write(bytes.subarray(0, half), () => {
              if (behaviour === 'half') outgoing.destroy();
              if (behaviour === 'drip') drip(outgoing, bytes.subarray(half));
            });
          }, delayMs);
        });
      });
      inner.end(text);
    });
  };
  const server = keptConnections(tls ? createTlsServer(tls, listener) : createServer(listener));
  server.on('connection', (socket: Socket) => {
    connections += 1;
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    endpoint: `${tls ? 'https' : 'http'}://127.0.0.1:${(server.address() as AddressInfo).port}`,
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

function* endless(): Generator<Buffer> {
  const spaces = Buffer.alloc(64 * 1024, ' ');
  for (;;) yield spaces;
}

/** Never ends in the time of a test. */
function drip(to: Writable, bytes: Buffer): void {
  let at = 0;
  const timer = setInterval(() => {
    if (to.destroyed || at === bytes.length) clearInterval(timer);
    else to.write(bytes.subarray(at, ++at));
  }, 20);
}

function corrupted(json: string): string {
  return JSON.stringify(
    JSON.parse(json, (name, value) => {
      if (name !== 'B') return value;
      const bytes = Buffer.from(value, 'base64');
      const middle = bytes.length >> 1;
      bytes.writeUInt8(bytes.readUInt8(middle) ^ 1, middle);
      return bytes.toString('base64');
    }),
  );
}
