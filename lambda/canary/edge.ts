import { problemOf } from '../common/problem.ts';
import type { Check } from './check.ts';
import { edgeValuesOf, metricsLine } from './metrics.ts';

export interface EdgeCheckOptions {
  /** What is requested: a path of the distribution whose origin answers below 400. */
  readonly url: string;
  /** The header in which the router reports its decision. */
  readonly decisionHeader: string;
  /** The CloudWatch namespace of the metrics. */
  readonly namespace: string;
  /** Default 10,000. */
  readonly timeoutMs?: number;
  /** Sends a HEAD request and follows no redirect. Default: `fetch`. */
  head?(url: string, timeoutMs: number): Promise<SiteAnswer>;
  /** Writes one line, which includes its line feed. Default: standard output. */
  write?(line: string): void;
}

export interface SiteAnswer {
  readonly status: number;
  readonly headers: Headers;
}

/**
 * Requests a page as a new viewer does and looks at the router's decision, so it sees what viewers get, whatever the functions say of
 * themselves. Never rejects: a failed check is a metric, not a retry.
 */
export function createEdgeCheck(options: EdgeCheckOptions): () => Promise<Check> {
  const { url, decisionHeader, namespace, timeoutMs = 10_000, head = headByFetch } = options;
  const write = options.write ?? ((line: string) => void process.stdout.write(line));

  async function problem(): Promise<string | undefined> {
    const { status, headers } = await head(url, timeoutMs);
    const decision = headers.get(decisionHeader);
    if (decision === null) {
      return `${url} answered ${status} without ${decisionHeader}: its origin answers 400 or above, or the router is not attached`;
    }
    if (/source=bootstrap/.test(decision)) return `flags cannot be read, the bootstrap decides: ${decision}`;
    const failed = /reason=(ERROR|UNKNOWN_VARIANT)/.test(decision);
    return failed ? `viewers get the default variant: ${decision}` : undefined;
  }

  return async () => {
    const startedAt = performance.now();
    const found = await problem().catch((error: unknown) => {
      const { cause } = error as { cause?: unknown };
      return `${url}: ${problemOf(error)}${cause === undefined ? '' : ` (${problemOf(cause)})`}`;
    });
    const ms = Math.round(performance.now() - startedAt);
    const check = { ok: found === undefined, ms, ...(found !== undefined && { problem: found }) };
    write(metricsLine(namespace, edgeValuesOf(check), { edge: check }, Date.now()));
    return check;
  };
}

function headByFetch(url: string, timeoutMs: number): Promise<SiteAnswer> {
  return fetch(url, { method: 'HEAD', redirect: 'manual', signal: AbortSignal.timeout(timeoutMs) });
}
