/**
 * Stands for the load balancer between SDKs and relays: passes requests to relays in turn, at one address that outlives them. It enters
 * into a ledger which events each request had and what the relay answered, which official SDKs tell nobody.
 */
import {
  Agent,
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  request,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import { gunzipSync } from 'node:zlib';
import { type Ledger, numberOf } from './ledger.ts';

export interface Backend {
  readonly port: number;
  /** Its number in the ledger. */
  readonly index: number;
  /** Events that it answered with 202, each payload once, of all kinds. */
  acceptedEvents: number;
}

export interface FrontDoor {
  readonly uri: string;
  /** Those that get requests. */
  readonly relays: Set<Backend>;
  /** Requests that a relay has and has not answered. */
  readonly underWay: number;
  /** The same payload is counted once. */
  readonly acceptedEvents: number;
  close(): Promise<void>;
}

const POSTS_EVENTS = /^\/(?:bulk|mobile|mobile\/events|mobile\/events\/bulk|events\/bulk\/[^/]+)$/;
const isRefused = (error: NodeJS.ErrnoException) => error.code === 'ECONNREFUSED';

export async function startFrontDoor(ledger: Pick<Ledger, 'answered'>): Promise<FrontDoor> {
  const relays = new Set<Backend>();
  const agent = new Agent({ keepAlive: true });
  /** By payload ID. */
  const accepted = new Set<string>();
  let acceptedEvents = 0;
  let underWay = 0;
  let turn = 0;

  /** The relays, each time another one first. */
  function inTurn(): Backend[] {
    const all = [...relays];
    turn += 1;
    return all.map((_, index) => all[(index + turn) % all.length] as Backend);
  }

  async function passEvents(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await collected(incoming);
    const id = String(incoming.headers['x-launchdarkly-payload-id']);
    const events = [JSON.parse((isGzip(incoming.headers) ? gunzipSync(body) : body).toString())].flat();
    const numbers = events.map(numberOf).filter((number) => number !== undefined);
    for (const relay of inTurn()) {
      try {
        underWay += 1;
        const answer = await ask(relay, incoming, body);
        ledger.answered(numbers, answer.statusCode, relay.index);
        if (answer.statusCode === 202 && !accepted.has(id)) {
          accepted.add(id);
          acceptedEvents += events.length;
          relay.acceptedEvents += events.length;
        }
        response.writeHead(answer.statusCode ?? 0, answer.headers);
        return void answer.pipe(response);
      } catch (error) {
        if (isRefused(error as NodeJS.ErrnoException)) continue;
        // As a load balancer does when a target goes away.
        ledger.answered(numbers, undefined, relay.index);
        return void response.writeHead(502).end();
      } finally {
        underWay -= 1;
      }
    }
    ledger.answered(numbers, 503, 0);
    response.writeHead(503).end();
  }

  async function passOther(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await collected(incoming);
    const [relay] = inTurn();
    if (!relay) return void response.writeHead(503).end();
    try {
      const answer = await ask(relay, incoming, body);
      response.on('close', () => answer.destroy());
      answer.on('error', () => response.destroy());
      response.writeHead(answer.statusCode ?? 0, answer.headers);
      answer.pipe(response);
    } catch {
      response.destroy();
    }
  }

  function ask({ port }: Backend, { method, url, headers }: IncomingMessage, body: Buffer): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const { 'transfer-encoding': _, connection: __, ...kept } = headers;
      const length = body.length > 0 && { 'content-length': body.length };
      const sent = request({ port, host: '127.0.0.1', method, path: url, headers: { ...kept, ...length }, agent });
      sent.on('response', resolve).on('error', reject).end(body);
    });
  }

  const server = createServer((incoming, response) => {
    const isEvents = incoming.method === 'POST' && POSTS_EVENTS.test(incoming.url ?? '');
    (isEvents ? passEvents : passOther)(incoming, response).catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    uri: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    relays,
    get underWay() {
      return underWay;
    },
    get acceptedEvents() {
      return acceptedEvents;
    },
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      agent.destroy();
      await closed;
    },
  };
}

const isGzip = (headers: IncomingHttpHeaders) => headers['content-encoding'] === 'gzip';

async function collected(incoming: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
