import { spread } from '../common/backoff.ts';
import { errorText } from '../common/error-text.ts';
import { isObject } from '../common/json.ts';
import { describeExcessInSlices } from '../common/json-shape.ts';
import { membersInSlices, namesIn } from '../common/json-text.ts';
import { sleep } from '../common/pause.ts';
import { decodeInSlices, parseTextInSlices } from '../common/sliced-text.ts';
import { inSlices } from '../common/slices.ts';
import { takeApart } from '../common/take-apart.ts';
import type { Log, Outbound } from '../ports.ts';
import { type DownloadOptions, download, FailureError } from './download.ts';
import { streamUrl } from './event-stream.ts';
import { createFDv2Reader } from './fdv2-reader.ts';
import { createDelays, type LargeWait, workOnAnswer } from './large.ts';
import type { Held } from './messages.ts';
import { createOutageLines } from './outage-lines.ts';
import { bytesOf, describeTooLarge, mostParsedIn, mostValuesIn, receivedLimit } from './received-limit.ts';
import { createRetries, type RetryOptions } from './retries.ts';
import { type Failure, invalidData } from './status.ts';
import { type FlagStreamOptions, flagOutage, queryOf } from './streams.ts';
import type { Synchronizer, SynchronizerEvents, Way } from './synchronizer.ts';

interface FDv2PollOptions
  extends Pick<DownloadOptions, 'userAgent' | 'connectTimeoutMs' | 'receivedMemory' | 'silenceTimeoutMs'>,
    Pick<LargeWait, 'delayMs'>,
    Pick<RetryOptions, 'refusedBackoff' | 'random'> {
  /** LaunchDarkly's server or another relay; `/sdk/poll` is appended to its path. */
  readonly baseUri: string;
  readonly sdkKey: string;
  readonly filter?: string | undefined;
  readonly outbound?: Outbound | undefined;
  readonly log: Log;
  readonly held?: Held | undefined;
  readonly serving?: FlagStreamOptions['serving'];
  /** Between two polls. */
  readonly pollIntervalMs: number;
  /** Of one answer; `receivedLimit`. */
  readonly maxAnswerBytes?: number | undefined;
}

/** FDv2's `/sdk/poll`. Throws CONFIG_INVALID when `baseUri` is not an http or https address. */
export function fdv2Poll(options: FDv2PollOptions): Way {
  streamUrl(options.baseUri, '/sdk/poll', '');
  return { name: 'polling', start: (events, basis) => startPoll(options, events, basis) };
}

function startPoll(
  options: FDv2PollOptions,
  events: SynchronizerEvents,
  basis: () => string | undefined,
): Synchronizer {
  const { baseUri, sdkKey, filter, log, pollIntervalMs, maxAnswerBytes = receivedLimit() } = options;
  const { receivedMemory, delayMs, random } = options;
  const retries = createRetries(options);
  const delays = createDelays({ name: 'Polling LaunchDarkly', log, onDelay: events.onDelay });
  const outage = createOutageLines({ ...flagOutage(options), what: 'Polling LaunchDarkly', log });
  const closing = new AbortController();
  const { signal } = closing;
  /** Of the last answer. */
  let last: { readonly url: string; readonly etag: string | undefined } | undefined;

  async function poll(): Promise<void> {
    const known = basis();
    const url = streamUrl(baseUri, '/sdk/poll', queryOf({ basis: known, filter }));
    const etag = known !== undefined && last?.url === url.href ? last.etag : undefined;
    const answer = await download({ url, key: sdkKey, etag }, { ...options, maxAnswerBytes }, signal);
    if (signal.aborted) return;
    events.onOpen(answer.headers);
    const receivedAt = performance.now();
    const failure =
      answer.status === 304
        ? events.onStep({ kind: 'current' }, receivedAt)
        : await workOnAnswer(answer, { receivedMemory, signal, delayMs, onDelay: delays.tell }, (body) =>
            inSlices(take(body, receivedAt)),
          );
    if (typeof failure === 'object') throw new FailureError(failure);
    if (signal.aborted) return;
    events.onAlive();
    last = { url: url.href, etag: answer.headers.etag ?? (answer.status === 304 ? etag : undefined) };
    outage.worked();
    retries.succeeded();
  }

  /** Reports the events of an answer one by one. */
  function* take(body: Buffer, receivedAt: number): Generator<void, Failure | undefined> {
    const reader = createFDv2Reader({ held: options.held, maxBytes: maxAnswerBytes });
    let isComplete = false;
    for (const { event, data } of yield* eventsIn(body, maxAnswerBytes)) {
      if (signal.aborted) return undefined;
      const step = yield* reader.read(event, data);
      isComplete ||= step.kind === 'full' || step.kind === 'changes' || step.kind === 'current';
      const verdict = events.onStep(step, receivedAt);
      if (typeof verdict === 'object') return verdict;
      if (verdict === 'reconnect') break;
      yield;
    }
    return isComplete ? undefined : invalidData('the answer to a poll ends before its payload was transferred');
  }

  async function run(): Promise<void> {
    while (!signal.aborted) {
      // Relays and environments that began to poll together must not stay in step.
      let delayMs = Math.round(spread(pollIntervalMs, 0.1, random));
      try {
        await poll();
      } catch (error) {
        if (signal.aborted) return;
        const failure = error instanceof FailureError ? error.failure : invalidData(errorText(error));
        if (failure.refused) delayMs = retries.pauseMs(failure);
        events.onFailure(failure);
        // The next request asks for everything.
        if (failure.isAboutState && basis() === undefined) delayMs = 0;
        outage.failed(failure, delayMs);
      }
      await sleep(delayMs, signal);
    }
  }
  void run();

  return { close: () => closing.abort() };
}

/** The events of an answer, `{"events":[{"event":NAME,"data":{…}},…]}`, with their data as text. Throws an Error. */
function* eventsIn(
  body: Buffer,
  maxBytes: number,
): Generator<void, { readonly event: string | undefined; readonly data: string }[]> {
  const text = yield* decodeInSlices(body);
  if (bytesOf(text) > maxBytes) throw new Error(describeTooLarge('the answer to a poll', maxBytes));
  const events: { readonly event: string | undefined; readonly data: string }[] = [];
  try {
    const { frame, parts } = yield* takeApart(text, [], ['events'], mostValuesIn(maxBytes));
    if (!isObject(frame) || !Array.isArray(frame.events)) throw new Error('the answer to a poll has no list of events');
    for (const element of parts.get('events')?.values() ?? []) {
      events.push(yield* eventIn(element, maxBytes));
      yield;
    }
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    // The parser's own error would quote the body, which may contain a key.
    throw new Error(`the answer to a poll, ${body.length} bytes, is not JSON`);
  }
  return events;
}

/** Throws SyntaxError. The reader rejects what is too large to be parsed. */
function* eventIn(
  text: string,
  maxBytes: number,
): Generator<void, { readonly event: string | undefined; readonly data: string }> {
  const isExcessive = (yield* describeExcessInSlices(text, mostParsedIn(maxBytes))) !== undefined;
  if (!text.startsWith('{') || !(isExcessive || isObject(yield* parseTextInSlices(text))))
    throw new Error('an event in the answer to a poll is not an object');
  return {
    event: (yield* namesIn(text, ['event'])).get('event'),
    data: (yield* membersInSlices(text, ['data'])).get('data') ?? 'null',
  };
}
