/** Users who call `hello` continuously while the flag's rollout grows, and the results. */
import { get } from '../../examples/call-chain/call.ts';
import { GREETING } from '../../examples/call-chain/hello.ts';
import type { ChainReport } from '../../lambda/edge-reader/chain.ts';
import { sleep } from '../../relay-task/common/pause.ts';

/** The results of requests with one variation. */
interface Outcome {
  requests: number;
  errors: number;
  readonly times: number[];
}

type Told = Pick<ChainReport, 'onDecision' | 'chained' | 'handled'>;

export const silentReport: Told = { onDecision() {}, chained() {}, handled() {} };

/** As a report, for the terminal: by variation, since the last `take`. */
export function createOutcomes() {
  let outcomes = new Map<string, Outcome>();
  const report: Told = {
    ...silentReport,
    handled({ flagKey, detail, ms, failed }) {
      if (flagKey !== GREETING) return;
      const name = String(detail.value);
      const outcome = outcomes.get(name) ?? { requests: 0, errors: 0, times: [] };
      outcome.requests += 1;
      outcome.errors += Number(failed);
      outcome.times.push(ms);
      outcomes.set(name, outcome);
    },
  };
  return {
    report,
    take() {
      const taken = outcomes;
      outcomes = new Map();
      return taken;
    },
  };
}

interface Traffic {
  /** Requests whose two services disagreed, so far. */
  disagreements(): number;
  requests(): number;
  /** Resolves when each user has had an answer to a request that began after this call. */
  everybody(): Promise<void>;
  /** The latest version of each user. */
  readonly versions: ReadonlyMap<string, string>;
  stop(): Promise<void>;
}

/** `users`: how many; each makes one request at a time. */
export function startTraffic({ helloUrl, users }: { readonly helloUrl: string; readonly users: number }): Traffic {
  const versions = new Map<string, string>();
  const visited = new Map<string, number>();
  let disagreements = 0;
  let requests = 0;
  let stopped = false;

  async function visit(user: string): Promise<void> {
    while (!stopped) {
      // On a busy machine a request may take too long.
      const answered = await get(`${helloUrl}?user=${user}`, {}).catch(() => undefined);
      if (answered === undefined) continue;
      const { hello, world } = answered.body as { hello: string; world: { version?: string } };
      requests += 1;
      if (world.version !== undefined && world.version !== hello) disagreements += 1;
      versions.set(user, hello);
      visited.set(user, (visited.get(user) ?? 0) + 1);
    }
  }
  const visits = Array.from({ length: users }, (_, index) => visit(`user-${index}`));
  return {
    disagreements: () => disagreements,
    requests: () => requests,
    versions,
    async everybody() {
      const before = new Map(visited);
      const isLate = (user: string) => (visited.get(user) ?? 0) < (before.get(user) ?? 0) + 2;
      while (!stopped && (visited.size < users || [...visited.keys()].some(isLate))) await sleep(20);
    },
    async stop() {
      stopped = true;
      await Promise.all(visits);
    },
  };
}

/** The value below which this share of the times is, in ms. */
export function percentile(times: readonly number[], share: number): number {
  const sorted = [...times].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}
