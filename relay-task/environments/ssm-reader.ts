/** Requests to SSM's Parameter Store: paged, paced and in batches. */
import { GetParametersByPathCommand, GetParametersCommand, type Parameter, type SSMClient } from '@aws-sdk/client-ssm';
import { awsStatusOf, callAws, isThrottle } from '../common/aws-call.ts';
import { sleep } from '../common/pause.ts';

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

export interface Decrypted {
  readonly texts: ReadonlyMap<string, string>;
  /** Those that cannot be read, with the reason. Parameters deleted meanwhile are in neither. */
  readonly unreadable: ReadonlyMap<string, string>;
}

export interface SsmReader {
  /** Everything below the path; SecureStrings without their values. */
  list(): Promise<readonly Listed[]>;
  /**
   * The values of `names`; one that cannot be decrypted does not fail the others. `control` is a parameter that was
   * readable before: when nothing can be read, not even the control, the permission is gone and the call rejects.
   */
  decrypt(names: readonly string[], control?: string): Promise<Decrypted>;
  /** How many requests were throttled since the start. */
  throttled(): number;
  /** Rejects requests in progress. */
  close(): void;
}

/** The limit of parameters in one request or answer. */
const BATCH = 10;
const BURST = 10;
/** An account has at most 10,000 parameters: more pages mean an endless listing. */
const MOST_PAGES = 2_000;

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

  function call<T>(send: (abortSignal: AbortSignal) => Promise<T>): Promise<T> {
    return callAws(send, {
      service: 'SSM',
      timeoutMs: timings.requestTimeoutMs,
      retries: timings.retries,
      backoff: { firstMs: timings.retryBaseMs, maxMs: timings.retryCapMs },
      retryUnanswered: true,
      signal: closing.signal,
      before: () => sleep(pace(), closing.signal),
      onError(error) {
        if (isThrottle(error)) throttled += 1;
      },
    });
  }

  async function read(names: readonly string[]): Promise<readonly Parameter[]> {
    const command = new GetParametersCommand({ Names: names.map((name) => prefix + name), WithDecryption: true });
    return (await call((abortSignal) => client.send(command, { abortSignal }))).Parameters ?? [];
  }

  /** SSM fails a batch when one of its parameters cannot be decrypted; then each is requested alone. */
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
          Path: path,
          Recursive: true,
          WithDecryption: false,
          MaxResults: BATCH,
          ...(NextToken !== undefined && { NextToken }),
        });
        const page = await call((abortSignal) => client.send(command, { abortSignal }));
        for (const parameter of page.Parameters ?? []) listed.push(listedOf(parameter, prefix));
        NextToken = page.NextToken || undefined;
        if (NextToken === undefined) return listed;
      }
      throw new Error(`The listing of ${path} in SSM did not end after ${MOST_PAGES} pages`);
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
    name: Name.slice(prefix.length),
    arn: ARN,
    type: Type ?? 'String',
    version: Version,
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

/** SSM or KMS refused, and would refuse again. */
function isRefusal(error: unknown): boolean {
  const status = awsStatusOf(error);
  return !isThrottle(error) && status >= 400 && status < 500;
}

/** Returns how long the next request has to wait, in ms: not at all for a burst, then evenly spaced. */
function createPace(spacingMs: number): () => number {
  let free = performance.now() - BURST * spacingMs;
  return () => {
    const now = performance.now();
    free = Math.max(free, now - BURST * spacingMs) + spacingMs;
    return Math.max(0, free - now);
  };
}
