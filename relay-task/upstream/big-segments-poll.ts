import { collectChunks, describeError } from '../common/http-request.ts';
import { joinInSlices } from '../common/sliced-json.ts';
import { inSlices } from '../common/slices.ts';
import type { BigSegmentPatch, Outbound } from '../ports.ts';
import { parsePatchesInSlices } from './big-segments-patches.ts';
import { connect } from './connect.ts';
import { streamUrl } from './event-stream.ts';
import type { Failure } from './status.ts';

export class FailureError extends Error {
  readonly failure: Failure;
  constructor(failure: Failure) {
    super(failure.message);
    this.failure = failure;
  }
}

export interface PollOptions {
  /** LaunchDarkly's server or another relay; `/sdk/big-segments/revisions` is appended to its path. */
  readonly baseUri: string;
  readonly userAgent: string;
  readonly outbound?: Outbound | undefined;
  /** 3 s. */
  readonly connectTimeoutMs?: number;
  /** From the connection to the response headers; 30 s, since the first response may be large. */
  readonly answerTimeoutMs?: number;
  /** Between two chunks of the body; 30 s. */
  readonly silenceTimeoutMs?: number;
  /** 256 MiB. */
  readonly maxAnswerBytes?: number;
}

/**
 * Fetches the patches after `cursor` ('' for all); an empty list means that the cursor is up to date. Rejects with a
 * FailureError. Throws CONFIG_INVALID when `baseUri` is not an http or https address.
 */
export async function pollPatches(
  options: PollOptions,
  cursor: string,
  sdkKey: string,
  signal: AbortSignal,
): Promise<BigSegmentPatch[]> {
  const query = cursor === '' ? '' : `?after=${encodeURIComponent(cursor)}`;
  const url = streamUrl(options.baseUri, '/sdk/big-segments/revisions', query);
  const chunks = await download(url, options, sdkKey, signal);
  try {
    return await parsePatchesInSlices(await inSlices(joinInSlices(chunks)));
  } catch (error) {
    throw new FailureError({ kind: 'INVALID_DATA', message: describeError(error) });
  }
}

function download(url: URL, options: PollOptions, sdkKey: string, signal: AbortSignal): Promise<Buffer[]> {
  const { silenceTimeoutMs = 30_000, maxAnswerBytes = 256 * 1024 * 1024 } = options;
  return new Promise((resolve, reject) => {
    let abandon = () => {};
    let timer: NodeJS.Timeout | undefined;
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
    };
    const fail = (failure: Failure) => {
      end();
      abandon();
      reject(new FailureError(failure));
    };
    const broken = (message: string) => fail({ kind: 'NETWORK_ERROR', message });
    const onAbort = () => broken('the request was cancelled');
    signal.addEventListener('abort', onAbort);
    const connection = connect({
      url,
      outbound: options.outbound,
      connectTimeoutMs: options.connectTimeoutMs ?? 3_000,
      headTimeoutMs: options.answerTimeoutMs ?? 30_000,
      headers: { Authorization: sdkKey, 'User-Agent': options.userAgent, Accept: 'application/json' },
      onFailure: fail,
      onResponse(response) {
        abandon = () => response.destroy();
        const silent = () => broken(`${url.host} stopped sending before the end of its answer`);
        timer = setTimeout(silent, silenceTimeoutMs);
        response.on('data', () => timer?.refresh());
        collectChunks(response, maxAnswerBytes).then(
          (chunks) => {
            end();
            resolve(chunks);
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
