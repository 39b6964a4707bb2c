import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { createHub, type EnvironmentStreams, type Hub, type HubOptions } from '../../../relay-task/streams/hub.ts';
import { hubSettings } from '../../support/hub-settings.ts';
import type { Memory } from '../../support/memory.ts';
import { type ReadStreamOptions, readStream, type StreamReader } from '../../support/read-stream.ts';

export interface TestHub {
  readonly hub: Hub;
  readonly streams: EnvironmentStreams;
  readonly port: number;
  /** The number of open sockets of the server. */
  sockets(): Promise<number>;
  read(kind?: 'all' | 'flags', options?: Partial<ReadStreamOptions>): Promise<StreamReader>;
  close(): Promise<void>;
}

/** A hub on real sockets without HTTP: the path of a request is the kind of stream, `Authorization` the credential. */
export async function startHub(view: Memory, options: Partial<HubOptions> = {}): Promise<TestHub> {
  const hub = createHub({ ...hubSettings, ...options });
  const streams = hub.environment({ name: 'test', view, environmentId: () => '64a0' });
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.once('data', (bytes) => {
      const text = bytes.toString();
      const kind = text.startsWith('GET /flags') ? 'flags' : 'all';
      const credential = /authorization: (\S+)/i.exec(text)?.[1] ?? 'sdk-key';
      const httpVersion = text.includes('HTTP/1.0') ? '1.0' : '1.1';
      if (
        streams.open(socket, {
          kind,
          credential,
          credentialKind: 'sdkKey',
          family: 'test/1',
          address: '127.0.0.1',
          httpVersion,
        })
      ) {
        socket.end('HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n');
      }
    });
    socket.on('error', () => {});
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const readers: StreamReader[] = [];
  return {
    hub,
    streams,
    port,
    sockets: () => new Promise((resolve) => server.getConnections((_error, count) => resolve(count))),
    async read(kind = 'all', more = {}) {
      const reader = await readStream({ port, path: `/${kind}`, ...more });
      readers.push(reader);
      return reader;
    },
    async close() {
      for (const reader of readers) reader.close();
      await hub.closeAll(0);
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
