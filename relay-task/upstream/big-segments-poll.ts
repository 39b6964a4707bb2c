import { errorText } from '../common/error-text.ts';
import type { BigSegmentPatch } from '../ports.ts';
import { parsePatchesInSlices } from './big-segments-patches.ts';
import { type DownloadOptions, download, FailureError } from './download.ts';
import { streamUrl } from './event-stream.ts';
import { type LargeWait, workOnAnswer } from './large.ts';
import { mostValuesIn, receivedLimit } from './received-limit.ts';
import { invalidData } from './status.ts';
import { queryOf } from './streams.ts';

export interface PollOptions extends DownloadOptions, Pick<LargeWait, 'delayMs' | 'onDelay'> {
  /** LaunchDarkly's server or another relay; `/sdk/big-segments/revisions` is appended to its path. */
  readonly baseUri: string;
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
  const url = streamUrl(options.baseUri, '/sdk/big-segments/revisions', queryOf({ after: cursor }));
  const { maxAnswerBytes = receivedLimit(), receivedMemory, delayMs, onDelay } = options;
  const answer = await download({ url, key: sdkKey }, { ...options, maxAnswerBytes }, signal);
  try {
    return await workOnAnswer(answer, { receivedMemory, signal, delayMs, onDelay }, (body) =>
      parsePatchesInSlices(body, mostValuesIn(2 * maxAnswerBytes)),
    );
  } catch (error) {
    if (error instanceof FailureError) throw error;
    throw new FailureError(invalidData(errorText(error)));
  }
}
