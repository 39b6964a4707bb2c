/** A fake HTTP proxy on real sockets of 127.0.0.1, with tunnels and forwarded requests, which can be made to refuse. */
import { createServer, type IncomingMessage, request, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { type AddressInfo, connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';

export interface FakeProxy {
  /** `http://127.0.0.1:PORT` or `https://…`. */
  readonly uri: string;
  /** `CONNECT host:port` or `GET http://…`, with the Proxy-Authorization header, oldest first. */
  readonly asked: readonly { readonly what: string; readonly authorization: string | undefined }[];
  /** Sockets that clients hold open. */
  readonly openSockets: number;
  /** All requests get this status instead; `hang`: no response. */
  refuse: number | 'hang' | undefined;
  close(): Promise<void>;
}

/** Everything goes to this port of 127.0.0.1, so that tests can request any host name. */
export async function startFakeProxy(targetPort: number, tls?: { key: string; cert: string }): Promise<FakeProxy> {
  const asked: { what: string; authorization: string | undefined }[] = [];
  const sockets = new Set<Socket>();
  const note = ({ method, url, headers }: IncomingMessage) =>
    void asked.push({ what: `${method} ${url}`, authorization: headers['proxy-authorization'] });

  const server: Server = tls ? createTlsServer(tls) : createServer();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  server.on('connect', (incoming: IncomingMessage, client: Duplex) => {
    note(incoming);
    client.on('error', () => {});
    if (proxy.refuse === 'hang') return;
    if (proxy.refuse) return void client.end(`HTTP/1.1 ${proxy.refuse} No\r\nContent-Length: 0\r\n\r\n`);
    const target = connect(targetPort, '127.0.0.1', () => {
      client.write('HTTP/1.1 200 Connection established\r\n\r\n');
      target.pipe(client).pipe(target);
    });
    target.on('error', () => client.destroy());
    client.on('close', () => target.destroy());
  });
  server.on('request', (incoming, outgoing) => {
    note(incoming);
    if (proxy.refuse === 'hang') return;
    if (proxy.refuse) return void outgoing.writeHead(proxy.refuse).end();
    const { pathname, search } = new URL(incoming.url ?? '');
    const { 'proxy-authorization': _, ...headers } = incoming.headers;
    const options = { host: '127.0.0.1', port: targetPort, path: pathname + search, method: incoming.method, headers };
    const inner = request(options, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
      outgoing.flushHeaders();
      answer.pipe(outgoing);
      // If one side is cut, the other is cut, too.
      answer.on('close', () => answer.complete || outgoing.destroy());
    });
    inner.on('error', () => outgoing.destroy());
    outgoing.on('close', () => inner.destroy());
    incoming.pipe(inner);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));

  const proxy: FakeProxy = {
    uri: `${tls ? 'https' : 'http'}://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    get openSockets() {
      return sockets.size;
    },
    refuse: undefined,
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
  return proxy;
}
