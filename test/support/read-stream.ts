import { connect, type Socket } from 'node:net';
import { PATIENCE_MS, whenOver } from './eventually.ts';

/** One server-sent event as a client parses it: `data:` lines joined with LF. */
export interface StreamEvent {
  readonly event: string;
  readonly data: string;
}

/** A response read from a raw socket, so that a test sees exactly what was sent. */
export interface StreamReader {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  /** Every event so far, in order. */
  readonly events: readonly StreamEvent[];
  /** The body so far, without chunk framing. */
  body(): string;
  /** The number of chunks of the body so far (0 without chunked encoding). */
  chunks(): number;
  /** The next event. Rejects when the stream ends or the time is over. */
  next(timeoutMs?: number): Promise<StreamEvent>;
  /** Resolves when `condition` holds; rejects when the stream ends first or the time is over. */
  until(condition: (reader: StreamReader) => boolean, timeoutMs?: number): Promise<void>;
  /** How it ended: `clean` after the last chunk or all of Content-Length, `cut` otherwise. */
  readonly ended: Promise<'clean' | 'cut'>;
  /** Stops and restarts reading from the socket, as a slow client does. */
  pause(): void;
  resume(): void;
  close(): void;
  readonly socket: Socket;
}

export interface ReadStreamOptions {
  readonly port: number;
  readonly path: string;
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly httpVersion?: '1.0' | '1.1';
  /** Bytes sent in the same segment after the request. */
  readonly pipelined?: string;
  /** For the head of the response and as the default of `next` and `until`; `PATIENCE_MS` by default. */
  readonly timeoutMs?: number;
}

/** Sends one request and resolves when the head of the response has arrived, whatever its status. */
export async function readStream(options: ReadStreamOptions): Promise<StreamReader> {
  const {
    port,
    path,
    method = 'GET',
    headers = {},
    httpVersion = '1.1',
    timeoutMs: patienceMs = PATIENCE_MS,
  } = options;
  const lines = [`${method} ${path} HTTP/${httpVersion}`, 'Host: 127.0.0.1'];
  for (const [name, value] of Object.entries(headers)) lines.push(`${name}: ${value}`);
  const socket = connect({ port, host: '127.0.0.1' });
  socket.write(`${lines.join('\r\n')}\r\n\r\n${options.pipelined ?? ''}`);

  let raw: Buffer = Buffer.alloc(0);
  let head: { status: number; headers: Record<string, string> } | undefined;
  let over: 'clean' | 'cut' | undefined;
  let bodyText = '';
  let unparsed = '';
  let pieces: Buffer[] = [];
  let piecesBytes = 0;
  let needed = 0;
  let chunkCount = 0;
  let handedOut = 0;
  const bodyBytes: Buffer[] = [];
  const events: StreamEvent[] = [];
  const watchers = new Set<() => void>();
  let finish: (how: 'clean' | 'cut') => void = () => {};
  const ended = new Promise<'clean' | 'cut'>((resolve) => {
    finish = resolve;
  });

  const end = (how: 'clean' | 'cut') => {
    if (over) return;
    over = how;
    finish(how);
  };
  const takeBody = (bytes: Buffer) => {
    bodyBytes.push(bytes);
    const text = bytes.toString('utf8');
    bodyText += text;
    unparsed += text;
    for (let cut = unparsed.indexOf('\n\n'); cut >= 0; cut = unparsed.indexOf('\n\n')) {
      const event = parseEvent(unparsed.slice(0, cut));
      unparsed = unparsed.slice(cut + 2);
      if (event) events.push(event);
    }
  };
  const takeChunks = () => {
    for (;;) {
      const lineEnd = raw.indexOf('\r\n');
      if (lineEnd < 0) return;
      const size = Number.parseInt(raw.toString('latin1', 0, lineEnd), 16);
      if (Number.isNaN(size)) throw new Error(`not a chunk size: ${JSON.stringify(raw.toString('latin1', 0, 40))}`);
      needed = lineEnd + 2 + size + 2;
      if (raw.length < needed) return;
      needed = 0;
      const bytes = raw.subarray(lineEnd + 2, lineEnd + 2 + size);
      if (raw.toString('latin1', lineEnd + 2 + size, lineEnd + 4 + size) !== '\r\n')
        throw new Error('a chunk without its end');
      raw = raw.subarray(lineEnd + 4 + size);
      if (size === 0) return end('clean');
      chunkCount++;
      takeBody(bytes);
    }
  };
  const take = (bytes: Buffer) => {
    // A chunk of many megabytes arrives in many pieces, which are joined only once.
    pieces.push(bytes);
    piecesBytes += bytes.length;
    if (raw.length + piecesBytes < needed) return;
    raw = Buffer.concat([raw, ...pieces]);
    pieces = [];
    piecesBytes = 0;
    if (!head) {
      const cut = raw.indexOf('\r\n\r\n');
      if (cut < 0) return;
      head = parseHead(raw.toString('latin1', 0, cut));
      raw = raw.subarray(cut + 4);
    }
    if (head.headers['transfer-encoding'] === 'chunked') return takeChunks();
    if (raw.length > 0) takeBody(raw);
    raw = Buffer.alloc(0);
    const length = head.headers['content-length'];
    if (length !== undefined && Buffer.concat(bodyBytes).length >= Number(length)) end('clean');
  };
  const wake = () => {
    for (const watcher of [...watchers]) watcher();
  };
  socket.on('data', (bytes) => {
    try {
      take(bytes);
    } catch (error) {
      socket.destroy(error as Error);
    }
    wake();
  });
  socket.on('error', () => {});
  socket.on('close', () => {
    end('cut');
    wake();
  });

  const wait = (condition: () => boolean, timeoutMs: number, what: string) =>
    new Promise<void>((resolve, reject) => {
      const stop = (error?: Error) => {
        settle();
        watchers.delete(look);
        if (error) reject(error);
        else resolve();
      };
      const look = () => {
        if (condition()) stop();
        else if (over && socket.destroyed)
          stop(new Error(`the stream ended (${over}) before ${what}; so far: ${tail(bodyText)}`));
      };
      const settle = whenOver(timeoutMs, () =>
        stop(new Error(`${timeoutMs} ms passed before ${what}; so far: ${tail(bodyText)}`)),
      );
      watchers.add(look);
      look();
    });

  const reader = {
    get status() {
      return head?.status ?? 0;
    },
    get headers() {
      return head?.headers ?? {};
    },
    events,
    body: () => bodyText,
    chunks: () => chunkCount,
    async next(timeoutMs = patienceMs) {
      await wait(() => events.length > handedOut, timeoutMs, 'the next event');
      return events[handedOut++]!;
    },
    until: (condition: (reader: StreamReader) => boolean, timeoutMs = patienceMs) =>
      wait(() => condition(reader), timeoutMs, 'the condition held'),
    ended,
    pause: () => void socket.pause(),
    resume: () => void socket.resume(),
    close: () => void socket.destroy(),
    socket,
  };
  await wait(() => head !== undefined, patienceMs, 'the head of the answer');
  return reader;
}

function parseHead(text: string): { status: number; headers: Record<string, string> } {
  const [statusLine = '', ...lines] = text.split('\r\n');
  const headers: Record<string, string> = {};
  for (const line of lines) {
    const colon = line.indexOf(':');
    headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
  }
  return { status: Number(statusLine.split(' ')[1]), headers };
}

/** By the rules of the HTML standard: comments are dropped, no `data` line means no event. */
function parseEvent(text: string): StreamEvent | undefined {
  let event = 'message';
  const data: string[] = [];
  for (const line of text.split('\n')) {
    if (line.startsWith(':')) continue;
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (field === 'event') event = value;
    if (field === 'data') data.push(value);
  }
  return data.length > 0 ? { event, data: data.join('\n') } : undefined;
}

function tail(text: string): string {
  return JSON.stringify(text.slice(-200));
}
