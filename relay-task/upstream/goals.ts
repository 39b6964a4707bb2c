import type { IncomingHttpHeaders } from 'node:http';
import { isHopByHop } from '../common/hop-by-hop.ts';
import { httpAddress } from '../common/http-address.ts';
import { httpRequest } from '../common/http-request.ts';
import { createTurnstile, type Turnstile } from '../common/turnstile.ts';
import type { GoalsAnswer, Outbound } from '../ports.ts';
import { createAnswerCache } from './answer-cache.ts';

export interface GoalsOptions {
  /** LaunchDarkly's server for browsers; only the origin is used. */
  readonly baseUri: string;
  readonly outbound?: Outbound | undefined;
  /** `EdgeFlagRelay/<version>` */
  readonly userAgent: string;
  /** For the whole response; 10 s. */
  readonly timeoutMs?: number;
  /** Per response; 1 MiB. */
  readonly maxAnswerBytes?: number;
  /** 16 MiB. */
  readonly maxCacheBytes?: number;
  /** Concurrent requests to LaunchDarkly, per environment; 4. */
  readonly maxConcurrent?: number;
  /** Queued requests, per environment; 64. */
  readonly maxWaiting?: number;
  /** Unix ms; `Date.now`. */
  now?(): number;
}

/**
 * Fetches an environment's click and page view goals from LaunchDarkly. Cached as its headers allow (`Cache-Control`,
 * `ETag`), and served stale while LaunchDarkly does not answer. `query` with or without its question mark. Rejects when
 * there is neither a response nor a cached one. Throws CONFIG_INVALID when `baseUri` is not an http or https address.
 */
export function createGoals(options: GoalsOptions): (environmentId: string, query: string) => Promise<GoalsAnswer> {
  const { maxCacheBytes = 16 * 1024 * 1024, maxConcurrent = 4, maxWaiting = 64, now = Date.now } = options;
  const { origin } = httpAddress('the client-side address', options.baseUri);
  const cache = createAnswerCache<GoalsAnswer>({ maxBytes: maxCacheBytes, now });
  /** One for each environment with requests under way, so that one environment does not hold up the others. */
  const turnstiles = new Map<string, { readonly turnstile: Turnstile; users: number }>();
  const underWay = new Map<string, Promise<GoalsAnswer>>();

  async function inTurn<T>(environmentId: string, job: () => Promise<T>): Promise<T> {
    const own = turnstiles.get(environmentId) ?? {
      turnstile: createTurnstile({ maxInside: maxConcurrent, maxWaiting }),
      users: 0,
    };
    turnstiles.set(environmentId, own);
    own.users++;
    try {
      return await own.turnstile.run(job);
    } finally {
      own.users--;
      if (own.users === 0) turnstiles.delete(environmentId);
    }
  }

  async function ask(environmentId: string, url: URL): Promise<GoalsAnswer> {
    const held = cache.get(url.href);
    if (held?.fresh) return fromCache(held.answer);
    let answer: GoalsAnswer;
    try {
      answer = await inTurn(environmentId, () => get(url, held?.etag, options));
    } catch (error) {
      if (held) return fromCache(held.answer);
      throw error;
    }
    if (held && answer.status === 304) {
      const renewed = { ...held.answer, headers: { ...held.answer.headers, ...answer.headers } };
      cache.set(url.href, renewed);
      return fromCache(renewed);
    }
    if (held && answer.status >= 500) return fromCache(held.answer);
    if (answer.status === 200) cache.set(url.href, answer);
    return answer;
  }

  return (environmentId, query) => {
    const url = new URL(`/sdk/goals/${encodeURIComponent(environmentId)}`, origin);
    url.search = query;
    const present = underWay.get(url.href);
    if (present) return present;
    const asked = ask(environmentId, url).finally(() => underWay.delete(url.href));
    underWay.set(url.href, asked);
    return asked;
  };
}

const fromCache = (answer: GoalsAnswer): GoalsAnswer => ({
  ...answer,
  headers: { ...answer.headers, 'x-from-cache': '1' },
});

async function get(url: URL, etag: string | undefined, options: GoalsOptions): Promise<GoalsAnswer> {
  const { outbound, userAgent, timeoutMs = 10_000, maxAnswerBytes = 1024 * 1024 } = options;
  const headers = { 'User-Agent': userAgent, 'Accept-Encoding': 'identity', ...(etag && { 'If-None-Match': etag }) };
  const agent = outbound?.agentFor(url) ?? false;
  const answer = await httpRequest({ url, headers, agent, timeoutMs, maxAnswerBytes });
  return { ...answer, headers: passedOn(answer.headers) };
}

/** Headers that the relay sets itself when it answers a browser, besides those of CORS. */
const OWN: ReadonlySet<string> = new Set(['content-length', 'set-cookie', 'x-from-cache']);

function passedOn(headers: IncomingHttpHeaders): Record<string, string> {
  const kept = Object.entries(headers).flatMap(([name, value]) => {
    if (value === undefined || OWN.has(name) || isHopByHop(name, headers) || name.startsWith('access-control-'))
      return [];
    return [[name, Array.isArray(value) ? value.join(', ') : value] as const];
  });
  return Object.fromEntries(kept);
}
