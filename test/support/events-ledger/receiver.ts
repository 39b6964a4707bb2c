/** LaunchDarkly's events API: takes each payload ID once, and misbehaves as told. It enters what arrives into a ledger. */
import { hash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { freePort } from '../free-port.ts';
import { type Ledger, numberOf } from './ledger.ts';

/**
 * A status; `hang`: no answer until `release`; `reset`: the connection ends and nothing is taken; `lost`: the events are taken, but the
 * connection ends before the answer.
 */
export type Reaction = number | 'hang' | 'reset' | 'lost';

export interface EventReceiver {
  /** Decides what happens to a payload. */
  react: (payload: { readonly credential: string; readonly bytes: number }) => Reaction;
  /** The address for the relay with this number, by which its payloads are told from those of others. */
  uriFor(relay: number): string;
  /** Events in payloads that were taken, of all kinds; of one relay or of all. */
  events(relay?: number): number;
  /** Events in payloads that were taken, but never answered: the relay cannot know that they arrived. */
  unansweredEvents(relay?: number): number;
  /** Payloads that came again with an ID that was taken before. */
  readonly repeatedPayloads: number;
  /** Requests that wait for an answer. */
  readonly hanging: number;
  /** Requests so far. */
  readonly requests: number;
  /** What is wrong with requests: no ID, another text under a known ID, a changed event. */
  readonly complaints: readonly string[];
  /** Ends the requests that hang, unanswered. */
  release(): void;
  /** Nobody listens any more. */
  leave(): Promise<void>;
  comeBack(): Promise<void>;
  close(): Promise<void>;
}

interface Taken {
  readonly events: number;
  readonly relay: number;
  /** The connections on which it was told so. */
  readonly answered: Set<Socket>;
}

const unzip = promisify(gunzip);

/** `environments`: the number of the environment that each SDK key, mobile key and client-side ID belongs to; others get 401. */
export async function startEventReceiver(
  ledger: Pick<Ledger, 'arrived'>,
  environments: Readonly<Record<string, number>>,
): Promise<EventReceiver> {
  const hanging = new Set<IncomingMessage>();
  const sockets = new Set<Socket>();
  const complaints: string[] = [];
  /** Payload IDs with a digest of what they stand for. */
  const taken = new Map<string, string>();
  const payloads = new Map<string, Taken>();
  /** What was answered last on each connection. */
  const lastAnswers = new Map<Socket, Taken>();
  const eventsFrom = new Map<number, number>();
  const count = { repeatedPayloads: 0, requests: 0 };
  let server: Server | undefined;
  // It goes and comes back.
  const port = await freePort();

  /** Returns how many events are new. */
  function take(id: string, text: string, environment: number, relay: number): number {
    const digest = hash('sha1', text);
    const known = taken.get(id);
    if (known !== undefined) {
      count.repeatedPayloads += 1;
      if (known !== digest) complaints.push(`payload ${id} came again with another text`);
      return 0;
    }
    taken.set(id, digest);
    // Not counted: what the relay itself tells about its use.
    const events = (JSON.parse(text) as { kind?: string }[]).filter(({ kind }) => kind !== 'relayMetrics');
    for (const event of events) {
      const number = numberOf(event);
      if (number !== undefined) ledger.arrived(number, environment);
    }
    eventsFrom.set(relay, (eventsFrom.get(relay) ?? 0) + events.length);
    return events.length;
  }

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    count.requests += 1;
    const { headers } = request;
    const [, relay = '', path = ''] = /^\/relay-(\d+)(\/.*)$/.exec(request.url ?? '') ?? [];
    const text = await bodyOf(request);
    const credential = headers.authorization ?? decodeURIComponent(path.split('/').at(-1) ?? '');
    const environment = environments[credential];
    const reaction = environment === undefined ? 401 : receiver.react({ credential, bytes: Buffer.byteLength(text) });
    if (reaction === 'hang') return void hanging.add(request);
    if (reaction === 'reset') return void request.socket.destroy();
    if (typeof reaction === 'number' && reaction > 299) return void response.writeHead(reaction).end();
    // What the relay tells about itself.
    if (path.endsWith('/diagnostic')) return void response.writeHead(202).end();
    const id = String(headers['x-launchdarkly-payload-id'] ?? '');
    if (id === '') complaints.push(`a payload for ${path} has no ID`);
    const { socket } = request;
    const events = take(id, text, environment ?? -1, Number(relay));
    const payload = payloads.get(id) ?? { events, relay: Number(relay), answered: new Set() };
    payloads.set(id, payload);
    if (reaction === 'lost') return void socket.destroy();
    // A relay that has gone, or that gave the request up, gets no answer.
    if (socket.destroyed || socket.readableEnded) return;
    payload.answered.add(socket);
    lastAnswers.set(socket, payload);
    response.writeHead(reaction).end();
  }

  const listen = async () => {
    const opened = createServer((request, response) => {
      handle(request, response).catch((error: unknown) => {
        // A client that goes away in the middle of its body is what some tests are about.
        if (!request.destroyed || request.complete) complaints.push(String(error));
        request.socket.destroy();
      });
    });
    opened.on('connection', (socket: Socket) => {
      sockets.add(socket);
      // Reset: the answer came when the relay had closed the connection.
      socket.on('error', () => lastAnswers.get(socket)?.answered.delete(socket));
      socket.on('close', () => {
        sockets.delete(socket);
        lastAnswers.delete(socket);
      });
    });
    await new Promise<void>((resolve, reject) => opened.once('error', reject).listen(port, '127.0.0.1', resolve));
    server = opened;
  };

  const leave = async () => {
    const closed = new Promise((resolve) => (server ? server.close(resolve) : resolve(undefined)));
    server = undefined;
    for (const socket of sockets) socket.destroy();
    hanging.clear();
    await closed;
  };

  await listen();
  const receiver: EventReceiver = {
    react: () => 202,
    uriFor: (relay) => `http://127.0.0.1:${port}/relay-${relay}`,
    events: (relay) =>
      Array.from(eventsFrom).reduce((sum, [from, events]) => (from === (relay ?? from) ? sum + events : sum), 0),
    unansweredEvents: (of) =>
      Array.from(payloads.values()).reduce(
        (sum, { relay, events, answered }) => (answered.size === 0 && relay === (of ?? relay) ? sum + events : sum),
        0,
      ),
    get repeatedPayloads() {
      return count.repeatedPayloads;
    },
    get requests() {
      return count.requests;
    },
    get hanging() {
      return hanging.size;
    },
    complaints,
    release() {
      for (const { socket } of hanging) socket.destroy();
      hanging.clear();
    },
    leave,
    comeBack: () => (server ? Promise.resolve() : listen()),
    close: leave,
  };
  return receiver;
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const body = Buffer.concat(chunks);
  return (request.headers['content-encoding'] === 'gzip' ? await unzip(body) : body).toString();
}
