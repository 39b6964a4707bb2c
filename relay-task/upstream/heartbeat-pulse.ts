/**
 * Sends heartbeats: sets the value of the variation that a heartbeat flag serves to the present time, by LaunchDarkly's REST API. Source:
 * LaunchDarkly, "Update feature flag" (PATCH /api/v2/flags/{projectKey}/{featureFlagKey}); the path in the JSON patch is that of
 * LaunchDarkly's Terraform provider (`/variations/<index>/value`).
 */
import type { Heartbeat } from '../../lib/flag-table/index.ts';
import { backoffMs, jitter } from '../common/backoff.ts';
import { errorText } from '../common/error-text.ts';
import { type HttpAnswer, httpRequest } from '../common/http-request.ts';
import { redactSecrets } from '../common/secrets.ts';
import type { Log, Outbound } from '../ports.ts';

/** The heartbeat flag of an environment whose heartbeats this relay may send now. */
export interface PulseTarget {
  readonly environment: string;
  readonly flagKey: string;
  /** Undefined: nothing names it. */
  readonly projectKey: string | undefined;
  /** As memory has it; undefined: there is no such flag, or it does not serve one variation. */
  readonly flag: Heartbeat | undefined;
}

interface PulseOptions {
  targets(): Iterable<PulseTarget>;
  readonly apiUri: string;
  /** Never logged. */
  readonly token: string;
  /** A heartbeat is sent after this time without one. */
  readonly intervalMs: number;
  readonly outbound?: Pick<Outbound, 'agentFor'> | undefined;
  readonly userAgent: string;
  readonly log: Log;
  wrote(outcome: 'written' | 'failed'): void;
  /** For tests. */
  readonly timings?: PulseTimings | undefined;
}

export interface PulseTimings {
  /** In place of the configured interval. */
  readonly intervalMs?: number;
  /** Between looks at what is due; 1 s. */
  readonly lookMs?: number;
  /** After the first failure and after many; the interval and 15 min. */
  readonly backoff?: { readonly firstMs: number; readonly maxMs: number };
  /** Unix ms. */
  now?(): number;
  /** Ms. */
  monotonic?(): number;
}

export interface Pulse {
  /** A heartbeat arrived, whoever sent it. */
  seen(environment: string): void;
  close(): Promise<void>;
}

/** How much later than after the interval a heartbeat may be sent, so that one relay of many sends it. */
const LATER = 1 / 4;
const API_VERSION = '20240415';
const MOST_ANSWER_BYTES = 1024 * 1024;
const REQUEST_MS = 10_000;

/** One flag's variation, which environments may share. */
interface Sending {
  busy: boolean;
  failures: number;
  /** Monotonic ms. */
  notBefore: number;
}

export function startPulse(options: PulseOptions): Pulse {
  const { targets, apiUri, token, outbound, userAgent, log, wrote, timings = {} } = options;
  const { intervalMs = options.intervalMs, lookMs = 1_000, now = Date.now } = timings;
  const { monotonic = () => performance.now() } = timings;
  const { backoff = { firstMs: intervalMs, maxMs: 15 * 60_000 } } = timings;
  const closing = new AbortController();
  const dueAt = new Map<string, number>();
  const sendings = new Map<string, Sending>();
  /** What was said last and of which environment: what an environment lacks, by its name, and why a flag's could not be sent. */
  const told = new Map<string | Sending, { readonly environment: string; readonly problem: string }>();
  const running = new Set<Promise<void>>();

  const later = () => monotonic() + intervalMs + intervalMs * LATER * Math.random();

  function look(): void {
    const present = new Set<string>();
    for (const target of targets()) {
      const { environment } = target;
      present.add(environment);
      const due = dueAt.get(environment);
      // At a start somewhere within the interval: relays of a fleet start together.
      if (due === undefined) dueAt.set(environment, monotonic() + jitter(intervalMs, Math.random, 1));
      else if (monotonic() >= due) begin(target);
    }
    for (const environment of dueAt.keys()) if (!present.has(environment)) dueAt.delete(environment);
  }

  function begin(target: PulseTarget): void {
    const { environment, flagKey, projectKey, flag } = target;
    const id = JSON.stringify([projectKey, flagKey, flag?.variation]);
    const sending = sendings.get(id) ?? { busy: false, failures: 0, notBefore: 0 };
    sendings.set(id, sending);
    if (sending.busy || monotonic() < sending.notBefore) return;
    dueAt.set(environment, later());
    const problem = problemOf(target);
    if (problem !== undefined) {
      wrote('failed');
      tell(target, environment, problem);
      return;
    }
    sending.busy = true;
    const work = send(target, sending).finally(() => {
      sending.busy = false;
      running.delete(work);
    });
    running.add(work);
  }

  async function send(target: PulseTarget, sending: Sending): Promise<void> {
    const { projectKey = '', flagKey, flag } = target;
    const url = new URL(`${apiUri}/api/v2/flags/${encodeURIComponent(projectKey)}/${encodeURIComponent(flagKey)}`);
    const sentAt = now();
    const value = typeof flag?.value === 'number' ? sentAt : { ...Object(flag?.value), sentAt };
    try {
      const answer = await httpRequest({
        url,
        method: 'PATCH',
        headers: {
          Authorization: token,
          'Content-Type': 'application/json',
          'LD-API-Version': API_VERSION,
          'User-Agent': userAgent,
          'Accept-Encoding': 'identity',
        },
        body: JSON.stringify([{ op: 'replace', path: `/variations/${flag?.variation}/value`, value }]),
        agent: outbound?.agentFor(url) ?? false,
        timeoutMs: REQUEST_MS,
        maxAnswerBytes: MOST_ANSWER_BYTES,
        signal: closing.signal,
      });
      if (answer.status < 300) {
        wrote('written');
        sending.failures = 0;
        // Other environments that share the flag get it by their streams.
        sending.notBefore = monotonic() + intervalMs;
        tell(target, sending, undefined);
      } else fail(target, sending, describe(answer, target), retryAfterMs(answer, now()));
    } catch (error) {
      if (!closing.signal.aborted) fail(target, sending, `${errorText(error)}: is HEARTBEAT_API_URI right?`);
    }
  }

  function fail(target: PulseTarget, sending: Sending, problem: string, atLeastMs = 0): void {
    wrote('failed');
    sending.failures += 1;
    const delayMs = Math.max(backoffMs(sending.failures, backoff), atLeastMs);
    sending.notBefore = monotonic() + delayMs;
    tell(target, sending, problem, delayMs);
  }

  /** One line for each change of what is wrong. The next flag or project of an environment may be what was told to do. */
  function tell(target: PulseTarget, about: string | Sending, problem: string | undefined, delayMs?: number): void {
    if (problem !== undefined && problem === told.get(about)?.problem) return;
    const { environment, flagKey: flag, projectKey: project } = target;
    const before = [...told].filter(([key, said]) => key === about || said.environment === environment);
    for (const [key] of before) told.delete(key);
    if (problem !== undefined) told.set(about, { environment, problem });
    else if (before.length === 0) return;
    const where = { environment, flag, ...(project !== undefined && { project }) };
    if (problem === undefined) log.info('Heartbeats are sent again', where);
    else {
      const retrySeconds = Math.round((delayMs ?? intervalMs) / 1_000);
      log.warn('Could not send a heartbeat; the way from LaunchDarkly is not measured meanwhile', {
        ...where,
        runbook: 'operations.md#heartbeats',
        reason: problem,
        retrySeconds,
      });
    }
  }

  const timer = setInterval(look, Math.min(lookMs, intervalMs));
  timer.unref();
  return {
    seen: (environment) => {
      if (dueAt.has(environment)) dueAt.set(environment, later());
    },
    async close() {
      clearInterval(timer);
      closing.abort();
      await Promise.all(running);
    },
  };
}

/** Why no heartbeat can be sent, without asking. */
function problemOf({ environment, flagKey, projectKey, flag }: PulseTarget): string | undefined {
  if (projectKey === undefined) {
    return `nothing names the project of flag ${flagKey}: set HEARTBEAT_PROJECT, LD_PROJ_KEY_${environment}, or project-key of the environment in SSM`;
  }
  if (!flag) {
    return `the environment has no flag ${flagKey} that serves one variation to everyone: create it with JSON variations in project ${projectKey}, without a rollout`;
  }
  const { value } = flag;
  if (typeof value === 'number' || (typeof value === 'object' && value !== null && !Array.isArray(value)))
    return undefined;
  return `the variation that flag ${flagKey} serves is neither a number nor a JSON object: give it the value {}, or use another flag`;
}

/** What happened and what to do. */
function describe({ status, body }: HttpAnswer, { flagKey, projectKey }: PulseTarget): string {
  const flag = `flag ${flagKey} of project ${projectKey}`;
  switch (status) {
    case 401:
      return 'LaunchDarkly rejected HEARTBEAT_API_TOKEN (401): set an access token of this account that has not expired';
    case 403:
      return `HEARTBEAT_API_TOKEN may not update ${flag} (403): give its role the action updateFlagVariations on proj/${projectKey}:env/*:flag/${flagKey}`;
    case 404:
      return `there is no ${flag}, or HEARTBEAT_API_TOKEN may not see it (404): create the flag, or correct HEARTBEAT_FLAG and HEARTBEAT_PROJECT, or heartbeat-flag and project-key of the environment in SSM`;
    case 405:
      return `LaunchDarkly wants an approval for a change of ${flag} (405): except the flag from approvals`;
    case 409:
      return `${flag} was changed by somebody else at the same moment (409): if this stays, only one program may send its heartbeats`;
    case 429:
      return 'LaunchDarkly limits requests to its API (429): raise HEARTBEAT_FLAG_INTERVAL if this stays';
  }
  const said = redactSecrets(messageIn(body)).slice(0, 300);
  return `LaunchDarkly answered ${status} to a change of ${flag}${said && `: ${said}`}`;
}

function messageIn(body: Buffer): string {
  try {
    return String(Object(JSON.parse(body.toString())).message ?? '');
  } catch {
    return '';
  }
}

/** LaunchDarkly, "Rate limiting": `Retry-After` in seconds, `X-Ratelimit-Reset` in Unix ms. */
function retryAfterMs({ status, headers }: HttpAnswer, now: number): number | undefined {
  if (status !== 429) return undefined;
  const seconds = Number(headers['retry-after'] ?? Number.NaN);
  const until = Number(headers['x-ratelimit-reset'] ?? Number.NaN);
  const ms = Number.isFinite(seconds) ? seconds * 1_000 : until - now;
  return Number.isFinite(ms) ? Math.min(Math.max(0, ms), 3_600_000) : undefined;
}
