import { Agent as HttpAgent, request as httpRequest } from 'node:http';
import { Agent, request } from 'node:https';
import { type Credentials, signedHeaders } from './sign.ts';

/** A DynamoDB response, in its JSON protocol. */
export type Answer = Record<string, unknown>;

/** DynamoDB in one region, over keep-alive connections. */
export interface Transport {
  readonly region: string;
  /** Rejects with an Error that names the cause: connection failure, timeout, or an HTTP status with AWS's message. */
  call(operation: string, body: unknown, timeoutMs: number): Promise<Answer>;
  /** Closes all connections, so that the next call opens a new one. TLS sessions are kept and resumed. */
  drop(): void;
}

export interface TransportOptions {
  readonly region: string;
  readonly endpoint: string | undefined;
  /** Read for each signature, since Lambda rotates credentials while an environment runs. */
  readonly env: Credentials;
  now(): number;
}

/** A connection that was idle for longer (freezes included) may be dead, so it is not reused. */
const IDLE_MS = 20_000;

/**
 * Signed DynamoDB calls over `node:https`, not `fetch`: loading that adds at least 50 ms to a cold start.
 * Source: AWS Signature Version 4; DynamoDB's low-level API (JSON 1.0).
 */
export function createTransport({ region, endpoint, env, now }: TransportOptions): Transport {
  const url = new URL(endpoint ?? `https://dynamodb.${region}.amazonaws.com${region.startsWith('cn-') ? '.cn' : ''}`);
  const plain = url.protocol === 'http:';
  const agent = plain ? new HttpAgent({ keepAlive: true }) : new Agent({ keepAlive: true });
  let usedAt = 0;

  const closeIdle = () => {
    for (const sockets of Object.values(agent.freeSockets)) for (const socket of sockets ?? []) socket.destroy();
  };

  const send = (operation: string, body: string, timeoutMs: number) =>
    new Promise<Answer>((resolve, reject) => {
      const headers = signedHeaders({ host: url.host, region, operation, body }, env, now());
      const outgoing = (plain ? httpRequest : request)(url, { method: 'POST', headers, agent });
      const timer = setTimeout(() => {
        reject(new Error(`no answer in ${Math.round(timeoutMs)} ms`));
        outgoing.destroy();
      }, timeoutMs);
      const fail = (cause: Error & { code?: string }) => {
        clearTimeout(timer);
        reject(Object.assign(cause, { onReused: outgoing.reusedSocket && cause.code === 'ECONNRESET' }));
      };
      outgoing.on('error', fail);
      outgoing.on('response', (incoming) => {
        const chunks: Buffer[] = [];
        incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
        incoming.on('error', fail);
        incoming.on('end', () => {
          clearTimeout(timer);
          usedAt = now();
          try {
            resolve(parseAnswer(incoming.statusCode, Buffer.concat(chunks).toString()));
          } catch (problem) {
            reject(problem);
          }
        });
      });
      outgoing.end(body);
    });

  return {
    region,
    async call(operation, body, timeoutMs) {
      const text = JSON.stringify(body);
      const startedAt = now();
      if (startedAt - usedAt > IDLE_MS) closeIdle();
      try {
        return await send(operation, text, timeoutMs);
      } catch (problem) {
        // The server closed the idle connection, so this request was never processed: retry on a new one.
        if (!(problem as { onReused?: boolean }).onReused) throw problem;
        closeIdle();
        return await send(operation, text, Math.max(1, timeoutMs - (now() - startedAt)));
      }
    },
    drop: () => agent.destroy(),
  };
}

function parseAnswer(status: number | undefined, text: string): Answer {
  if (status === 200) return JSON.parse(text);
  // For example `{"__type":"com.amazonaws.dynamodb.v20120810#ThrottlingException","message":…}`.
  throw new Error(`HTTP ${status} ${text.slice(0, 200)}`);
}
