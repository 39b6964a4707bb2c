import { SSMClient } from '@aws-sdk/client-ssm';
import type { Registry } from 'prom-client';
import { limitAnswers } from '../common/aws-call.ts';
import { createPause, sleep } from '../common/pause.ts';
import type { AwsAgents, EnvironmentSink, EnvironmentSource, EnvironmentSourceStatus, Keeper, Log } from '../ports.ts';
import { createRemembered } from './cached-source.ts';
import {
  createDescriptions,
  type Described,
  type Descriptions,
  type InForce,
  type Remarks,
  type SsmDefaults,
} from './ssm-descriptions.ts';
import type { Moment } from './ssm-drafts.ts';
import { createSsmMemory, isUnread, type MemoryOptions, type SsmMemory } from './ssm-memory.ts';
import { createSsmMetrics } from './ssm-metrics.ts';
import { createOwnerRecord } from './ssm-owner-record.ts';
import { createPacing, type Reading, type SsmIntervals } from './ssm-pacing.ts';
import { ssmParameters } from './ssm-parameters.ts';
import { createSsmReader, type Decrypted, type Decryption, describeSsmError, type SsmTimings } from './ssm-reader.ts';

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
  readonly registry?: Registry | undefined;
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
  /** How long a key that disappeared or cannot be read keeps working; 24 h. */
  readonly graceMs?: number;
  /** Unix ms, for tests. */
  readonly clock?: { now(): number };
  /** For tests; a relay never changes them. */
  readonly timings?: Partial<SourceTimings>;
}

export interface SsmSource extends EnvironmentSource {
  /**
   * How many keys exist in SSM that this process could never read, or whose environment it does not know. While there are any, an unknown credential may be one
   * of them, so it is answered with 503 and not with 401. One that only by itself cannot be decrypted counts for the
   * grace time at most.
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
  const { sink, log, intervalMs = 30_000, graceMs = 86_400_000 } = options;
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
  let closed = false;
  const pause = createPause();
  const metrics = createSsmMetrics(options.registry, {
    completeAt: progress.completeAt,
    troubled: delivery.troubled,
    unread,
  });

  function unread(): number {
    return countUnread(memory, now() - graceMs) + delivery.withheld();
  }

  async function readOnce(): Promise<Pick<Reading, 'complete' | 'unconfirmed'>> {
    const listed = await reader.list();
    const wanted = [...memory.wanted(listed)].sort((a, b) => rankOf(a) - rankOf(b));
    /** What needs no decryption, such as a revocation, is in force at once, and what was read goes first. */
    const deliverWhatIsRead = (soFar: Decrypted) => {
      const awaited = new Set(wanted.filter((name) => !soFar.has(name)));
      memory.apply(listed, { decrypted: soFar, controls: new Map(), awaited }, now());
      if (delivery.hasBegun() || canServe(memory)) delivery.deliver({ now: now(), partial: true });
    };
    if (delivery.hasBegun() && wanted.length > 0) deliverWhatIsRead(new Map());
    await record.learn(now());
    const decrypted = await reader.decrypt(wanted, deliverWhatIsRead);
    const controls = await reader.decrypt(memory.controls(listed, decrypted));
    const at = now();
    memory.apply(listed, { decrypted, controls }, at);
    for (const name of memory.takeUnknown()) {
      log.warn('Ignoring unknown SSM parameter', { parameter: `${path}/${name}` });
    }
    const outage = outageIn([...decrypted.values(), ...controls.values()]);
    // Without any key there is nothing to serve, and no credential may count as unknown.
    if (outage !== undefined && !delivery.hasBegun() && !canServe(memory)) throw new Error(outage);
    const isFirst = !delivery.hasBegun();
    const { environments, unconfirmed } = delivery.deliver({ now: at, partial: false });
    record.keep();
    if (outage !== undefined) throw new Error(outage);
    remembered?.keep(() => save(memory, descriptions.inForce(), at));
    progress.completed(at, environments);
    if (isFirst && environments === 0) log.warn('There is no environment in SSM yet', { path });
    return { complete: ![...decrypted.values()].some((one) => 'failed' in one), unconfirmed };
  }

  /** What an earlier process or another relay read, unless SSM was faster. Never rejects. */
  async function useRemembered(): Promise<void> {
    const text = await remembered?.recall();
    if (text === undefined || delivery.hasBegun() || closed) return;
    await record.learn(now());
    if (delivery.hasBegun() || closed) return;
    const reason = restoreSaved({ memory, descriptions }, text, now() - graceMs);
    if (reason !== undefined) return log.warn('Cannot use the last good keys of SSM', { reason });
    progress.remembers(delivery.deliver({ now: now(), partial: true }).environments);
  }

  /** Reads once; returns how long to wait until the next reading, in ms. */
  async function round(): Promise<number> {
    const throttledBefore = reader.throttled();
    const isThrottled = () => reader.throttled() > throttledBefore;
    const outcomeOf = (complete: boolean) => (complete ? 'complete' : isThrottled() ? 'throttled' : 'failed');
    let outcome = { complete: false, unconfirmed: false };
    try {
      outcome = await readOnce();
    } catch (error) {
      if (closed) return 0;
      progress.failed(describeSsmError(error));
    }
    metrics.read(outcomeOf(outcome.complete));
    return pacing.next({ ...outcome, throttled: isThrottled() });
  }

  async function run() {
    const recalled = new AbortController();
    const recalling = useRemembered().finally(() => recalled.abort());
    // What is remembered need not be decrypted again. A store that does not answer must not delay the first reading for long.
    if (remembered) await Promise.race([recalling, sleep(RECALL_MS, recalled.signal)]);
    while (!closed) {
      const waitMs = await round();
      if (!closed) await pause.wait(waitMs);
    }
  }

  const running = run();
  return {
    status: progress.status,
    unread,
    async close() {
      closed = true;
      reader.close();
      pause.wake();
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
  let status: EnvironmentSourceStatus = { kind: 'ssm', state: 'INITIALIZING', stateSince: now() };
  let completeAt = 0;
  let isRemembering = false;

  function enter(state: EnvironmentSourceStatus['state']): void {
    if (status.state !== state) status = { ...status, state, stateSince: now() };
  }

  return {
    status: () => status,
    /** Unix ms; 0: never. */
    completeAt: () => completeAt,
    remembers(environments: number): void {
      log.warn('Using the last good keys until SSM confirms them', { path, environments });
      isRemembering = true;
    },
    completed(at: number, environments: number): void {
      completeAt = at;
      if (status.state !== 'VALID') log.info('Read the keys in SSM', { path, environments });
      enter('VALID');
    },
    failed(reason: string): void {
      const message = `Cannot read ${path} in SSM: ${reason}`;
      if (status.state === 'VALID' || status.lastError?.message !== message) {
        const consequence = completeAt > 0 || isRemembering ? 'the last keys stay in force' : 'no key is known yet';
        log.error(`Cannot read the keys in SSM; ${consequence}, retrying`, { path, reason });
      }
      status = { ...status, lastError: { time: now(), message } };
      if (status.state === 'VALID' || isRemembering) enter('INTERRUPTED');
    },
  };
}

/** The order of decryption: SDK keys first, since nothing is served without them, then mobile keys, then the rest. */
function rankOf(name: string): number {
  const order = ['sdk-key', 'previous-sdk-key', 'mobile-key'];
  const rank = order.indexOf(name.slice(name.lastIndexOf('/') + 1));
  return rank < 0 ? order.length : rank;
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

/** Describes what is held, and delivers it if it changed. */
function createDelivery(options: {
  readonly sink: EnvironmentSink;
  readonly log: Log;
  describe(moment: Moment): Described;
}) {
  const { sink, log } = options;
  const tellRemarks = createTeller(log);
  let delivered: string | undefined;
  /** Whether every environment that exists has been delivered once. */
  let isWhole = false;
  /** The environments that were delivered last. */
  let known: ReadonlySet<string> = new Set();
  let troubled: readonly string[] = [];
  let withheld = 0;
  return {
    deliver(moment: Moment) {
      const { remarks, ...described } = options.describe(moment);
      const isReading = !isWhole && described.awaited.size > 0;
      isWhole ||= !isReading;
      // While it is being read, a new environment is delivered once something opens it.
      const descriptions = described.descriptions.filter(
        ({ id, credentials }) => known.has(id) || !described.awaited.has(id) || credentials.length > 0,
      );
      known = new Set(descriptions.map(({ id }) => id));
      tellRemarks(remarks);
      troubled = descriptions.filter(({ keyProblem }) => keyProblem).map(({ name }) => name);
      withheld = described.withheld;
      const environments = descriptions.length;
      const text = JSON.stringify(descriptions);
      if (text !== delivered) {
        if (delivered !== undefined) log.info('The environments in SSM changed', { environments });
        delivered = text;
        sink.replace(descriptions, isReading ? 'incomplete' : undefined);
      }
      return { environments, unconfirmed: described.unconfirmed };
    },
    hasBegun: () => delivered !== undefined,
    /** Names of environments with a key problem. */
    troubled: () => troubled,
    /** How many credentials open nothing until their environment is known. */
    withheld: () => withheld,
  };
}

/** Why nothing can be decrypted, not even what could be before; undefined: something can, or nothing was tried. */
function outageIn(decryptions: readonly Decryption[]): string | undefined {
  const [first] = decryptions;
  if (first === undefined || decryptions.some((one) => 'text' in one)) return undefined;
  return 'failed' in first ? first.failed : (first as { refused: string }).refused;
}

/** Whether an environment has an SDK key, or needs none. */
function canServe(memory: SsmMemory): boolean {
  return [...memory.environments().values()].some(
    (parameters) => parameters.get('sdk-key')?.text !== undefined || parameters.has('flags-file'),
  );
}

/** Keys that could not be read: by an outage, or by themselves since a time after `since` (Unix ms). */
function countUnread(memory: SsmMemory, since: number): number {
  let count = 0;
  for (const parameters of memory.environments().values()) {
    for (const [name, held] of parameters) if (ssmParameters[name].key && isUnread(held, since)) count += 1;
  }
  return count;
}

/** Logs each problem when it begins and when it ends, not at every reading. */
function createTeller(log: Log) {
  let told = new Map<string, { readonly environment: string; readonly problem: boolean }>();
  return (remarks: ReadonlyMap<string, Remarks>) => {
    const next: typeof told = new Map();
    for (const [environment, { problems, oddities }] of remarks) {
      for (const text of problems) next.set(text, { environment, problem: true });
      for (const text of oddities) next.set(text, { environment, problem: false });
    }
    for (const [text, { environment, problem }] of next) {
      if (told.has(text)) continue;
      if (problem) log.error('An SSM parameter has a problem', { environment, problem: text });
      else log.warn('An SSM parameter looks odd; using it as it is', { environment, problem: text });
    }
    for (const [text, { environment, problem }] of told) {
      if (problem && !next.has(text)) log.info('An SSM parameter is fine again', { environment, problem: text });
    }
    told = next;
  };
}
