/** One HTTP request with a deadline and a limit on its answer. Redirects are not followed, nothing is retried. */
import http from 'node:http';
import https from 'node:https';
import { type Budget, createShare } from './budget.ts';
import { errorText } from './error-text.ts';
import { createJsonGuard, type JsonLimits } from './json-shape.ts';

/** What an answer may be; what is absent is not limited. */
interface AnswerLimits {
  readonly maxBytes: number;
  /** Where the answer counts until it is complete; one that finds no room is given up. */
  readonly memory?: Budget | undefined;
  /** Of an answer that is JSON. */
  readonly json?: JsonLimits | undefined;
}

interface HttpRequestOptions {
  readonly url: URL;
  /** Default: GET. */
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Buffer | string | undefined;
  /** False: a connection of its own, since a pooled one may have died unnoticed. Absent: Node's own pool. */
  readonly agent?: http.Agent | false | undefined;
  /** For everything, from the connection to the end of the answer. */
  readonly timeoutMs: number;
  /** A longer answer fails the request. Absent: only the head is read, and the body is thrown away. */
  readonly maxAnswerBytes?: number;
  /** Further limits, which need `maxAnswerBytes`. */
  readonly answer?: Omit<AnswerLimits, 'maxBytes'>;
  readonly signal?: AbortSignal | undefined;
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: Buffer;
}

/** Rejects with an Error of one sentence that names the host and neither headers nor body. */
export function httpRequest(options: HttpRequestOptions): Promise<HttpAnswer> {
  const { url, method = 'GET', headers, body, agent, timeoutMs, maxAnswerBytes, answer, signal } = options;
  return new Promise((resolve, reject) => {
    let request: http.ClientRequest | undefined;
    const end = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', cancel);
    };
    const fail = (reason: string, cause?: unknown) => {
      end();
      request?.destroy();
      reject(new Error(`${url.host} ${reason}`, { cause }));
    };
    const cancel = () => fail('did not answer before the request was cancelled', signal?.reason);
    const timer = setTimeout(() => fail(`did not answer within ${timeoutMs} ms`), timeoutMs);
    if (signal?.aborted) return cancel();
    signal?.addEventListener('abort', cancel);
    try {
      request = requestOf(url)(url, {
        method,
        headers: { ...headers, ...(body !== undefined && { 'content-length': String(Buffer.byteLength(body)) }) },
        ...(agent !== undefined && { agent }),
      });
    } catch (error) {
      // A key with characters that no header may carry. Node's message names the header, not its value.
      return fail(`was sent no request: ${errorText(error)}`, error);
    }
    request.on('error', (error) => fail(`could not be reached: ${errorText(error)}`, error));
    request.on('response', (response) => {
      const { statusCode: status = 0, headers: answerHeaders } = response;
      const succeed = (answered: Buffer) => {
        end();
        resolve({ status, headers: answerHeaders, body: answered });
      };
      if (maxAnswerBytes === undefined) {
        // An answer that is cut off while it is thrown away is still an answer.
        response.on('error', () => {});
        // The deadline holds until the rest has arrived, so that no socket stays open for a body that never ends.
        response.on('close', end);
        response.resume();
        return resolve({ status, headers: answerHeaders, body: Buffer.alloc(0) });
      }
      collect(response, { ...answer, maxBytes: maxAnswerBytes }).then(succeed, (error: Error) =>
        fail(error.message, error),
      );
    });
    request.end(body);
  });
}

/** The whole body. Rejects when it is above the limits or breaks off; the message goes behind a host's name. Destroys nothing. */
export async function collect(response: http.IncomingMessage, limits: AnswerLimits): Promise<Buffer> {
  return Buffer.concat(await collectChunks(response, limits));
}

/** The same, in the pieces in which it arrived. */
export function collectChunks(response: http.IncomingMessage, limits: AnswerLimits): Promise<Buffer[]> {
  const { maxBytes, memory, json } = limits;
  // However many answers never end, some room is left for the next.
  const share = memory && createShare(memory);
  const guard = json && createJsonGuard(json);
  let chunks: Buffer[] | undefined = [];
  let bytes = 0;
  return new Promise((resolve, reject) => {
    const end = () => {
      const collected = chunks ?? [];
      chunks = undefined;
      share?.release(share.usedBytes);
      return collected;
    };
    const fail = (reason: string) => {
      end();
      reject(new Error(reason));
    };
    response.on('error', (error) => fail(`broke off its answer: ${errorText(error)}`));
    response.on('close', () => fail('broke off its answer'));
    response.on('data', (chunk: Buffer) => {
      if (chunks === undefined) return;
      bytes += chunk.length;
      if (bytes > maxBytes) return fail(`answered with more than ${maxBytes} bytes`);
      if (share?.reserve(chunk.length) === false) {
        return fail(`answered with ${bytes} bytes or more, and all answers being read may take ${share.maxBytes}`);
      }
      chunks.push(chunk);
      try {
        guard?.(chunk);
      } catch (error) {
        fail(errorText(error));
      }
    });
    response.on('end', () => resolve(end()));
  });
}

/** `http.request` or `https.request`, as the address asks. */
function requestOf(url: URL): typeof https.request {
  return url.protocol === 'https:' ? https.request : http.request;
}
