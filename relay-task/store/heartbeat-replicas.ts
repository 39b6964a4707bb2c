/** Looks for what was written to the flag table in its replicas, as readers there would find it. */
import type { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { compareRev, decodeHeadPointer, namespaces, type Rev } from '../../lib/flag-table/index.ts';
import { sleep } from '../common/pause.ts';
import type { AwsAgents, Log } from '../ports.ts';
import { createDynamoDBClient, createTable, describeDynamoDBError } from './dynamodb-client.ts';
import { defaultTimings } from './timings.ts';

interface ReplicasOptions {
  readonly replicas: readonly { readonly region: string; readonly url: string | undefined }[];
  /** New ones for each client, which closes them. */
  agents(): AwsAgents | undefined;
  readonly log: Log;
  /** For tests. */
  readonly timings?: ReplicaTimings | undefined;
}

export interface ReplicaTimings {
  /** Between the first two looks; each later one waits twice as long, up to a second. 100 ms. */
  readonly firstMs?: number;
  /** How long a replica is looked at; 60 s. */
  readonly giveUpMs?: number;
}

interface Sought {
  readonly tableName: string;
  readonly prefix: string;
  readonly rev: Rev;
  /** A replica has this revision or a later one. */
  found(region: string): void;
  missed(region: string): void;
}

interface Replicas {
  /** A search for the same environment that is still under way ends, and what it did not find is missed. */
  look(environment: string, sought: Sought): void;
  close(): Promise<void>;
}

const MOST_MS = 1_000;
const CLOSING = 'closing';

export function createReplicas({ replicas, agents, log, timings = {} }: ReplicasOptions): Replicas {
  const { firstMs = 100, giveUpMs = 60_000 } = timings;
  const clients = new Map<string, DynamoDBClient>();
  /** By environment: ends its search. */
  const searches = new Map<string, AbortController>();
  const running = new Set<Promise<unknown>>();
  const failing = new Map<string, string>();

  function clientOf({ region, url }: ReplicasOptions['replicas'][number]): DynamoDBClient {
    const client = clients.get(region) ?? createDynamoDBClient({ region, endpoint: url, agents: agents() });
    clients.set(region, client);
    return client;
  }

  /** Reads are eventually consistent, as those of readers are, and cost half a unit. */
  async function search(place: ReplicasOptions['replicas'][number], sought: Sought, signal: AbortSignal) {
    const { region } = place;
    const { tableName, prefix, rev } = sought;
    const table = createTable({
      client: clientOf(place),
      tableName,
      timings: defaultTimings,
      observer: { wrote() {}, retried() {} },
    });
    const stop = () => table.abort();
    signal.addEventListener('abort', stop);
    const until = performance.now() + giveUpMs;
    let isFound = false;
    for (let pauseMs = firstMs; !signal.aborted; pauseMs = Math.min(MOST_MS, 2 * pauseMs)) {
      try {
        const head = await table.get({ namespace: namespaces(prefix).snapshot, key: 'head' }, { consistent: false });
        const pointer = head && decodeHeadPointer(head);
        failing.delete(region);
        if (pointer && 'rev' in pointer && compareRev(pointer.rev, rev) >= 0) {
          isFound = true;
          sought.found(region);
          break;
        }
      } catch (error) {
        if (!signal.aborted) tell(region, describeDynamoDBError(error, tableName));
      }
      if (performance.now() >= until) break;
      await sleep(pauseMs, signal);
    }
    if (!isFound && signal.reason !== CLOSING) sought.missed(region);
    signal.removeEventListener('abort', stop);
  }

  /** One line for each change. */
  function tell(region: string, reason: string): void {
    if (failing.get(region) === reason) return;
    failing.set(region, reason);
    log.warn('Could not read a replica of the flag table for heartbeats; retrying', {
      region,
      reason,
      runbook: 'operations.md#heartbeats',
    });
  }

  return {
    look(environment, sought) {
      searches.get(environment)?.abort();
      const ending = new AbortController();
      searches.set(environment, ending);
      for (const place of replicas) {
        const work: Promise<unknown> = search(place, sought, ending.signal).finally(() => running.delete(work));
        running.add(work);
      }
    },
    async close() {
      for (const ending of searches.values()) ending.abort(CLOSING);
      await Promise.all(running);
      for (const client of clients.values()) client.destroy();
    },
  };
}
