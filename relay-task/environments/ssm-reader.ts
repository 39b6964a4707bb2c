/** Requests to SSM's Parameter Store: paged, paced, in batches, each with a deadline, retried where that may help. */
import { GetParametersByPathCommand, GetParametersCommand, type Parameter, type SSMClient } from '@aws-sdk/client-ssm';

export interface SsmTimings {
  /** A request without an answer is given up after so long. */
  readonly requestTimeoutMs: number;
  /** First pause before a request is sent again; doubles, with jitter, up to `retryCapMs`. */
  readonly retryBaseMs: number;
  readonly retryCapMs: number;
  /** How often a request is sent again within one reading. */
  readonly retries: number;
  /** The least time between two requests once the first ten are sent: SSM admits 40 a second to an account. */
  readonly spacingMs: number;
}

/** One parameter as a listing shows it. */
export interface Listed {
  /** Below the path, without the slash: `production/sdk-key`. */
  readonly name: string;
  readonly arn: string;
  readonly type: string;
  readonly version: number;
  /** Unix ms. A parameter that was deleted and made again begins at version 1 again: only this tells them apart. */
  readonly modifiedAt: number;
  /** Undefined for a SecureString, which is listed without being decrypted. */
  readonly text: string | undefined;
}

export interface Decrypted {
  readonly texts: ReadonlyMap<string, string>;
  /** Those that cannot be read, with the reason; those that are gone meanwhile are in neither. */
  readonly unreadable: ReadonlyMap<string, string>;
}

export interface SsmReader {
  /** Everything below the path, SecureStrings undecrypted. */
  list(): Promise<readonly Listed[]>;
  /**
   * The values of `names`. One that cannot be decrypted does not take the others with it. `control` names one that was
   * readable before: when nothing can be read, not even that, it is the permission that is gone, and the call rejects.
   */
  decrypt(names: readonly string[], control?: string): Promise<Decrypted>;
  /** How many answers said that we ask too often, ever. */
  throttled(): number;
  /** Ends requests and pauses under way; they reject. */
  close(): void;
}

/** What one call of SSM's may name, or answer with. */
const BATCH = 10;
const BURST = 10;
/** SSM's own limit is 10,000 parameters; more pages mean that it sends us in circles. */
const MOST_PAGES = 2_000;

const throttles = new Set(['ThrottlingException', 'Throttling', 'TooManyRequestsException', 'RequestLimitExceeded']);

export function createSsmReader(options: {
  readonly client: SSMClient;
  readonly path: string;
  readonly timings: SsmTimings;
}): SsmReader {
  const { client, path, timings } = options;
  const closing = new AbortController();
  const prefix = `${path}/`;
  const pace = createPace(timings.spacingMs);
  let throttled = 0;

  /** Settles in time whatever the SDK does. */
  async function once<T>(send: (abortSignal: AbortSignal) => Promise<T>): Promise<T> {
    const deadline = new AbortController();
    const late = setTimeout(() => deadline.abort(), timings.requestTimeoutMs);
    const abortSignal = AbortSignal.any([deadline.signal, closing.signal]);
    try {
      return await Promise.race([send(abortSignal), rejectionOf(abortSignal)]);
    } catch (error) {
      if (closing.signal.aborted || !deadline.signal.aborted) throw error;
      throw new Error(`no answer from SSM within ${timings.requestTimeoutMs} ms`, { cause: error });
    } finally {
      clearTimeout(late);
    }
  }

  async function persist<T>(send: (abortSignal: AbortSignal) => Promise<T>): Promise<T> {
    for (let failures = 0; ; failures++) {
      await sleep(pace(), closing.signal);
      try {
        return await once(send);
      } catch (error) {
        if (isThrottle(error)) throttled += 1;
        if (closing.signal.aborted || failures >= timings.retries || !isPassing(error)) throw error;
        const pauseMs = Math.min(timings.retryCapMs, timings.retryBaseMs * 2 ** failures);
        await sleep(pauseMs * (0.5 + Math.random() / 2), closing.signal);
      }
    }
  }

  async function read(names: readonly string[]): Promise<readonly Parameter[]> {
    const command = new GetParametersCommand({ Names: names.map((name) => prefix + name), WithDecryption: true });
    return (await persist((abortSignal) => client.send(command, { abortSignal }))).Parameters ?? [];
  }

  /** A batch fails as a whole when one of it cannot be decrypted: then each is asked for alone. */
  async function readEach(names: readonly string[], texts: Map<string, string>, unreadable: Map<string, string>) {
    const keep = (parameters: readonly Parameter[]) => {
      for (const { Name = '', Value } of parameters) {
        if (Value !== undefined) texts.set(Name.slice(prefix.length), Value);
      }
    };
    for (let start = 0; start < names.length; start += BATCH) {
      const batch = names.slice(start, start + BATCH);
      try {
        keep(await read(batch));
      } catch (error) {
        if (!isRefusal(error)) throw error;
        for (const name of batch) {
          try {
            keep(batch.length === 1 ? await Promise.reject(error) : await read([name]));
          } catch (refusal) {
            if (!isRefusal(refusal)) throw refusal;
            unreadable.set(name, describeSsmError(refusal));
          }
        }
      }
    }
  }

  return {
    async list() {
      const listed: Listed[] = [];
      let NextToken: string | undefined;
      for (let pages = 0; pages < MOST_PAGES; pages++) {
        const command = new GetParametersByPathCommand({
          ...{ Path: path, Recursive: true, WithDecryption: false, MaxResults: BATCH },
          ...(NextToken !== undefined && { NextToken }),
        });
        const page = await persist((abortSignal) => client.send(command, { abortSignal }));
        for (const parameter of page.Parameters ?? []) listed.push(listedOf(parameter, prefix));
        NextToken = page.NextToken || undefined;
        if (NextToken === undefined) return listed;
      }
      throw new Error(`SSM's listing of ${path} does not end: ${MOST_PAGES} pages were read`);
    },

    async decrypt(names, control) {
      const texts = new Map<string, string>();
      const unreadable = new Map<string, string>();
      await readEach(names, texts, unreadable);
      if (unreadable.size > 0 && texts.size === 0) {
        const controls = new Map<string, string>();
        if (control !== undefined) await readEach([control], controls, new Map());
        if (controls.size === 0) throw new Error([...unreadable.values()][0]);
      }
      return { texts, unreadable };
    },

    throttled: () => throttled,
    close: () => closing.abort(),
  };
}

function listedOf(
  { Name = '', ARN = '', Type, Version = 0, LastModifiedDate, Value }: Parameter,
  prefix: string,
): Listed {
  return {
    ...{ name: Name.slice(prefix.length), arn: ARN, type: Type ?? 'String', version: Version },
    modifiedAt: LastModifiedDate?.getTime() ?? 0,
    text: Type === 'SecureString' ? undefined : Value,
  };
}

/** One sentence, without any value. */
export function describeSsmError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { name, message } = error;
  const code = (error as NodeJS.ErrnoException).code;
  const text = message || code || 'no answer';
  return name === '' || name === 'Error' || name === 'AggregateError' || text.startsWith(name)
    ? text
    : `${name}: ${text}`;
}

export function isThrottle(error: unknown): boolean {
  return error instanceof Error && (throttles.has(error.name) || statusOf(error) === 429);
}

/** SSM or KMS answered, and will answer the same again. */
function isRefusal(error: unknown): boolean {
  return !isThrottle(error) && statusOf(error) >= 400 && statusOf(error) < 500;
}

function isPassing(error: unknown): boolean {
  return isThrottle(error) || statusOf(error) === 0 || statusOf(error) >= 500;
}

/** 0: there was no answer. */
function statusOf(error: unknown): number {
  return (error as { $metadata?: { httpStatusCode?: number } } | undefined)?.$metadata?.httpStatusCode ?? 0;
}

/** Answers how long the next request has to wait: not at all for a burst, then evenly. */
function createPace(spacingMs: number): () => number {
  let free = performance.now() - BURST * spacingMs;
  return () => {
    const now = performance.now();
    free = Math.max(free, now - BURST * spacingMs) + spacingMs;
    return Math.max(0, free - now);
  };
}

function rejectionOf(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const give = () => reject(signal.reason);
    if (signal.aborted) give();
    else signal.addEventListener('abort', give, { once: true });
  });
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    if (ms <= 0) return resolve();
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', stop);
      resolve();
    }, ms);
    signal.addEventListener('abort', stop, { once: true });
  });
}
