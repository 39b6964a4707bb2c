import type { IncomingHttpHeaders } from 'node:http';
import { collectChunks } from '../common/http-request.ts';
import type { Outbound } from '../ports.ts';
import { connect } from './connect.ts';
import { createLeastPace } from './least-pace.ts';
import { createReceived, type ReceivedMemory, receivedLimit } from './received-limit.ts';
import { type Failure, invalidData } from './status.ts';

export class FailureError extends Error {
  readonly failure: Failure;
  constructor(failure: Failure) {
    super(failure.message);
    this.failure = failure;
  }
}

export interface DownloadOptions {
  readonly userAgent: string;
  readonly outbound?: Outbound | undefined;
  /** 3 s. */
  readonly connectTimeoutMs?: number | undefined;
  /** Within this time the body must bring 1 byte per ms; 30 s. */
  readonly silenceTimeoutMs?: number | undefined;
  /** `receivedLimit` */
  readonly maxAnswerBytes?: number | undefined;
  /** Where the answer counts until it is complete; one that finds no room is given up. Undefined: nowhere. */
  readonly receivedMemory?: ReceivedMemory | undefined;
}

export interface Download {
  /** 2xx, or 304 to a request with an ETag. */
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly chunks: readonly Buffer[];
}

/** Fetches JSON. Follows redirects. Rejects with a FailureError. */
export function download(
  { url, key, etag }: { readonly url: URL; readonly key: string; readonly etag?: string | undefined },
  options: DownloadOptions,
  signal: AbortSignal,
): Promise<Download> {
  const { silenceTimeoutMs = 30_000, maxAnswerBytes = receivedLimit() } = options;
  return new Promise((resolve, reject) => {
    let abandon = () => {};
    let arrivedBytes = 0;
    const received = createReceived(options.receivedMemory);
    const answer = received.part('the answer to a poll');
    const pace = createLeastPace({
      unfinished: () => ({ what: `the answer of ${url.host}`, withinMs: silenceTimeoutMs }),
      arrivedBytes: () => arrivedBytes,
      isBusy: () => false,
      onTooSlow: (problem) => broken(problem, 'TIMEOUT'),
    });
    const end = () => {
      pace.stop();
      answer.hold(0);
      signal.removeEventListener('abort', onAbort);
    };
    const fail = (failure: Failure) => {
      end();
      abandon();
      reject(new FailureError(failure));
    };
    const broken = (message: string, code?: string) => fail({ kind: 'NETWORK_ERROR', code, message });
    const onAbort = () => broken('the request was cancelled');
    signal.addEventListener('abort', onAbort);
    const connection = connect({
      url: () => url,
      outbound: options.outbound,
      connectTimeoutMs: options.connectTimeoutMs ?? 3_000,
      // The first response may be large.
      headTimeoutMs: 30_000,
      headers: {
        Authorization: key,
        'User-Agent': options.userAgent,
        Accept: 'application/json',
        ...(etag !== undefined && { 'If-None-Match': etag }),
      },
      onFailure: fail,
      onResponse(response) {
        abandon = () => response.destroy();
        received.onGivenUp = (message) => broken(message, 'NO_ROOM');
        pace.check();
        response.on('data', ({ length }: Buffer) => {
          if (response.destroyed) return;
          arrivedBytes += length;
          const problem = answer.hold(arrivedBytes);
          if (problem !== undefined) fail(invalidData(problem));
        });
        collectChunks(response, { maxBytes: maxAnswerBytes }).then(
          (chunks) => {
            end();
            resolve({ status: response.statusCode ?? 0, headers: response.headers, chunks });
          },
          (error: Error) => {
            const kind = response.errored ? 'NETWORK_ERROR' : 'INVALID_DATA';
            fail({ kind, message: `${url.host} ${error.message}` });
          },
        );
      },
    });
    abandon = () => connection.abort();
    if (signal.aborted) onAbort();
  });
}
