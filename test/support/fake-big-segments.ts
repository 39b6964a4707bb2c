/**
 * LaunchDarkly's two endpoints of Big Segments on a real server: `GET /sdk/big-segments/revisions[?after=VERSION]` and the
 * stream `GET /big-segments`. It keeps a history of patches, sends it to every client, and can be made to misbehave.
 */
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { keptConnections } from './kept-connections.ts';

/** A patch on the wire. */
export interface WirePatch {
  readonly environmentId?: string;
  readonly segmentId: string;
  readonly version: string;
  readonly previousVersion: string;
  readonly changes?: {
    readonly included?: { readonly add?: readonly string[] | null; readonly remove?: readonly string[] | null } | null;
    readonly excluded?: { readonly add?: readonly string[] | null; readonly remove?: readonly string[] | null } | null;
  } | null;
}

export interface FakeBigSegments {
  /** `http://127.0.0.1:PORT` */
  readonly uri: string;
  /** Path and query of every request so far. */
  readonly asked: readonly { readonly url: string; readonly key: string; readonly userAgent: string }[];
  /** The patches that polls return, oldest first. */
  readonly history: WirePatch[];
  readonly openStreams: number;
  /** The patches that polls with these keys return instead of `history`. */
  readonly histories: Map<string, readonly WirePatch[]>;
  /** The accepted keys; undefined: any. */
  keys: ReadonlySet<string> | undefined;
  /** Polls are answered with this status instead. */
  pollStatus: number | undefined;
  /** Polls are answered with this text instead, or with what the function makes of the cursor. */
  pollText: string | ((after: string) => string) | undefined;
  /** Delays all polls, rejections included. */
  pollDelayMs: number;
  /** Streams are answered with this status instead. */
  streamStatus: number | undefined;
  /** The most patches per poll. */
  pageSize: number;
  /** Adds patches to the history and sends them to every stream as one event. */
  push(...patches: readonly WirePatch[]): void;
  /** Sends text to every stream only. */
  stream(data: string): void;
  /** The number of polls and of stream requests so far. */
  polls(): number;
  streams(): number;
  /** Ends the streams of this key, or all. */
  endStreams(key?: string): void;
  close(): Promise<void>;
}

export async function startFakeBigSegments(...history: WirePatch[]): Promise<FakeBigSegments> {
  const asked: { url: string; key: string; userAgent: string }[] = [];
  const streams = new Map<ServerResponse, string>();
  const server = keptConnections(
    createServer((request, response) => {
      const url = new URL(request.url ?? '', 'http://fake');
      const key = request.headers.authorization ?? '';
      asked.push({ url: request.url ?? '', key, userAgent: request.headers['user-agent'] ?? '' });
      setTimeout(() => answer(url, key, response), url.pathname === '/big-segments' ? 0 : fake.pollDelayMs);
    }),
  );
  function answer(url: URL, key: string, response: ServerResponse): void {
    if (fake.keys && !fake.keys.has(key)) return void response.writeHead(401).end();
    if (url.pathname === '/big-segments') {
      if (fake.streamStatus) return void response.writeHead(fake.streamStatus).end();
      response.writeHead(200, { 'Content-Type': 'text/event-stream' }).flushHeaders();
      streams.set(response, key);
      response.on('close', () => streams.delete(response));
    } else if (url.pathname === '/sdk/big-segments/revisions') {
      if (fake.pollStatus) return void response.writeHead(fake.pollStatus).end();
      const after = url.searchParams.get('after');
      const history = fake.histories.get(key) ?? fake.history;
      const from = after === null ? 0 : history.findLastIndex(({ version }) => version === after) + 1;
      response.writeHead(200, { 'Content-Type': 'application/json' });
      const { pollText } = fake;
      const text = typeof pollText === 'function' ? pollText(after ?? '') : pollText;
      response.end(text ?? JSON.stringify(history.slice(from, from + fake.pageSize)));
    } else response.writeHead(404).end();
  }
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));

  const fake: FakeBigSegments = {
    uri: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    history,
    histories: new Map(),
    get openStreams() {
      return streams.size;
    },
    ...{
      keys: undefined,
      pollStatus: undefined,
      pollText: undefined,
      streamStatus: undefined,
      pageSize: 100,
      pollDelayMs: 0,
    },
    push(...patches) {
      history.push(...patches);
      fake.stream(JSON.stringify(patches));
    },
    stream(data) {
      for (const response of streams.keys()) response.write(`event: patch\ndata: ${data}\n\n`);
    },
    polls: () => asked.filter(({ url }) => url.startsWith('/sdk/')).length,
    streams: () => asked.filter(({ url }) => url === '/big-segments').length,
    endStreams(key) {
      for (const [response, of] of streams) {
        if (key !== undefined && key !== of) continue;
        streams.delete(response);
        response.end();
      }
    },
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
  return fake;
}

/** `included` and `excluded`: `+HASH` adds, `-HASH` removes. */
export function wirePatch(
  segmentId: string,
  previousVersion: string,
  version: string,
  included: readonly string[] = [],
  excluded: readonly string[] = [],
): WirePatch {
  const split = (list: readonly string[]) => ({
    add: list.filter((one) => one.startsWith('+')).map((one) => one.slice(1)),
    remove: list.filter((one) => one.startsWith('-')).map((one) => one.slice(1)),
  });
  const changes = { included: split(included), excluded: split(excluded) };
  return { environmentId: '64a0', segmentId, version, previousVersion, changes };
}
