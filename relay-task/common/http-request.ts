/** One HTTP request with a deadline and a limit on its answer. Redirects are not followed, nothing is retried. */
import http from 'node:http';
import https from 'node:https';

export interface HttpRequestOptions {
  readonly url: URL;
  /** GET unless told. */
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Buffer | string | undefined;
  /** False: a connection of its own, since a pooled one may have died unnoticed. Absent: Node's own pool. */
  readonly agent?: http.Agent | false | undefined;
  /** For everything, from the connection to the end of the answer. */
  readonly timeoutMs: number;
  /** A longer answer fails the request. Absent: the head is the answer, and the body is thrown away. */
  readonly maxAnswerBytes?: number;
  readonly signal?: AbortSignal | undefined;
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: Buffer;
}

/** Rejects with an Error of one sentence that names the host and neither headers nor body. */
export function httpRequest(options: HttpRequestOptions): Promise<HttpAnswer> {
  const { url, method = 'GET', headers, body, agent, timeoutMs, maxAnswerBytes, signal } = options;
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
    const cancel = () => fail('was not asked to the end: the request was cancelled', signal?.reason);
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
      return fail(`could not be asked: ${describeError(error)}`, error);
    }
    request.on('error', (error) => fail(`could not be asked: ${describeError(error)}`, error));
    request.on('response', (response) => {
      const { statusCode: status = 0, headers: answerHeaders } = response;
      const succeed = (answer: Buffer) => {
        end();
        resolve({ status, headers: answerHeaders, body: answer });
      };
      if (maxAnswerBytes === undefined) {
        // An answer that is cut off while it is thrown away is still an answer.
        response.on('error', () => {});
        // The deadline holds until the rest has arrived, so that no socket stays open for a body that never ends.
        response.on('close', end);
        response.resume();
        return resolve({ status, headers: answerHeaders, body: Buffer.alloc(0) });
      }
      collect(response, maxAnswerBytes).then(succeed, (error: Error) => fail(error.message, error));
    });
    request.end(body);
  });
}

/** The whole body. Rejects when it is longer than `maxBytes` or breaks off; the message goes behind a host's name. */
export async function collect(response: http.IncomingMessage, maxBytes: number): Promise<Buffer> {
  return Buffer.concat(await collectChunks(response, maxBytes));
}

/** The same, in the pieces in which it arrived. */
export function collectChunks(response: http.IncomingMessage, maxBytes: number): Promise<Buffer[]> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    response.on('error', (error) => reject(new Error(`broke off its answer: ${describeError(error)}`)));
    response.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= maxBytes) chunks.push(chunk);
      else reject(new Error(`answered with more than ${maxBytes} bytes`));
    });
    response.on('end', () => resolve(chunks));
  });
}

/** `http.request` or `https.request`, as the address asks. */
export function requestOf(url: URL): typeof https.request {
  return url.protocol === 'https:' ? https.request : http.request;
}

/** The message of a system error, some of which have none. */
export function describeError(error: unknown): string {
  const { message, code } = error as Partial<NodeJS.ErrnoException>;
  return message || code || String(error);
}
