/**
 * A fake LaunchDarkly: a real HTTP server on a free port that speaks the streaming protocol of `/all` and can be made to
 * misbehave.
 */
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { until } from './eventually.ts';
import { keptConnections } from './kept-connections.ts';

export interface FlagData {
  flags: Record<string, unknown>;
  segments: Record<string, unknown>;
}

export interface RecordedRequest {
  readonly method: string;
  /** Path and query as requested. */
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  /** Unix ms. */
  readonly at: number;
  /** Unix ms; undefined: its stream is still open. */
  endedAt?: number;
}

/**
 * The answer to a request. `stream`: the stream, starting with a `put` of `data`; `silent`: the head of a stream and
 * nothing more; `hang`: not even a head; `cut`: the connection is destroyed; else a status with optional headers and body.
 */
export type Answer =
  | 'stream'
  | 'silent'
  | 'hang'
  | 'cut'
  | { readonly status: number; readonly headers?: Record<string, string>; readonly body?: string };

interface SendOptions {
  /** Bytes per write; each write arrives on its own. Everything in one write by default. */
  readonly chunkBytes?: number;
  /** Only to the streams that this request opened; all by default. */
  readonly to?: (request: RecordedRequest) => boolean;
}

export interface FakeUpstream {
  /** `http://127.0.0.1:PORT`, without a slash at the end. */
  readonly uri: string;
  /** Every request so far, oldest first. */
  readonly requests: readonly RecordedRequest[];
  /** How many streams were opened so far, closed ones included. */
  readonly connections: number;
  /** How many streams are open now. */
  readonly openStreams: number;
  /** The requests that opened them. */
  open(): readonly RecordedRequest[];
  /** The data of the first put on a new stream; `patch` and `delete` keep it up to date. */
  data: FlagData;
  /** Different data by request (by key, by filter); undefined means `data`. */
  dataFor: (request: RecordedRequest) => FlagData | undefined;
  /** Another first text on a new stream than a put of its data. */
  greetingFor: (request: RecordedRequest) => string | undefined;
  /** Headers of a stream's response. */
  headersFor: (request: RecordedRequest) => Readonly<Record<string, string>>;
  /** The answer to every request from now on; initially `stream`. */
  answer: Answer | ((request: RecordedRequest) => Answer);
  /** Bytes per write of the first put. */
  greetChunkBytes: number | undefined;
  /** The next requests get these answers in order, before `answer` applies again. */
  answerNext(...answers: Answer[]): void;
  /** Sends a `put` with this data to all streams, now and when they open. */
  put(data: FlagData, options?: SendOptions): Promise<void>;
  /** Sends a `patch`. The item must have a key. */
  patch(kind: 'flags' | 'segments', item: { readonly key: string }, options?: SendOptions): Promise<void>;
  delete(kind: 'flags' | 'segments', key: string, version: number, options?: SendOptions): Promise<void>;
  /** Sends any event; `data` is sent as it is if it is a string, else as JSON. */
  event(name: string, data: unknown, options?: SendOptions): Promise<void>;
  /** A comment line, like a heartbeat. */
  comment(text?: string, options?: SendOptions): Promise<void>;
  /** Raw bytes. */
  send(bytes: string | Uint8Array, options?: SendOptions): Promise<void>;
  /** Ends every stream properly. */
  end(): void;
  /** Destroys the connection of every stream and hanging request, or of those that these requests opened. */
  cut(which?: (request: RecordedRequest) => boolean): void;
  /** Resolves when this many streams have been opened in all; rejects after a minute. */
  connected(count: number): Promise<void>;
  /** Resolves when this many requests have been made in all; rejects after a minute. */
  requested(count: number): Promise<void>;
  close(): Promise<void>;
}

interface Stream {
  readonly request: RecordedRequest;
  readonly response: ServerResponse;
}

const putText = (data: FlagData) => `event: put\ndata: ${JSON.stringify({ path: '/', data })}\n\n`;

/** A real server on 127.0.0.1 and a free port. The caller closes it. */
export async function startFakeUpstream(data: Partial<FlagData> = {}): Promise<FakeUpstream> {
  const requests: RecordedRequest[] = [];
  const streams = new Set<Stream>();
  const hanging = new Set<Stream>();
  const queued: Answer[] = [];
  let connections = 0;

  async function write(response: ServerResponse, bytes: string | Uint8Array, chunkBytes?: number) {
    const buffer = typeof bytes === 'string' ? Buffer.from(bytes) : bytes;
    // Ended, and not closed yet.
    if (response.writableEnded) return;
    if (!chunkBytes) return void response.write(buffer);
    for (let at = 0; at < buffer.length && !response.destroyed; at += chunkBytes) {
      response.write(buffer.subarray(at, at + chunkBytes));
      // Sends each piece on its own; otherwise Node would join them.
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  function respond(answer: Answer, request: RecordedRequest, incoming: IncomingMessage, response: ServerResponse) {
    if (answer === 'hang') {
      const hung = { request, response };
      hanging.add(hung);
      response.on('close', () => hanging.delete(hung));
      return;
    }
    if (answer === 'cut') return void incoming.socket.destroy();
    if (typeof answer === 'object')
      return void response.writeHead(answer.status, answer.headers).end(answer.body ?? '');
    connections += 1;
    response.writeHead(200, {
      'Content-Type': 'text/event-stream; charset=utf-8',
      'Cache-Control': 'no-cache',
      ...fake.headersFor(request),
    });
    response.flushHeaders();
    const stream = { request, response };
    streams.add(stream);
    response.on('close', () => {
      streams.delete(stream);
      request.endedAt = Date.now();
    });
    if (answer === 'stream') {
      const greeting = fake.greetingFor(request) ?? putText(fake.dataFor(request) ?? fake.data);
      void write(response, greeting, fake.greetChunkBytes);
    }
  }

  const server = keptConnections(
    createServer((incoming, response) => {
      incoming.socket.setNoDelay(true);
      const request = {
        method: incoming.method ?? '',
        url: incoming.url ?? '',
        headers: incoming.headers,
        at: Date.now(),
      };
      requests.push(request);
      const answer = queued.shift() ?? (typeof fake.answer === 'function' ? fake.answer(request) : fake.answer);
      respond(answer, request, incoming, response);
    }),
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));

  async function send(bytes: string | Uint8Array, { chunkBytes, to = () => true }: SendOptions = {}) {
    const chosen = [...streams].filter(({ request }) => to(request));
    await Promise.all(chosen.map(({ response }) => write(response, bytes, chunkBytes)));
  }

  const event = (name: string, body: unknown, options?: SendOptions) =>
    send(`event: ${name}\ndata: ${typeof body === 'string' ? body : JSON.stringify(body)}\n\n`, options);

  const fake: FakeUpstream = {
    uri: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    get connections() {
      return connections;
    },
    get openStreams() {
      return streams.size;
    },
    data: { flags: data.flags ?? {}, segments: data.segments ?? {} },
    dataFor: () => undefined,
    greetingFor: () => undefined,
    headersFor: () => ({}),
    answer: 'stream',
    greetChunkBytes: undefined,
    answerNext: (...answers) => void queued.push(...answers),
    put(next, options) {
      fake.data = next;
      return send(putText(next), options);
    },
    patch(kind, item, options) {
      fake.data = { ...fake.data, [kind]: { ...fake.data[kind], [item.key]: item } };
      return event('patch', { path: `/${kind}/${item.key}`, data: item }, options);
    },
    delete(kind, key, version, options) {
      const { [key]: _gone, ...rest } = fake.data[kind];
      fake.data = { ...fake.data, [kind]: rest };
      return event('delete', { path: `/${kind}/${key}`, version }, options);
    },
    event,
    comment: (text = '', options) => send(`:${text}\n`, options),
    send,
    end: () => streams.forEach(({ response }) => void response.end()),
    open: () => [...streams].map(({ request }) => request),
    cut(which = () => true) {
      for (const { request, response } of [...streams, ...hanging]) if (which(request)) response.socket?.destroy();
    },
    connected: (count) => until(`${count} streams, saw ${connections}`, () => connections >= count),
    requested: (count) => until(`${count} requests, saw ${requests.length}`, () => requests.length >= count),
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
  return fake;
}
