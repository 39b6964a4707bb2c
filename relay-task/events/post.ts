import http from 'node:http';
import https from 'node:https';
import type { Outbound } from '../ports.ts';

export interface PostOptions {
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
  readonly outbound?: Outbound | undefined;
  /** For everything, from the connection to the end of the answer. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

export type PostAnswer =
  | {
      readonly status: number;
      /** LaunchDarkly's clock, Unix ms. */
      readonly serverTime?: number;
      readonly retryAfterMs?: number;
    }
  /** There was no answer. The text is Node's and names no key. */
  | { readonly problem: string };

/** One POST. Redirects are not followed. Never rejects. */
export function post({ url, headers, body, outbound, timeoutMs, signal }: PostOptions): Promise<PostAnswer> {
  return new Promise((resolve) => {
    const fail = (error: NodeJS.ErrnoException) => resolve({ problem: error.message || error.code || String(error) });
    try {
      const { request: send } = url.protocol === 'https:' ? https : http;
      const agent = outbound?.agentFor(url);
      const request = send(url, {
        method: 'POST',
        headers: { ...headers, 'Content-Length': String(body.length) },
        signal,
        ...(agent && { agent }),
      });
      const timer = setTimeout(() => request.destroy(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
      request.on('close', () => clearTimeout(timer));
      request.on('error', fail);
      request.on('response', (response) => {
        resolve(answerOf(response));
        // What is cut off while it is read away has nothing more to say.
        response.on('error', () => {});
        response.resume();
      });
      request.end(body);
    } catch (error) {
      // A key with characters that no header may carry.
      fail(error as Error);
    }
  });
}

function answerOf({ statusCode = 0, headers }: http.IncomingMessage): PostAnswer {
  const serverTime = Date.parse(headers.date ?? '');
  const seconds = /^\d{1,6}$/.exec(headers['retry-after'] ?? '')?.[0];
  return {
    status: statusCode,
    ...(Number.isFinite(serverTime) && { serverTime }),
    ...(seconds !== undefined && { retryAfterMs: Number(seconds) * 1_000 }),
  };
}
