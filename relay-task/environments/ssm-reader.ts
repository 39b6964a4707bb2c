/** Requests to SSM's Parameter Store: paged, paced and in batches. */
import {
  GetParametersByPathCommand,
  type GetParametersByPathCommandOutput,
  GetParametersCommand,
  type Parameter,
  type SSMClient,
} from '@aws-sdk/client-ssm';
import { awsErrorText, awsStatusOf, callAws, isThrottle } from '../common/aws-call.ts';
import { sleep } from '../common/pause.ts';
import { createRequestPace } from './ssm-pacing.ts';

export interface SsmTimings {
  /** A request without an answer fails after this time. */
  readonly requestTimeoutMs: number;
  /** The first delay before a request is sent again; doubles up to `retryCapMs`. */
  readonly retryBaseMs: number;
  readonly retryCapMs: number;
  /** How often a request is sent again within one reading. */
  readonly retries: number;
  /** The least time between two requests after a burst of ten: SSM allows an account 40 a second. */
  readonly spacingMs: number;
}

/** One parameter as a listing shows it. */
export interface Listed {
  /** Below the path, without the slash: `production/sdk-key`. */
  readonly name: string;
  readonly arn: string;
  readonly type: string;
  readonly version: number;
  /** Unix ms. Tells a parameter from one that was deleted and created again, which starts at version 1, too. */
  readonly modifiedAt: number;
  /** Undefined for a SecureString: listings do not decrypt. */
  readonly text: string | undefined;
}

/** What reading one value gave. */
export type Decryption =
  | { readonly text: string }
  /** SSM or KMS refused this parameter, and would refuse it again. */
  | { readonly refused: string }
  /** No answer, or one that may be different next time. */
  | { readonly failed: string };

/** By name. Parameters that were deleted since the listing are missing. */
export type Decrypted = ReadonlyMap<string, Decryption>;

/** The limit of parameters in one request or answer. */
const BATCH = 10;
/** A listing that takes longer begins again: what its first pages said may have changed. */
const LISTING_MS = 300_000;
/** An account has at most 10,000 parameters: more pages mean an endless listing. */
const MOST_PAGES = 2_000;
/** What a listing may hold: as much as 2,000 environments with long settings, and little beside the process's memory. */
const MOST_LISTED_BYTES = 16 * 1024 * 1024;
/** Of one parameter beside its texts. */
const LISTED_BYTES = 200;

export type SsmReader = ReturnType<typeof createSsmReader>;

export function createSsmReader(options: {
  readonly client: SSMClient;
  readonly path: string;
  readonly timings: SsmTimings;
}) {
  const { client, path, timings } = options;
  const closing = new AbortController();
  const prefix = `${path}/`;
  const pace = createRequestPace(timings.spacingMs);
  /** Names whose last reading gave no value. */
  const unreadable = new Set<string>();
  let throttled = 0;

  function call<T>(send: (abortSignal: AbortSignal) => Promise<T>, retries = timings.retries): Promise<T> {
    return callAws(send, {
      service: 'SSM',
      timeoutMs: timings.requestTimeoutMs,
      retries,
      backoff: { firstMs: timings.retryBaseMs, maxMs: timings.retryCapMs },
      retryUnanswered: true,
      signal: closing.signal,
      before: () => sleep(pace.next(), closing.signal),
      onError(error) {
        if (!isThrottle(error)) return;
        throttled += 1;
        pace.throttled();
      },
    });
  }

  async function read(names: readonly string[], retries?: number): Promise<Map<string, Decryption>> {
    const command = new GetParametersCommand({ Names: names.map((name) => prefix + name), WithDecryption: true });
    const { Parameters = [] } = await call((abortSignal) => client.send(command, { abortSignal }), retries);
    return new Map(
      Parameters.flatMap(({ Name = '', Value }) =>
        Value === undefined ? [] : [[Name.slice(prefix.length), { text: Value }]],
      ),
    );
  }

  const listing = createListing(path, (command) => call((abortSignal) => client.send(command, { abortSignal })));

  /** SSM fails a batch because of one parameter in it; then each is requested alone. */
  async function readBatch(names: readonly string[]): Promise<Decrypted> {
    try {
      return await read(names);
    } catch (error) {
      // Ten requests instead of one would only be throttled more.
      if (names.length === 1 || isThrottle(error)) return new Map(names.map((name) => [name, decryptionOf(error)]));
      const retries = isRefusal(error) ? timings.retries : 0;
      const alone = names.map((name) =>
        read([name], retries).catch((reason: unknown) => new Map([[name, decryptionOf(reason)]])),
      );
      return new Map((await Promise.all(alone)).flatMap((one) => [...one]));
    }
  }

  return {
    /**
     * Everything below the path; SecureStrings without their values. After a failure the next call continues with the page that
     * failed.
     */
    list: listing.next,

    /**
     * The values of `names`. One that cannot be read does not fail the others. `onBatch` is called with what was read so far
     * when more is to follow. Rejects only once closed.
     */
    async decrypt(names: readonly string[], onBatch: (soFar: Decrypted) => void = () => {}): Promise<Decrypted> {
      const decrypted = new Map<string, Decryption>();
      // What could not be read last time comes last, so that it never holds up the others.
      const inOrder = [...names].sort((a, b) => Number(unreadable.has(a)) - Number(unreadable.has(b)));
      for (let start = 0; start < inOrder.length; start += BATCH) {
        const batch = inOrder.slice(start, start + BATCH);
        const found = await readBatch(batch);
        closing.signal.throwIfAborted();
        for (const name of batch) {
          const decryption = found.get(name);
          if (decryption === undefined || 'text' in decryption) unreadable.delete(name);
          else unreadable.add(name);
          if (decryption !== undefined) decrypted.set(name, decryption);
        }
        const failure = failureOfAll(batch, found);
        if (failure === undefined) {
          if (start + BATCH < inOrder.length) onBatch(decrypted);
          continue;
        }
        // SSM itself fails, and more requests could take minutes.
        for (const name of inOrder.slice(start)) decrypted.set(name, failure);
        break;
      }
      return decrypted;
    },

    /** How many requests were throttled since the start. */
    throttled: () => throttled,
    /** Rejects requests in progress. */
    close: () => closing.abort(),
  };
}

/** Lists everything below the path, page by page. A page that fails does not throw away the ones before it. */
function createListing(
  path: string,
  send: (command: GetParametersByPathCommand) => Promise<GetParametersByPathCommandOutput>,
) {
  /** A listing that failed on the way. */
  let unfinished: Listing | undefined;

  const readPage = (NextToken: string | undefined) =>
    send(
      new GetParametersByPathCommand({
        Path: path,
        Recursive: true,
        WithDecryption: false,
        MaxResults: BATCH,
        ...(NextToken !== undefined && { NextToken }),
      }),
    );

  return {
    /** The whole listing. Rejects if a page fails; the next call continues there. */
    async next(): Promise<readonly Listed[]> {
      let listing = unfinished ?? begin();
      if (performance.now() - listing.startedAt > LISTING_MS) listing = begin();
      for (let refused = false; listing.pages < MOST_PAGES; ) {
        unfinished = listing;
        try {
          const page = await readPage(listing.token);
          for (const parameter of page.Parameters ?? []) {
            const listed = listedOf(parameter, `${path}/`);
            listing.listed.push(listed);
            listing.bytes += bytesOf(listed);
          }
          listing.pages += 1;
          listing.token = page.NextToken || undefined;
        } catch (error) {
          // SSM no longer knows the token.
          if (refused || listing.token === undefined || !isRefusal(error)) throw error;
          refused = true;
          listing = begin();
          continue;
        }
        if (listing.bytes > MOST_LISTED_BYTES) {
          unfinished = undefined;
          throw new Error(
            `The parameters below ${path} in SSM are more than ${MOST_LISTED_BYTES} bytes; keep others elsewhere`,
          );
        }
        if (listing.token !== undefined) continue;
        unfinished = undefined;
        return listing.listed;
      }
      unfinished = undefined;
      throw new Error(`The listing of ${path} in SSM did not end after ${MOST_PAGES} pages`);
    },
  };
}

/** A listing on its way. */
interface Listing {
  readonly listed: Listed[];
  readonly startedAt: number;
  pages: number;
  /** What `listed` takes in memory. */
  bytes: number;
  /** Of the next page. */
  token: string | undefined;
}

const begin = (): Listing => ({ listed: [], startedAt: performance.now(), pages: 0, bytes: 0, token: undefined });

/** Names and texts may hold any characters, so each counts two bytes. */
function bytesOf({ name, arn, text = '' }: Listed): number {
  return LISTED_BYTES + 2 * (name.length + arn.length + text.length);
}

function listedOf(
  { Name = '', ARN = '', Type, Version = 0, LastModifiedDate, Value }: Parameter,
  prefix: string,
): Listed {
  return {
    name: Name.slice(prefix.length),
    arn: ARN,
    type: Type ?? 'String',
    version: Version,
    modifiedAt: LastModifiedDate?.getTime() ?? 0,
    text: Type === 'SecureString' ? undefined : Value,
  };
}

/** The failure of the first name, if none of them got an answer of its own. */
function failureOfAll(names: readonly string[], decrypted: Decrypted): Decryption | undefined {
  const isFailure = (name: string) => 'failed' in (decrypted.get(name) ?? {});
  return names.every(isFailure) ? decrypted.get(names[0] ?? '') : undefined;
}

function decryptionOf(error: unknown): Decryption {
  const reason = awsErrorText(error);
  return isRefusal(error) ? { refused: reason } : { failed: reason };
}

/** SSM or KMS refused, and would refuse again. */
function isRefusal(error: unknown): boolean {
  const status = awsStatusOf(error);
  return !isThrottle(error) && status >= 400 && status < 500;
}
