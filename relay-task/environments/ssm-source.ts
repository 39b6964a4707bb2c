import { SSMClient } from '@aws-sdk/client-ssm';
import { awsErrorText, limitAnswers } from '../common/aws-call.ts';
import type { Measures } from '../common/measures.ts';
import { sleep, within } from '../common/pause.ts';
import type { AwsAgents, EnvironmentSink, EnvironmentSource, Keeper, Log } from '../ports.ts';
import { createRemembered } from './cached-source.ts';
import { createSourceStatus } from './source-status.ts';
import { createDelivery } from './ssm-delivery.ts';
import { createDescriptions, type Descriptions, type InForce, type SsmDefaults } from './ssm-descriptions.ts';
import { createSsmMemory, isUnread, type MemoryOptions, type SsmMemory } from './ssm-memory.ts';
import { createSsmMetrics } from './ssm-metrics.ts';
import { createOwnerRecord } from './ssm-owner-record.ts';
import { createPacing, type SsmIntervals } from './ssm-pacing.ts';
import { ssmParameters } from './ssm-parameters.ts';
import { createSsmReader, type SsmTimings } from './ssm-reader.ts';
import { readInto } from './ssm-reading.ts';

export interface SsmSourceOptions {
  /** The folder of the environments, `/edge-flag-relay/<stage>/environments`, with or without a slash at the end. */
  readonly path: string;
  /** Not closed with the source. Without it, one is created for `region`, `endpoint` and `agents`, or AWS's own configuration. */
  readonly client?: SSMClient;
  readonly region?: string | undefined;
  readonly endpoint?: string | undefined;
  readonly agents?: AwsAgents | undefined;
  readonly sink: EnvironmentSink;
  readonly log: Log;
  readonly measures?: Measures | undefined;
  readonly defaults?: SsmDefaults;
  /** Whether environments with the same prefix and different tables are apart in every store; true. */
  readonly tablesSeparate?: boolean;
  /** A prefix as the stores use it: two prefixes with the same result are one place. Default: as it is. */
  readonly prefixInStores?: ((prefix: string) => string) | undefined;
  /** Where it is kept which environment had a key first; undefined: nowhere. */
  readonly keeper?: Keeper | undefined;
  /** Where the last good keys are stored, sealed, so that a relay serves while SSM throttles or does not answer. */
  readonly cache?: { readonly keeper: Keeper; readonly secret: string } | undefined;
  /** The time between readings, ± 20 % at random; 30 s. */
  readonly intervalMs?: number;
  /** How long a key that disappeared or cannot be read keeps working. */
  readonly graceMs: number;
  /** Unix ms, for tests. */
  readonly clock?: { now(): number };
  /** For tests; a relay never changes them. */
  readonly timings?: Partial<SourceTimings>;
}

export interface SsmSource extends EnvironmentSource {
  /**
   * How many keys exist in SSM that this process could never read, or whose environment it does not know. While there are any, an
   * unknown credential may be one of them, so it is answered with 503 and not with 401. A key that cannot be decrypted although others
   * can counts for the grace time at most.
   */
  unread(): number;
}

type SourceTimings = SsmTimings & Omit<SsmIntervals, 'intervalMs'> & Pick<MemoryOptions, 'settleMs'>;

const defaultTimings: SourceTimings = {
  requestTimeoutMs: 5_000,
  retryBaseMs: 250,
  retryCapMs: 5_000,
  retries: 3,
  spacingMs: 100,
  slowestMs: 300_000,
  retryMs: 1_000,
  confirmMs: 5_000,
  settleMs: 60_000,
};

/**
 * Reads environments and their keys from SSM's Parameter Store and follows every change. A reading lists everything
 * below the path without decryption and decrypts only what changed; https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParametersByPath.html.
 * What cannot be read stays as it was and holds up nothing else. Never throws.
 */
export function startSsmSource(options: SsmSourceOptions): SsmSource {
  const { sink, log, intervalMs = 30_000, graceMs } = options;
  const now = options.clock?.now ?? Date.now;
  const timings = { ...defaultTimings, ...options.timings };
  const path = options.path.replace(/\/+$/, '');
  const client = options.client ?? openClient(options);
  const reader = createSsmReader({ client, path, timings });
  const memory = createSsmMemory({ graceMs, settleMs: timings.settleMs });
  const descriptions = createDescriptions({
    defaults: options.defaults ?? {},
    tablesSeparate: options.tablesSeparate ?? true,
    prefixInStores: options.prefixInStores,
    graceMs,
    confirmMs: timings.confirmMs * 0.8,
  });
  const pacing = createPacing({ ...timings, intervalMs });
  const record = createOwnerRecord({ keeper: options.keeper, owners: descriptions, log });
  const delivery = createDelivery({
    sink,
    log,
    describe: (moment) => descriptions.describe(memory.environments(), moment),
  });
  const remembered = options.cache && createRemembered({ ...options.cache, what: 'the last good keys of SSM', log });
  const progress = createProgress({ path, log, now });
  const closing = new AbortController();
  const metrics = createSsmMetrics(options.measures, {
    completeAt: progress.completeAt,
    troubled: delivery.troubled,
    unread,
  });

  function unread(): number {
    return countUnread(memory, now() - graceMs) + delivery.withheld();
  }

  /** What an earlier process or another relay read, unless SSM was faster. Never rejects. */
  async function useRemembered(): Promise<void> {
    const text = await remembered?.recall();
    if (text === undefined || delivery.hasBegun() || closing.signal.aborted) return;
    await record.learn(now());
    if (delivery.hasBegun() || closing.signal.aborted) return;
    const reason = restoreSaved({ memory, descriptions }, text, now() - graceMs);
    if (reason !== undefined)
      return log.warn('Cannot use the last good keys of SSM; waiting for SSM', {
        reason,
        runbook: 'operations.md#key-source-down',
      });
    progress.remembers(delivery.deliver({ now: now(), partial: true }).environments);
  }

  /** Reads once; returns how long to wait until the next reading, in ms. */
  async function round(): Promise<number> {
    const throttledBefore = reader.throttled();
    const isThrottled = () => reader.throttled() > throttledBefore;
    const outcomeOf = (complete: boolean) => (complete ? 'complete' : isThrottled() ? 'throttled' : 'failed');
    let outcome = { complete: false, unconfirmed: false };
    try {
      const read = await readInto(memory, { reader, record, delivery, log, path, now });
      remembered?.keep(() => save(memory, descriptions.inForce(), read.at));
      progress.completed(read.at, read.environments);
      if (read.isFirst && read.environments === 0)
        log.warn('There is no environment in SSM yet; every key gets 503', {
          path,
          runbook: 'operations.md#key-source-down',
        });
      outcome = read;
    } catch (error) {
      if (closing.signal.aborted) return 0;
      progress.failed(awsErrorText(error));
    }
    metrics.read(outcomeOf(outcome.complete));
    return pacing.next({ ...outcome, throttled: isThrottled() });
  }

  async function run() {
    // What is remembered need not be decrypted again. A store that does not answer must not delay the first reading for long.
    if (remembered) await within(RECALL_MS, useRemembered());
    while (!closing.signal.aborted) await sleep(await round(), closing.signal);
  }

  const running = run();
  return {
    status: progress.status,
    unread,
    async close() {
      closing.abort();
      reader.close();
      await remembered?.close();
      await running;
      await record.close();
      if (options.client === undefined) client.destroy();
    },
  };
}

/** How long the first reading waits for what is remembered. */
const RECALL_MS = 1_000;
/** Relays that hold the same keys store the same text within this time. */
const AGE_STEP_MS = 3_600_000;

function* save(memory: SsmMemory, inForce: InForce, at: number): Generator<unknown, string> {
  const saved = yield* memory.save();
  return JSON.stringify({ at: Math.floor(at / AGE_STEP_MS) * AGE_STEP_MS, memory: saved, inForce });
}

/** Loads the result of `save` into an empty memory, unless it is from before `oldest`, Unix ms. Returns why it cannot be used. */
function restoreSaved(
  { memory, descriptions }: { readonly memory: SsmMemory; readonly descriptions: Descriptions },
  text: string,
  oldest: number,
): string | undefined {
  const saved = parseSaved(text);
  if (saved !== undefined && saved.at < oldest) return 'it is older than the grace time';
  if (saved === undefined || !memory.restore(saved.memory)) return 'this version cannot read it';
  descriptions.restore(saved.inForce);
  return undefined;
}

/** We wrote and sealed it ourselves, so checking its outline is enough. Earlier versions did not say what was in force. */
function parseSaved(
  text: string,
): { readonly at: number; readonly memory: string; readonly inForce: InForce } | undefined {
  try {
    const { at, memory, inForce = { credentials: [], places: [] } } = JSON.parse(text);
    const isWhole = typeof at === 'number' && typeof memory === 'string';
    return isWhole && [inForce.credentials, inForce.places].every(Array.isArray) ? { at, memory, inForce } : undefined;
  } catch {
    return undefined;
  }
}

/** What the log and `/status` say of the readings. */
function createProgress({ path, log, now }: { readonly path: string; readonly log: Log; now(): number }) {
  const status = createSourceStatus('ssm', now);
  let completeAt = 0;
  let isRemembering = false;

  return {
    status: status.read,
    /** Unix ms; 0: never. */
    completeAt: () => completeAt,
    remembers(environments: number): void {
      log.warn('Using the last good keys until SSM confirms them', {
        path,
        environments,
        runbook: 'operations.md#key-source-down',
      });
      isRemembering = true;
    },
    completed(at: number, environments: number): void {
      completeAt = at;
      if (status.read().state !== 'VALID') log.info('Read the keys in SSM', { path, environments });
      status.answered();
    },
    failed(reason: string): void {
      const message = `Cannot read ${path} in SSM: ${reason}`;
      const { state, lastError } = status.read();
      if (state === 'VALID' || lastError?.message !== message) {
        const consequence = completeAt > 0 || isRemembering ? 'the last keys stay in force' : 'no key is known yet';
        log.error(`Cannot read the keys in SSM; ${consequence}, retrying`, {
          path,
          reason,
          runbook: 'operations.md#key-source-down',
        });
      }
      if (isRemembering) status.remembered();
      status.failed(message);
    },
  };
}

/** A page has ten parameters of 8 KB at most, in JSON. */
const MAX_ANSWER_BYTES = 4 * 1024 * 1024;

function openClient({ region, endpoint, agents }: SsmSourceOptions): SSMClient {
  return new SSMClient({
    ...(region && { region }),
    ...(endpoint && { endpoint }),
    ...(agents && { requestHandler: agents }),
    streamCollector: limitAnswers({ service: 'SSM', maxBytes: MAX_ANSWER_BYTES, maxBytesOfAll: 4 * MAX_ANSWER_BYTES }),
    // The reader has its own retries.
    maxAttempts: 1,
  });
}

/** Keys that could not be read: by an outage, or by themselves since a time after `since` (Unix ms). */
function countUnread(memory: SsmMemory, since: number): number {
  let count = 0;
  for (const parameters of memory.environments().values()) {
    for (const [name, held] of parameters) if (ssmParameters[name].key && isUnread(held, since)) count += 1;
  }
  return count;
}
