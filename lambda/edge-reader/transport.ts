import { Agent as HttpAgent, request as httpRequest } from 'node:http';
import { Agent, request } from 'node:https';
import { type Credentials, signedHeaders } from './sign.ts';

/** A DynamoDB response, in its JSON protocol. */
export type Answer = Record<string, unknown>;

interface Answered {
  readonly answer: Answer;
  /** Unix ms: when it was asked for. */
  readonly askedAt: number;
}

/** An error response. `isLasting`: trying again at once cannot help. `isOurs`: the request was wrong. */
export interface Problem extends Error {
  readonly isLasting?: boolean;
  readonly isOurs?: boolean;
}

/** DynamoDB in one region, over keep-alive connections. */
export interface Transport {
  readonly region: string;
  /** How long to wait for an answer, from the time that the last one took; Infinity before the first. */
  enoughMs(): number;
  /** Rejects with a Problem that names the cause: connection failure, timeout, or an HTTP status with AWS's message. */
  call(operation: string, body: unknown, timeoutMs: number): Promise<Answered>;
}

interface TransportOptions {
  readonly region: string;
  readonly endpoint: string | undefined;
  /** Read for each signature, since Lambda rotates credentials while an environment runs. */
  readonly env: Credentials;
  now(): number;
}

/** A connection that was idle for longer may be dead without having been closed, so it must answer as fast as it usually does. */
const IDLE_MS = 5_000;
/** A connection that was idle for longer is not used again. */
const MOST_IDLE_MS = 600_000;
/** The shortest time after which an answer counts as missing. */
const LEAST_PATIENCE_MS = 50;
/**
 * Three trips to read a large change, three to notice that the connection is dead, and two to open another one; the processor time; and the
 * minimum.
 */
const MOST_TRIPS = 8;
const SPARE_MS = 50;
const LEAST_WAIT_MS = 100;
/** DynamoDB answers with at most 16 MB, which base64 enlarges by a third. Source: "BatchGetItem", API reference. */
const MOST_BYTES = 32 * 1024 * 1024;
/** If a timer fires this late, the process was frozen, as Lambda does between invocations. */
const LATE_MS = 100;

/**
 * Signed DynamoDB calls over `node:https`, not `fetch`: loading that adds at least 50 ms to a cold start.
 * Source: AWS Signature Version 4; DynamoDB's low-level API (JSON 1.0).
 */
export function createTransport({ region, endpoint, env, now }: TransportOptions): Transport {
  const url = new URL(endpoint ?? `https://dynamodb.${region}.amazonaws.com${region.startsWith('cn-') ? '.cn' : ''}`);
  const isPlain = url.protocol === 'http:';
  const agent = new (isPlain ? HttpAgent : Agent)({ keepAlive: true });
  let usedAt = 0;
  /** How long the last answer took to come, without what opening a connection took. */
  let tripMs: number | undefined;

  const closeIdle = () => {
    for (const socket of Object.values(agent.freeSockets).flat()) socket?.destroy();
  };

  const patienceMs = () => Math.max(LEAST_PATIENCE_MS, 3 * (tripMs ?? Infinity));

  /** `isSure`: whether a connection that was kept open is known to be alive. */
  const send = (operation: string, body: string, timeoutMs: number, isSure: boolean) =>
    new Promise<Answered>((resolve, reject) => {
      // Before it is signed, so that a connection is opened meanwhile.
      const outgoing = (isPlain ? httpRequest : request)(url, { method: 'POST', agent });
      const startedAt = now();
      let timer: NodeJS.Timeout;
      let dueAt = 0;
      let wasFrozen = false;
      let isOver = false;
      const fail = (cause: Error & { code?: string }, isDead = /^E(CONNRESET|PIPE)$/.test(cause.code ?? '')) => {
        isOver = true;
        clearTimeout(timer);
        reject(Object.assign(cause, { onReused: outgoing.reusedSocket && isDead }));
      };
      const wait = (ms: number, leftMs: number) => {
        dueAt = now() + ms;
        // After a freeze, timers fire before sockets are read, and the answer may be waiting in the socket.
        timer = setTimeout(() => setImmediate(expire, dueAt, leftMs), ms);
      };
      const expire = (dueAt: number, leftMs: number) => {
        if (isOver) return;
        if (!wasFrozen && now() - dueAt > LATE_MS) {
          wasFrozen = true;
          wait(Math.min(timeoutMs, patienceMs()), timeoutMs);
        } else if (!outgoing.reusedSocket && leftMs > 0) wait(leftMs, 0);
        else {
          fail(new Error(`no answer in ${Math.round(timeoutMs)} ms`), leftMs > 0);
          outgoing.destroy();
        }
      };
      const firstMs = isSure ? timeoutMs : Math.min(timeoutMs, patienceMs());
      wait(firstMs, timeoutMs - firstMs);
      outgoing.on('error', fail);
      outgoing.on('response', (incoming) => {
        const chunks: Buffer[] = [];
        // Else the process was frozen, and sockets were read before timers.
        const isPrompt = now() <= dueAt;
        // The connection is alive; what is missing may be large.
        clearTimeout(timer);
        wait(timeoutMs, 0);
        let bytes = 0;
        incoming.on('data', (chunk: Buffer) => {
          chunks.push(chunk);
          bytes += chunk.length;
          if (bytes > MOST_BYTES) incoming.destroy(new Error('an answer of more than 32 MB'));
        });
        incoming.on('error', fail);
        incoming.on('end', () => {
          isOver = true;
          clearTimeout(timer);
          usedAt = now();
          // Opening a connection takes one trip, and with TLS three.
          const trips = outgoing.reusedSocket ? 1 : isPlain ? 2 : 4;
          // Rises slowly, since a short freeze may be in it.
          if (isPrompt && !wasFrozen) tripMs = Math.min((usedAt - startedAt) / trips, 2 * (tripMs ?? Infinity));
          try {
            resolve({ answer: parseAnswer(incoming.statusCode, Buffer.concat(chunks).toString()), askedAt: startedAt });
          } catch (problem) {
            reject(problem);
          }
        });
      });
      const headers = signedHeaders({ host: url.host, region, operation, body }, env, startedAt);
      for (const [name, value] of Object.entries(headers)) outgoing.setHeader(name, value);
      outgoing.end(body);
    });

  return {
    region,
    enoughMs: () => Math.max(LEAST_WAIT_MS, MOST_TRIPS * (tripMs ?? Infinity) + SPARE_MS),
    async call(operation, body, timeoutMs) {
      const text = JSON.stringify(body);
      const startedAt = now();
      if (startedAt - usedAt > MOST_IDLE_MS) closeIdle();
      try {
        return await send(operation, text, timeoutMs, startedAt - usedAt < IDLE_MS);
      } catch (problem) {
        // The connection had been closed, or is dead: the request is made again on a new one. It only reads.
        if (!(problem as { onReused?: boolean }).onReused) throw problem;
        closeIdle();
        return await send(operation, text, Math.max(timeoutMs / 2, timeoutMs - (now() - startedAt)), true);
      }
    },
  };
}

function parseAnswer(status: number | undefined, text: string): Answer {
  if (status === 200) return JSON.parse(text);
  // For example `{"__type":"com.amazonaws.dynamodb.v20120810#ThrottlingException","message":…}`.
  const reason = text.slice(0, 200);
  throw Object.assign(new Error(`HTTP ${status} ${reason}`), {
    isLasting: status !== undefined && status < 500 && !/Throttl|Throughput|Limit/.test(reason),
    isOurs: /ValidationException/.test(reason),
  });
}
