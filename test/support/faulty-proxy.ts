/**
 * A real HTTP proxy in front of a DynamoDB server, on 127.0.0.1 and a free port, that fails like networks and tables.
 * It keeps a list of the requests that it passed on, so that a test can state what was written, and in which order.
 */
import { Agent, createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { keptConnections } from './kept-connections.ts';
import { readBody } from './read-body.ts';

export interface PassedRequest {
  /** `PutItem`, `GetItem`, … */
  readonly operation: string;
  /** Partition and sort key; '' if the operation has none. */
  readonly namespace: string;
  readonly key: string;
  /** The condition, with its names filled in; '' for none. */
  readonly condition: string;
  /** Monotonic ms. */
  readonly at: number;
  /** HTTP status of the answer; 0 before there is one. */
  status: number;
  /** Write units that the server counted. */
  writeUnits: number;
}

export interface FaultyProxy {
  readonly endpoint: string;
  /** The requests that were passed on, oldest first; a live list that `length = 0` empties. */
  readonly passed: PassedRequest[];
  /** Refuses connections and cuts those that are open. */
  cut(): void;
  /** Cuts the connection of the next request, as a server does whose keep-alive time is over. */
  cutNext(): void;
  /** Accepts requests and never answers those that `matching` accepts (default: all). */
  hang(matching?: (asked: PassedRequest) => boolean): void;
  /**
   * Holds back the requests that `matching` accepts, or what the proxy or the server answers to them, until the returned function
   * is called or the proxy heals.
   */
  hold(what: 'requests' | 'answers', matching: (asked: PassedRequest) => boolean): () => void;
  /** How many requests or answers are held back. */
  held(): number;
  /** Delays every request by this many ms. */
  slow(delayMs: number): void;
  /** Answers this share of writes (0 to 1) with ProvisionedThroughputExceededException, without passing them on. */
  throttle(share: number): void;
  /** Answers requests that `matching` accepts (default: all) with this error (`ExpiredTokenException`, …) and status 400. */
  refuse(
    errorName: string,
    matching?: (asked: { operation: string; key: string; accessKeyId: string }) => boolean,
  ): void;
  /** Passes this share of writes on, and cuts the connection instead of answering. */
  loseAnswers(share: number): void;
  /** Cuts everything after this many further requests that `matching` accepts (default: writes). */
  cutAfter(requests: number, matching?: (passed: PassedRequest) => boolean): void;
  /** Ends all faults, and cuts the connections that hang. */
  heal(): void;
  close(): Promise<void>;
}

const writes = new Set(['PutItem', 'UpdateItem', 'DeleteItem']);

/** `random` decides which requests fail: give a seeded one. */
export async function startFaultyProxy(target: string, random: () => number = Math.random): Promise<FaultyProxy> {
  const { hostname, port } = new URL(target);
  const agent = new Agent({ keepAlive: true });
  const passed: PassedRequest[] = [];
  let down = false;
  let hangs: ((asked: PassedRequest) => boolean) | undefined;
  let holds: { what: 'requests' | 'answers'; matching: (asked: PassedRequest) => boolean } | undefined;
  const held: (() => void)[] = [];
  let cutsNext = false;
  let delayMs = 0;
  let throttledShare = 0;
  let lostShare = 0;
  let refusal: string | undefined;
  let refuses: Parameters<FaultyProxy['refuse']>[1];
  let countdown: { left: number; matching: (passed: PassedRequest) => boolean } | undefined;

  const server = keptConnections(
    createServer((incoming, outgoing) => {
      collect(incoming, (body) => setTimeout(() => receive(incoming, outgoing, body), delayMs));
    }),
  );
  server.on('connection', (socket) => {
    if (down) socket.destroy();
  });

  /** Now, or when what is held back is released. */
  function pass(what: 'requests' | 'answers', asked: PassedRequest, send: () => void): void {
    if (holds?.what === what && holds.matching(asked)) held.push(send);
    else send();
  }
  function release(): void {
    holds = undefined;
    for (const send of held.splice(0)) send();
  }

  function receive(incoming: IncomingMessage, outgoing: ServerResponse, body: Buffer): void {
    const operation = String(incoming.headers['x-amz-target'] ?? '').replace(/^.*\./, '');
    const asked = describeRequest(operation, body);
    pass('requests', asked, () => handle(incoming, outgoing, body, asked));
  }

  function handle(incoming: IncomingMessage, outgoing: ServerResponse, body: Buffer, asked: PassedRequest): void {
    if (down || cutsNext) {
      cutsNext = false;
      return void outgoing.destroy();
    }
    const { operation } = asked;
    if (hangs?.(asked)) return;
    if (countdown?.matching(asked)) {
      if (countdown.left === 0) {
        cut();
        return;
      }
      countdown.left -= 1;
    }
    const throttled = writes.has(operation) && random() < throttledShare;
    const [, accessKeyId = ''] = /Credential=([^/]+)/.exec(String(incoming.headers.authorization)) ?? [];
    const refused = refuses?.({ operation, key: asked.key ?? '', accessKeyId }) ?? true;
    const error = (refused ? refusal : undefined) ?? (throttled ? 'ProvisionedThroughputExceededException' : undefined);
    if (error !== undefined) {
      pass('answers', asked, () => {
        outgoing.writeHead(400, { 'content-type': 'application/x-amz-json-1.0' });
        outgoing.end(JSON.stringify({ __type: `com.amazonaws.dynamodb.v20120810#${error}`, message: 'by the proxy' }));
      });
      return;
    }
    const lost = writes.has(operation) && random() < lostShare;
    passed.push(asked);
    const { 'content-length': _, 'transfer-encoding': __, ...headers } = incoming.headers;
    const inner = request(
      {
        ...{ host: hostname, port, agent, method: incoming.method, path: incoming.url },
        headers: { ...headers, 'content-length': body.length },
      },
      (answer) => {
        collect(answer, (text) => {
          asked.status = answer.statusCode ?? 0;
          asked.writeUnits = writes.has(operation) ? unitsOf(text) : 0;
          if (lost || down) return void outgoing.destroy();
          const { 'transfer-encoding': ___, connection: ____, ...answerHeaders } = answer.headers;
          pass('answers', asked, () => {
            outgoing.writeHead(asked.status, { ...answerHeaders, 'content-length': text.length });
            outgoing.end(text);
          });
        });
      },
    );
    inner.on('error', () => outgoing.destroy());
    inner.end(body);
  }

  function cut(): void {
    down = true;
    server.closeAllConnections();
  }

  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    passed,
    cut,
    cutNext() {
      cutsNext = true;
    },
    hang(matching = () => true) {
      hangs = matching;
    },
    hold(what, matching) {
      holds = { what, matching };
      return release;
    },
    held: () => held.length,
    slow(ms) {
      delayMs = ms;
    },
    throttle(share) {
      throttledShare = share;
    },
    refuse(errorName, matching) {
      refusal = errorName;
      refuses = matching;
    },
    loseAnswers(share) {
      lostShare = share;
    },
    cutAfter(requests, matching = ({ operation }) => writes.has(operation)) {
      countdown = { left: requests, matching };
    },
    heal() {
      if (hangs) server.closeAllConnections();
      down = false;
      release();
      hangs = undefined;
      delayMs = 0;
      throttledShare = 0;
      lostShare = 0;
      refusal = undefined;
      countdown = undefined;
    },
    async close() {
      await new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      });
      agent.destroy();
    },
  };
}

/** What breaks off is left out. */
function collect(stream: IncomingMessage, done: (bytes: Buffer) => void): void {
  readBody(stream).then(done, () => {});
}

interface Body {
  Item?: Record<string, { S?: string }>;
  Key?: Record<string, { S?: string }>;
  ConditionExpression?: string;
  ExpressionAttributeNames?: Record<string, string>;
}

function describeRequest(operation: string, body: Buffer): PassedRequest {
  const { Item, Key, ConditionExpression = '', ExpressionAttributeNames = {} } = parse(body) as Body;
  const where = Key ?? Item ?? {};
  const condition = ConditionExpression.replace(/#\w+/g, (name) => ExpressionAttributeNames[name] ?? name);
  return {
    ...{ operation, namespace: where.namespace?.S ?? '', key: where.key?.S ?? '', condition },
    ...{ at: performance.now(), status: 0, writeUnits: 0 },
  };
}

/** The test table's own proxy requests the consumed units every time. */
function unitsOf(answer: Buffer): number {
  return (parse(answer) as { ConsumedCapacity?: { CapacityUnits?: number } }).ConsumedCapacity?.CapacityUnits ?? 0;
}

function parse(bytes: Buffer): object {
  try {
    return JSON.parse(bytes.toString()) as object;
  } catch {
    return {};
  }
}
