import { createHash } from 'node:crypto';
import { reviveFullPayload } from '@launchdarkly/js-server-sdk-common';
import { init, type LDClient } from '@launchdarkly/node-server-sdk';
import { silentLog } from '../../support/logs.ts';
import type { RandomEnvironment } from '../../support/random-environment.ts';

/** The outcome of a call to the official SDK. */
export type Outcome =
  | { readonly kind: 'answered'; readonly answer: unknown }
  /** It threw, its promise can no longer settle, or it read an item that it cannot load. */
  | { readonly kind: 'threw'; readonly message: string }
  /** It followed a cycle until its stack overflowed or it exceeded a limit of reads. */
  | { readonly kind: 'endless' };

export interface OfficialSdk {
  /** Replaces all of the SDK's data; `json` is `{ flags, segments }`. */
  load(json: string, bigSegments: RandomEnvironment['bigSegments']): void;
  call(ask: (client: LDClient) => Promise<unknown>): Promise<Outcome>;
  close(): void;
}

type Callback = (result: unknown) => void;
/** Far above what prerequisites and segments without a cycle need, which are read once for each way that leads to them. */
const MOST_READS = 20_000;
/** As many answers are calls within each other. */
const DEPTH = 200;

/**
 * LaunchDarkly's Node server SDK in daemon mode over an in-memory store that answers synchronously. There is one client without a
 * Big Segment store and one for each status, because the SDK polls the status on a timer; membership caching is off.
 */
export async function startOfficialSdk(): Promise<OfficialSdk> {
  let items: Record<string, Map<string, unknown>> = {};
  let bigSegments: RandomEnvironment['bigSegments'];
  let reads = 0;
  let trouble: string | undefined;

  const usable = (item: unknown) => item !== undefined && !!item && !(item as { deleted?: unknown }).deleted;
  const store = {
    get(kind: { namespace: string }, key: unknown, callback: Callback) {
      // Not calling back stops an endless evaluation: its promise stays pending and is discarded.
      if (++reads > MOST_READS) return;
      const scalar = typeof key === 'string' || typeof key === 'number' || typeof key === 'boolean';
      const item = scalar ? items[kind.namespace]?.get(String(key)) : undefined;
      if (item instanceof Unreadable) {
        trouble = item.message;
        return;
      }
      const answer = () => callback(usable(item) ? item : null);
      // The next read is a call within this one, and a few hundred of them overflow the stack.
      if (reads % DEPTH === 0) queueMicrotask(answer);
      else answer();
    },
    all(kind: { namespace: string }, callback: Callback) {
      const all = [...(items[kind.namespace] ?? [])];
      const broken = all.find(([, item]) => item instanceof Unreadable);
      if (broken) {
        trouble = 'a flag cannot be loaded';
        return;
      }
      callback(Object.fromEntries(all.filter(([, item]) => usable(item))));
    },
    initialized: (callback: Callback) => callback(true),
    init: (_: unknown, callback: () => void) => callback(),
    delete() {},
    upsert() {},
    close() {},
  };

  const start = async (metadata: undefined | (() => Promise<{ lastUpToDate: number }>)) => {
    const client = init('sdk-key', {
      useLdd: true,
      sendEvents: false,
      diagnosticOptOut: true,
      logger: silentLog,
      featureStore: store as never,
      ...(metadata && {
        bigSegments: {
          userCacheTime: -1,
          statusPollInterval: 1_000_000,
          store: () => ({
            getMetadata: metadata,
            async getUserMembership(hash: string) {
              for (const [key, membership] of Object.entries(bigSegments?.memberships ?? {})) {
                if (createHash('sha256').update(key).digest('base64') !== hash) continue;
                if (bigSegments?.failKeys.includes(key)) throw new Error('unreadable');
                return membership ?? undefined;
              }
              return undefined;
            },
            close() {},
          }),
        },
      }),
    });
    await client.waitForInitialization({ timeout: 60 });
    return client;
  };

  const clients = {
    none: await start(undefined),
    HEALTHY: await start(async () => ({ lastUpToDate: Date.now() + 1e9 })),
    STALE: await start(async () => ({ lastUpToDate: 1 })),
    STORE_ERROR: await start(async () => {
      throw new Error('no metadata');
    }),
  };

  const onRejection = (error: unknown) => {
    trouble ??= String(error);
  };
  process.on('unhandledRejection', onRejection);

  return {
    load(json, newBigSegments) {
      const data = JSON.parse(json) as { flags: Record<string, unknown>; segments: Record<string, unknown> };
      const revive = (kind: 'flags' | 'segments') =>
        new Map(
          Object.entries(data[kind]).map(([key, item]) => {
            try {
              reviveFullPayload({ [kind]: { item } } as never);
              return [key, item];
            } catch (error) {
              // The SDK does not parse the rest of a tombstone.
              return [key, (item as { deleted?: unknown })?.deleted ? undefined : new Unreadable(String(error))];
            }
          }),
        );
      items = { features: revive('flags'), segments: revive('segments') };
      bigSegments = newBigSegments;
    },
    async call(ask) {
      reads = 0;
      trouble = undefined;
      let outcome: Outcome | undefined;
      const client = clients[bigSegments?.status ?? 'none'];
      const settled = (async () => ask(client))().then(
        (answer) => {
          outcome = { kind: 'answered', answer };
        },
        (error) => {
          outcome = { kind: 'threw', message: String(error) };
        },
      );
      // Nothing here waits for I/O or timers, so a promise that is pending after one turn of the event loop never settles.
      let turn: NodeJS.Immediate | undefined;
      await Promise.race([settled, new Promise((resolve) => (turn = setImmediate(resolve)))]);
      // A loop of calls may never leave the microtasks: what waited for the turn of the event loop would pile up with all it holds.
      clearImmediate(turn);
      if (trouble !== undefined) outcome = { kind: 'threw', message: trouble };
      if (reads > MOST_READS || (outcome?.kind === 'threw' && outcome.message.startsWith('RangeError')))
        return { kind: 'endless' };
      return outcome ?? { kind: 'threw', message: 'the promise never settles' };
    },
    close() {
      process.off('unhandledRejection', onRejection);
      for (const client of Object.values(clients)) client.close();
    },
  };
}

class Unreadable {
  readonly message: string;
  constructor(message: string) {
    this.message = message;
  }
}
