import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer } from 'node:tls';
import { generate } from 'selfsigned';

export interface Authority {
  /** PEM. */
  readonly key: string;
  readonly cert: string;
  /** The path of a file with `cert`. */
  readonly file: string;
  close(): void;
}

/** A self-signed certificate for 127.0.0.1 and these names. */
export async function createAuthority(...names: string[]): Promise<Authority> {
  const altNames = [...names.map((value) => ({ type: 2 as const, value })), { type: 7 as const, ip: '127.0.0.1' }];
  const { private: key, cert } = await generate([{ name: 'commonName', value: names[0] ?? '127.0.0.1' }], {
    keyType: 'ec',
    extensions: [
      { name: 'basicConstraints', cA: true },
      { name: 'subjectAltName', altNames },
    ],
  });
  const folder = mkdtempSync(join(tmpdir(), 'authority-'));
  const file = join(folder, 'ca.pem');
  writeFileSync(file, cert);
  return { key, cert, file, close: () => rmSync(folder, { recursive: true }) };
}

/** Puts TLS in front of the server at this port of 127.0.0.1. */
export async function startTlsFront(targetPort: number, { key, cert }: Pick<Authority, 'key' | 'cert'>) {
  const sockets = new Set<Socket>();
  // As servers of HTTP do. Else a response waits for the acknowledgment of the session tickets before it: 40 ms on Linux.
  const noDelay = true;
  const server = createServer({ key, cert, noDelay }, (client) => {
    const inner = connect({ port: targetPort, host: '127.0.0.1', noDelay });
    inner.on('error', () => client.destroy());
    inner.on('close', () => client.destroy());
    client.on('error', () => {});
    client.on('close', () => inner.destroy());
    inner.pipe(client).pipe(inner);
  });
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
