/**
 * A fake Consul server with the documented HTTP API for KV and transactions:
 * https://developer.hashicorp.com/consul/api-docs/kv and /txn. Titles of tests say that it is a fake. `startConsulAgent`
 * starts a real agent if `consul` is installed.
 */
import { spawn, spawnSync } from 'node:child_process';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { eventually } from './eventually.ts';
import { keptConnections } from './kept-connections.ts';

const valueLimitBytes = 512 * 1024;
const operationsLimit = 64;

interface ConsulRequest {
  readonly method: string;
  /** Path and query, after `/v1`. */
  readonly path: string;
  /** Operations of a transaction. */
  readonly verbs: readonly string[];
}

export interface TestConsul {
  /** `http://127.0.0.1:<port>` */
  readonly address: string;
  /** All keys as text; `set` and `delete` act as another client. */
  entries(): Record<string, string>;
  set(key: string, text: string): void;
  delete(key: string): void;
  wipe(): void;
  /** All requests, oldest first; a live list that `length = 0` empties. */
  readonly requests: ConsulRequest[];
  /** Only this token is accepted; undefined: any. */
  demandToken(token: string | undefined): void;
  /** Called before each transaction, to act as another client that comes first. */
  beforeTransaction(act: (() => void) | undefined): void;
  close(): Promise<void>;
}

interface Entry {
  value: Buffer;
  createIndex: number;
  modifyIndex: number;
}

interface Operation {
  Verb: string;
  Key: string;
  Value?: string;
  Index?: number;
}

export async function startConsul(): Promise<TestConsul> {
  const entries = new Map<string, Entry>();
  const requests: ConsulRequest[] = [];
  let index = 10;
  let wantedToken: string | undefined;
  let before: (() => void) | undefined;

  function put(key: string, value: Buffer): Entry {
    index += 1;
    const entry = { value, createIndex: entries.get(key)?.createIndex ?? index, modifyIndex: index };
    entries.set(key, entry);
    return entry;
  }
  function remove(key: string): void {
    if (entries.delete(key)) index += 1;
  }
  const pairOf = ([key, { value, createIndex, modifyIndex }]: [string, Entry]) => ({
    ...{ LockIndex: 0, Key: key, Flags: 0, Value: value.length > 0 ? value.toString('base64') : null },
    ...{ CreateIndex: createIndex, ModifyIndex: modifyIndex },
  });
  const below = (folder: string) =>
    [...entries].filter(([key]) => key.startsWith(folder)).sort(([a], [b]) => (a < b ? -1 : 1));

  function answer(outgoing: ServerResponse, status: number, body: unknown): void {
    outgoing.writeHead(status, { 'content-type': 'application/json', 'x-consul-index': String(index) });
    outgoing.end(Buffer.isBuffer(body) || typeof body === 'string' ? body : JSON.stringify(body));
  }

  function get(outgoing: ServerResponse, key: string, query: URLSearchParams): unknown {
    if (query.has('keys')) {
      const separator = query.get('separator') ?? '';
      const names = below(key).map(([name]) => {
        const end = separator === '' ? -1 : name.indexOf(separator, key.length);
        return end < 0 ? name : name.slice(0, end + separator.length);
      });
      return names.length > 0 ? answer(outgoing, 200, [...new Set(names)]) : answer(outgoing, 404, '');
    }
    const found = query.has('recurse') ? below(key) : [...entries].filter(([name]) => name === key);
    if (found.length === 0) return answer(outgoing, 404, '');
    if (query.has('raw')) return answer(outgoing, 200, found[0]![1].value);
    answer(outgoing, 200, found.map(pairOf));
  }

  function set(outgoing: ServerResponse, key: string, query: URLSearchParams, body: Buffer): unknown {
    if (body.length > valueLimitBytes) {
      return answer(outgoing, 413, `Request body(${body.length} bytes) too large, max size: ${valueLimitBytes} bytes.`);
    }
    const cas = query.get('cas');
    const holds = cas === null || Number(cas) === (entries.get(key)?.modifyIndex ?? 0);
    if (holds) put(key, body);
    answer(outgoing, 200, String(holds));
  }

  /** Why an operation fails, in Consul's words. */
  function problemOf({ Verb, Key, Index = 0, Value = '' }: Operation): string | undefined {
    const found = entries.get(Key);
    if (Buffer.from(Value, 'base64').length > valueLimitBytes) return `Value for key "${Key}" is too large`;
    if (Verb === 'set' || Verb === 'delete') return undefined;
    if (Verb === 'check-not-exists') return found && `key "${Key}" exists`;
    if (Verb === 'get') return found ? undefined : `key "${Key}" doesn't exist`;
    const stale = Index !== (found?.modifyIndex ?? 0);
    if (Verb === 'cas') return stale ? `failed to set key "${Key}", index is stale` : undefined;
    if (Verb === 'delete-cas') return found && stale ? `failed to delete key "${Key}", index is stale` : undefined;
    return `unknown verb "${Verb}"`;
  }

  function transact(outgoing: ServerResponse, operations: readonly Operation[], bytes: number): unknown {
    if (bytes > valueLimitBytes) return answer(outgoing, 413, 'Request body too large');
    if (operations.length > operationsLimit) {
      return answer(outgoing, 413, `Transaction contains too many operations (${operations.length} > 64)`);
    }
    before?.();
    const problems = operations.map(problemOf);
    if (problems.some((problem) => problem !== undefined)) {
      const Errors = problems.flatMap((What, OpIndex) => (What === undefined ? [] : [{ OpIndex, What }]));
      return answer(outgoing, 409, { Results: null, Errors });
    }
    const Results = operations.flatMap(({ Verb, Key, Value = '' }) => {
      if (Verb.startsWith('delete')) remove(Key);
      const found = entries.get(Key);
      if (Verb === 'get' && found) return [{ KV: pairOf([Key, found]) }];
      if (Verb !== 'set' && Verb !== 'cas') return [];
      return [{ KV: { ...pairOf([Key, put(Key, Buffer.from(Value, 'base64'))]), Value: null } }];
    });
    answer(outgoing, 200, { Results, Errors: null });
  }

  function handle(incoming: IncomingMessage, outgoing: ServerResponse, body: Buffer): unknown {
    const { pathname, searchParams } = new URL(incoming.url ?? '/', 'http://consul');
    const path = (incoming.url ?? '').replace(/^\/v1/, '');
    const isTransaction = pathname === '/v1/txn' && incoming.method === 'PUT';
    const operations = isTransaction ? (JSON.parse(body.toString()) as { KV: Operation }[]).map(({ KV }) => KV) : [];
    requests.push({ method: incoming.method ?? '', path, verbs: operations.map(({ Verb }) => Verb) });
    if (wantedToken !== undefined && incoming.headers['x-consul-token'] !== wantedToken) {
      return answer(outgoing, 403, 'Permission denied: token with AccessorID lacks permission "key:write"');
    }
    if (isTransaction) return transact(outgoing, operations, body.length);
    if (!pathname.startsWith('/v1/kv/')) return answer(outgoing, 404, '');
    const key = decodeURIComponent(pathname.slice('/v1/kv/'.length));
    if (incoming.method === 'GET') return get(outgoing, key, searchParams);
    if (incoming.method === 'PUT') return set(outgoing, key, searchParams, body);
    if (incoming.method !== 'DELETE') return answer(outgoing, 405, '');
    for (const [name] of searchParams.has('recurse') ? below(key) : [[key]]) remove(name as string);
    answer(outgoing, 200, 'true');
  }

  const server = keptConnections(
    createServer((incoming, outgoing) => {
      const chunks: Buffer[] = [];
      incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
      incoming.on('end', () => handle(incoming, outgoing, Buffer.concat(chunks)));
    }),
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    address: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    entries: () => Object.fromEntries(below('').map(([key, { value }]) => [key, value.toString()])),
    set: (key, text) => void put(key, Buffer.from(text)),
    delete: remove,
    wipe: () => entries.clear(),
    requests,
    demandToken(token) {
      wantedToken = token;
    },
    beforeTransaction(act) {
      before = act;
    },
    close() {
      return new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      });
    },
  };
}

export const hasConsul = spawnSync('consul', ['version']).status === 0;

/** A real agent in development mode, in memory. */
export async function startConsulAgent(): Promise<{ address: string; close(): Promise<void> }> {
  const port = await new Promise<number>((resolve) => {
    const server = createTcpServer().listen(0, '127.0.0.1', () => {
      const { port: free } = server.address() as AddressInfo;
      server.close(() => resolve(free));
    });
  });
  const off = ['-dns-port=-1', '-grpc-port=-1', '-grpc-tls-port=-1', '-serf-wan-port=-1'];
  const child = spawn('consul', ['agent', '-dev', '-bind=127.0.0.1', `-http-port=${port}`, ...off], {
    stdio: 'ignore',
  });
  const address = `http://127.0.0.1:${port}`;
  await eventually(async () => {
    expect(await (await fetch(`${address}/v1/status/leader`)).text()).toMatch(/:/);
  });
  return {
    address,
    async close() {
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGKILL');
      await ended;
    },
  };
}
