import { get } from 'node:http';
import { compareRev, parseRev, type Rev } from '../../lib/flag-table/index.ts';
import { sleep } from '../../relay-task/common/pause.ts';
import type { LocalEdge } from './edge.ts';
import type { EmbeddedDynamoDB } from './embedded-dynamodb.ts';

interface Propagation {
  /** Ms from the given time until the change was on a stream, in the table's head, in the edge's memory. */
  readonly streamMs: number | undefined;
  readonly tableMs: number | undefined;
  readonly edgeMs: number | undefined;
}

export interface PropagationMeter {
  /** How long a change made at `since` (Unix ms) takes; undefined where it did not arrive in time. */
  measure(since: number): Promise<Propagation>;
  close(): void;
}

const GIVE_UP_MS = 10_000;
const LOOK_MS = 20;

/**
 * Watches the three places where a change arrives: the relay's stream, the table, and the edge's function.
 */
export async function startPropagationMeter(options: {
  relayUrl: string;
  sdkKey: string;
  dynamoDB: EmbeddedDynamoDB;
  prefix: string;
  edge: LocalEdge;
}): Promise<PropagationMeter> {
  const { dynamoDB, prefix, edge } = options;
  let lastEventAt = 0;
  const stream = get(`${options.relayUrl}/all`, { headers: { Authorization: options.sdkKey } }, (response) => {
    response.on('data', (chunk: Buffer) => {
      if (chunk.includes('event:')) lastEventAt = Date.now();
    });
    response.on('error', () => {});
  });
  stream.on('error', () => {});
  /** The last revision seen in the table: the next change is the first one above it. */
  let rev = (await dynamoDB.head(prefix))?.rev;
  let closed = false;

  async function until(arrived: () => Promise<number | undefined> | number | undefined): Promise<number | undefined> {
    const giveUp = Date.now() + GIVE_UP_MS;
    while (!closed && Date.now() < giveUp) {
      try {
        const at = await arrived();
        if (at !== undefined) return at;
      } catch {
        // The other side may be closing.
      }
      await sleep(LOOK_MS);
    }
    return undefined;
  }

  return {
    async measure(since) {
      const before = rev;
      const isNewer = (candidate: Rev | undefined) =>
        candidate !== undefined && (before === undefined || compareRev(candidate, before) > 0);
      const [streamAt, tableAt, edgeAt] = await Promise.all([
        until(() => (lastEventAt >= since ? lastEventAt : undefined)),
        until(async () => {
          const head = await dynamoDB.head(prefix);
          if (!isNewer(head?.rev)) return undefined;
          rev = head?.rev;
          return Date.now();
        }),
        until(async () => {
          const { rev: held } = await edge.status();
          return isNewer(held === undefined ? undefined : parseRev(held)) ? Date.now() : undefined;
        }),
      ]);
      const elapsed = (at: number | undefined) => at && Math.max(0, Math.round(at - since));
      return { streamMs: elapsed(streamAt), tableMs: elapsed(tableAt), edgeMs: elapsed(edgeAt) };
    },
    close() {
      closed = true;
      stream.destroy();
    },
  };
}
