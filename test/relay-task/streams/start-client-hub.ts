import { type AddressInfo, createServer, type Socket } from 'node:net';
import { type Context, parseContext } from '../../../lib/evaluation/index.ts';
import type { Item } from '../../../lib/flag-table/index.ts';
import { canonicalJson } from '../../../relay-task/common/json.ts';
import { resultOf } from '../../../relay-task/common/slices.ts';
import { createEnvironment, type Environment } from '../../../relay-task/environments/environment.ts';
import type { BigSegments, ClientView, CredentialKind, HeldContext, StreamDetails } from '../../../relay-task/ports.ts';
import { createHub, type EnvironmentStreams, type Hub, type HubOptions } from '../../../relay-task/streams/hub.ts';
import { hubSettings } from '../../support/hub-settings.ts';
import { silentLog } from '../../support/logs.ts';
import { type ReadStreamOptions, readStream, type StreamReader } from '../../support/read-stream.ts';

export interface ClientHubOptions extends Partial<HubOptions> {
  readonly bigSegments?: BigSegments;
  /** Wraps the environment before the hub uses it, to count or to slow down. */
  wrap?(view: ClientView): ClientView;
  readonly headers?: Record<string, string>;
}

export interface ClientHub {
  readonly hub: Hub;
  readonly environment: Environment;
  readonly streams: EnvironmentStreams;
  readonly port: number;
  /** `METHOD path` of every request so far. */
  readonly requests: readonly string[];
  put(...items: readonly Item[]): void;
  upsert(item: Item): void;
  /** A stream of evaluated flags. */
  evaluated(context: unknown, query?: string, options?: Partial<ReadStreamOptions>): Promise<StreamReader>;
  read(path: string, options?: Partial<ReadStreamOptions>): Promise<StreamReader>;
  close(): Promise<void>;
}

const AUDIENCES: Readonly<Record<string, CredentialKind>> = {
  eval: 'environmentId',
  ping: 'environmentId',
  meval: 'mobileKey',
  mping: 'mobileKey',
};

/** An environment and a hub on real sockets, with just as much HTTP as official SDKs need. */
export async function startClientHub(options: ClientHubOptions = {}): Promise<ClientHub> {
  const { bigSegments, wrap = (view) => view, headers, ...hubOptions } = options;
  const hub = createHub({ ...hubSettings, ...hubOptions });
  const environment = createEnvironment({
    name: 'test',
    log: silentLog,
    bigSegments,
    onChange: (change) => streams.publish(change),
    onRefresh: (flagKeys) => streams.refresh(flagKeys),
  });
  const streams = hub.environment({
    name: 'test',
    view: environment,
    clientView: wrap(environment.clientView),
    environmentId: () => '64a0',
  });
  const requests: string[] = [];
  const answer = async (socket: Socket, head: string) => {
    const [method = '', target = ''] = head.split(' ');
    requests.push(`${method} ${target}`);
    const url = new URL(target, 'http://relay');
    const parts = url.pathname.split('/').filter(Boolean);
    const withReasons = url.searchParams.get('withReasons') === 'true';
    const context = () => contextOf(parts.at(-1)!);
    const credentialKind = AUDIENCES[parts[0]!] ?? 'sdkKey';
    const httpVersion = head.includes('HTTP/1.0') ? '1.0' : '1.1';
    const common = {
      credential: 'key',
      credentialKind,
      family: 'test/1',
      address: url.searchParams.get('address') ?? '127.0.0.1',
      ...(headers && { headers }),
      httpVersion,
    };
    const opens = (details: StreamDetails) => {
      if (streams.open(socket, { ...common, ...details })) reply(socket, 503, '');
    };
    if (parts[0] === 'eval' || parts[0] === 'meval')
      return opens({ kind: 'eval', context: held(context()), withReasons });
    if (parts[0] === 'ping' || parts[0] === 'mping') return opens({ kind: 'ping' });
    if (url.pathname === '/sdk/stream') return opens({ kind: 'fdv2', basis: url.searchParams.get('basis') ?? '' });
    if (url.pathname === '/sdk/poll') {
      const basis = url.searchParams.get('basis');
      const events = (basis ? environment.fdv2.since(basis) : undefined) ?? environment.fdv2.full(basis !== null);
      const json = events.map(({ event, json: data }) => `{"event":"${event}","data":${data}}`);
      return reply(socket, 200, `{"events":[${json.join(',')}]}`);
    }
    if (url.pathname.includes('/evalx/')) {
      await environment.clientView.prepare(context());
      return reply(socket, 200, evalx(environment, context(), 'environmentId', withReasons));
    }
    return reply(socket, method === 'POST' ? 202 : 200, '[]');
  };
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    socket.once('data', (bytes) => void answer(socket, bytes.toString()));
    socket.on('error', () => {});
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const readers: StreamReader[] = [];
  const read = async (path: string, more: Partial<ReadStreamOptions> = {}) => {
    const reader = await readStream({ port, path, ...more });
    readers.push(reader);
    return reader;
  };
  return {
    hub,
    environment,
    streams,
    port,
    requests,
    put: (...items) => environment.put(items, [], performance.now()),
    upsert: (item) => environment.upsert(item, performance.now()),
    read,
    evaluated: (context, query = '', more) =>
      read(`/eval/64a0/${Buffer.from(JSON.stringify(context)).toString('base64url')}${query}`, more),
    async close() {
      for (const reader of readers) reader.close();
      await hub.closeAll(0);
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** The body of an evalx response. */
export function evalx(
  { clientView }: { clientView: ClientView },
  context: Context,
  audience: CredentialKind,
  withReasons = false,
): string {
  const all = resultOf(clientView.evaluateInSteps(context, { audience, withReasons }));
  return `{${all.map(({ key, json }) => `${JSON.stringify(key)}:${json}`).join(',')}}`;
}

/** One whose text contains "packed" takes 5 ms to read. */
function held(context: Context): HeldContext {
  const id = canonicalJson(context);
  const isPacked = id.includes('packed');
  return {
    ...{ id, bytes: 1_000, isPacked },
    read() {
      if (isPacked) for (const until = performance.now() + 5; performance.now() < until; );
      return context;
    },
  };
}

function contextOf(base64: string): Context {
  return parseContext(JSON.parse(Buffer.from(base64, 'base64url').toString()))!;
}

function reply(socket: Socket, status: number, body: string): void {
  socket.end(
    `HTTP/1.1 ${status} Whatever\r\nContent-Type: application/json\r\nConnection: close\r\nAccess-Control-Allow-Origin: *\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}
