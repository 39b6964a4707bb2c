/** Delivers payloads of one environment to LaunchDarkly, with retries. */
import { randomUUID } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import type { PacedLines } from '../common/paced-lines.ts';
import { sleep } from '../common/pause.ts';
import type { Log, Outbound } from '../ports.ts';
import type { CredentialPlaces } from './places.ts';
import { type PostAnswer, post, reasonOf } from './post.ts';
import type { Reach } from './reach.ts';
import { createRetryRules, type Failure, judge, type Treatment } from './retry-rules.ts';
import type { EventTimings } from './timings.ts';

export interface Address {
  readonly path: string;
  /** Undefined: these events are sent without a key. */
  readonly key?: string | undefined;
}

export interface Payload extends Treatment {
  /** For log lines; each problem is logged once per subject. */
  readonly subject: string;
  /** Called before every attempt. */
  address(): Address;
  readonly headers: Readonly<Record<string, string>>;
  readonly json: Buffer;
  /** By which LaunchDarkly detects duplicates; a new one by default. Diagnostic events have none. */
  readonly id?: string;
  /** Identifies the queue that the payload comes from. */
  readonly queue: object;
  /** Called at each step of the delivery. Must not throw. */
  readonly progress?: ((step: Step) => void) | undefined;
  /** Called after each attempt with the status of the response; undefined: there was none. Must not throw. */
  readonly answered?: ((status: number | undefined) => void) | undefined;
}

/**
 * `sending`: an attempt was begun; `slow`: it has not been answered for a while; `pausing`: it failed; `invalid`: it
 * failed because of what is in the payload.
 */
export type Step = 'sending' | 'slow' | 'pausing' | 'invalid';

/** The result. The caller handles `too-large`; all others are final. */
export type Verdict = 'delivered' | 'too-large' | 'rejected' | 'refused' | 'expired' | 'closed';

export interface Courier {
  /** LaunchDarkly's clock in its last response, Unix ms; 0 before the first. */
  readonly serverTime: number;
  /** Never rejects. Every attempt has the same payload ID, by which LaunchDarkly detects duplicates. */
  deliver(payload: Payload): Promise<Verdict>;
  /** Retries at once what was refused with a key that has changed since. */
  lookAtKeys(): void;
  /** The credential is not used any more. */
  forget(): void;
  /**
   * Retries at once what failed or is slow, and from now on with short delays. `afterRefusal`: the verdict on what is refused from now on,
   * which there is no time to try again.
   */
  hurry(afterRefusal: 'refused' | 'closed'): void;
  /** Aborts requests and waits. */
  stop(): void;
}

interface CourierOptions {
  /** Without a trailing slash. */
  readonly eventsUri: string;
  readonly environment: string;
  readonly userAgent: string;
  readonly timings: EventTimings;
  readonly places: CredentialPlaces;
  readonly reach: Reach;
  readonly outbound?: Outbound | undefined;
  readonly log: Log;
  /** Of the environment. */
  readonly paced: PacedLines;
  readonly retried: () => void;
  readonly random: () => number;
}

interface Delivery extends Payload {
  readonly identity: Readonly<Record<string, string>>;
  /** It was sent again because the relay is shutting down. */
  hurried: boolean;
}

interface Attempt {
  readonly controller: AbortController;
  slow: boolean;
  /** Ends it if it is slow, so that the payload is sent again. */
  hurry(): void;
}

interface Waiting {
  readonly wake: () => void;
  readonly keyChanged: () => boolean;
}

const COMPLAINTS = {
  failing: 'Cannot deliver events; keeping them while there is room, and retrying',
  refused:
    'LaunchDarkly rejected events; keeping them while there is room, and retrying slowly or when the key changes',
  invalid: 'LaunchDarkly rejected a payload of events; retrying, then sending it in parts',
} satisfies Record<Failure, string>;
const compress = promisify(gzip);

export function createCourier(options: CourierOptions): Courier {
  const { timings } = options;
  const aborter = new AbortController();
  // Each request that waits for a place adds a listener; many of them are not a leak.
  setMaxListeners(0, aborter.signal);
  const underWay = new Set<Attempt>();
  const waiting = new Set<Waiting>();
  let serverTime = 0;
  const complaints = createComplaints(options);
  let closing: 'refused' | 'closed' | undefined;

  async function pause(ms: number, keyChanged: () => boolean): Promise<void> {
    const controller = new AbortController();
    const entry = { wake: () => controller.abort(), keyChanged };
    waiting.add(entry);
    await sleep(ms, controller.signal);
    waiting.delete(entry);
  }

  async function attempt(address: Address, delivery: Delivery): Promise<PostAnswer> {
    const giveBack = await options.places.enter(aborter.signal, delivery.queue);
    if (!giveBack) return { problem: 'closed' };
    const current = attemptOf(delivery);
    underWay.add(current);
    delivery.progress?.('sending');
    const timer = setTimeout(() => {
      current.slow = true;
      delivery.progress?.('slow');
      if (closing) current.hurry();
    }, timings.slowAfterMs);
    try {
      const answer = await postTo(address, delivery, { ...options, signal: current.controller.signal });
      if ('status' in answer) serverTime = answer.serverTime ?? serverTime;
      return answer;
    } finally {
      underWay.delete(current);
      clearTimeout(timer);
      giveBack();
    }
  }

  async function deliver(payload: Payload): Promise<Verdict> {
    const { subject } = payload;
    const delivery: Delivery = {
      ...payload,
      identity: payload.retries === 'many' ? { 'X-LaunchDarkly-Payload-ID': payload.id ?? randomUUID() } : {},
      hurried: false,
    };
    const rules = createRetryRules(payload, timings, options.random);
    for (let attempts = 1; ; attempts++) {
      const address = payload.address();
      const answer = await attempt(address, delivery);
      payload.answered?.('status' in answer ? answer.status : undefined);
      const outcome = judge(answer);
      if (outcome === 'delivered') {
        complaints.isOver(subject);
        if (payload.retries === 'many') options.reach.delivered();
      }
      if (outcome === 'delivered' || outcome === 'too-large') return outcome;
      if (aborter.signal.aborted) return 'closed';

      // A single failure may just be a dead keep-alive connection.
      if (outcome === 'refused' || attempts > 1) {
        complaints.tell(subject, outcome, answer);
        if (outcome !== 'invalid' && payload.retries === 'many') options.reach.failed(answer);
      }
      const next = rules.after(outcome, answer);
      if (typeof next === 'string') return next;
      if (closing && outcome === 'refused') return closing;
      payload.progress?.(outcome === 'invalid' ? 'invalid' : 'pausing');
      await pause(
        closing ? Math.min(next, timings.closingRetryMs) : next,
        () => outcome === 'refused' && !isSame(address, payload.address()),
      );
      options.retried();
    }
  }

  return {
    get serverTime() {
      return serverTime;
    },
    deliver,
    lookAtKeys() {
      for (const { wake, keyChanged } of waiting) if (keyChanged()) wake();
    },
    forget: options.reach.forget,
    hurry(afterRefusal) {
      closing = afterRefusal;
      for (const { wake } of waiting) wake();
      for (const current of underWay) current.hurry();
    },
    stop() {
      aborter.abort();
      for (const { controller } of underWay) controller.abort();
      for (const { wake } of waiting) wake();
    },
  };
}

function isSame(a: Address, b: Address): boolean {
  return a.key === b.key && a.path === b.path;
}

function attemptOf(delivery: Delivery): Attempt {
  const controller = new AbortController();
  const attempt: Attempt = {
    controller,
    slow: false,
    hurry() {
      // Once, since a LaunchDarkly that is merely slow must be able to answer; it recognises the payload ID.
      if (!attempt.slow || delivery.hurried || delivery.retries === 'few') return;
      delivery.hurried = true;
      controller.abort();
    },
  };
  return attempt;
}

async function postTo(
  { path, key }: Address,
  { headers, json, identity }: Delivery,
  { eventsUri, userAgent, outbound, timings, signal }: CourierOptions & { readonly signal: AbortSignal },
) {
  return post({
    url: new URL(eventsUri + path),
    headers: {
      'User-Agent': userAgent,
      'Content-Type': 'application/json',
      'Content-Encoding': 'gzip',
      ...headers,
      ...identity,
      ...(key !== undefined && { Authorization: key }),
    },
    // Compressed for each attempt: retries are rare, and memory holds only one copy.
    body: await compress(json),
    outbound,
    timeoutMs: timings.requestTimeoutMs,
    signal,
  });
}

/** Log lines about deliveries, by the subject of the events. */
function createComplaints({
  log,
  paced,
  environment,
  eventsUri,
}: Pick<CourierOptions, 'log' | 'paced' | 'environment' | 'eventsUri'>) {
  const { host } = new URL(eventsUri);
  const complaints = new Map<string, Set<Failure>>();
  return {
    /** Logs each kind of problem once until it is over. If such a line was written a moment ago, logs it at a later attempt. */
    tell(subject: string, kind: Failure, cause: PostAnswer): void {
      const known = complaints.get(subject) ?? new Set();
      if (known.has(kind)) return;
      const isSaid = paced(`${kind}, ${subject}`, (more) =>
        log.warn(COMPLAINTS[kind], {
          environment,
          events: subject,
          reason: reasonOf(cause, host),
          ...('status' in cause && { status: cause.status, retryAfterMs: cause.retryAfterMs }),
          ...more,
        }),
      );
      if (isSaid) complaints.set(subject, known.add(kind));
    },

    /** Logs that what was logged is over. If that was said a moment ago, says so at a later delivery. */
    isOver(subject: string): void {
      if (!complaints.has(subject)) return;
      const isSaid = paced(`recovered, ${subject}`, () =>
        log.info('Event delivery recovered', { environment, events: subject }),
      );
      if (isSaid) complaints.delete(subject);
    },
  };
}
