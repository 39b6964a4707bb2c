import { problemOf } from '../common/problem.ts';
import { createReader, type Reader, type ReaderConfig } from '../edge-reader/index.ts';
import type { Answer, Check, Question } from './check.ts';
import { openStream } from './open-stream.ts';

export interface CanaryReaderOptions {
  /** Default: no stream is opened, and the check is that of the table. */
  readonly relayUrl?: string | undefined;
  readonly serverName?: string | undefined;
  readonly tableName: string;
  readonly replicas: ReaderConfig['replicas'];
  /** Applies to the stream and to the table, which are checked in parallel. Default 10,000. */
  readonly timeoutMs?: number;
  /** The DynamoDB endpoint, if not the AWS default. */
  readonly endpoint?: string | undefined;
}

const context = { kind: 'user', key: 'edge-flag-relay-canary' };

/**
 * The second of two functions. It uses the reader layer, like any other function in the region: opens a stream to the
 * relay, reads the flags from the table and compares their versions. Never rejects.
 */
export function createCanaryReader(options: CanaryReaderOptions): (question: Question) => Promise<Answer> {
  const { relayUrl, serverName, tableName, replicas, endpoint, timeoutMs = 10_000 } = options;
  let reader: Reader | undefined;
  let of: string | undefined;

  /** One reader for all calls, as in any function; the prefix seldom changes. */
  function readerOf(prefix: string): Reader {
    if (!reader || of !== prefix) {
      of = prefix;
      // The check runs once a minute and must always read the table, never answer from memory.
      const fresh = { refreshMs: 1_000, maxWaitMs: timeoutMs, coldDeadlineMs: timeoutMs };
      reader = createReader({
        tableName,
        prefix,
        replicas,
        bigSegments: false,
        ...fresh,
        ...(endpoint && { endpoint }),
      });
    }
    return reader;
  }

  async function readTable(prefix: string): Promise<Map<string, number>> {
    const asked = readerOf(prefix);
    await asked.ready();
    const { $valid, $flagsState } = await asked.allFlagsState(context);
    const { message } = asked.status();
    if (!$valid) throw new Error(`could not read the flag table: ${message}`);
    return new Map(Object.entries($flagsState).map(([key, { version }]) => [key, version ?? 0]));
  }

  return async ({ sdkKey, prefix }) => {
    const [stream, table] = await Promise.all([
      relayUrl === undefined ? undefined : timed(() => openStream({ url: relayUrl, serverName, sdkKey, timeoutMs })),
      timed(() => readTable(prefix)),
    ]);
    return {
      ...(stream && { stream: stream.check }),
      table: table.check,
      ...(stream?.flags && table.flags && { differing: differing(stream.flags, table.flags) }),
    };
  };
}

async function timed<T>(work: () => Promise<T>): Promise<{ readonly check: Check; readonly flags?: T }> {
  const startedAt = performance.now();
  const ms = () => Math.round(performance.now() - startedAt);
  try {
    const flags = await work();
    return { check: { ok: true, ms: ms() }, flags };
  } catch (error) {
    return { check: { ok: false, ms: ms(), problem: problemOf(error) } };
  }
}

function differing(one: ReadonlyMap<string, number>, other: ReadonlyMap<string, number>): number {
  const keys = new Set([...one.keys(), ...other.keys()]);
  return [...keys].filter((key) => one.get(key) !== other.get(key)).length;
}
