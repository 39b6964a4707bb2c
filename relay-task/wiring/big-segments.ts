/** Big Segments of one environment: synchronised from LaunchDarkly into every store that can hold them, and looked up. */
import type { Log } from '../ports.ts';
import type { BigSegmentStore } from '../store/big-segments.ts';
import type { MembershipMemory } from '../store/big-segments-cache.ts';
import { createBigSegmentLookup } from '../store/big-segments-lookup.ts';
import {
  type BigSegmentSynchronizer,
  type BigSegmentSynchronizerOptions,
  createBigSegmentSynchronizer,
} from '../upstream/big-segments.ts';
import type { TenantBigSegments } from './tenant.ts';

export interface TenantBigSegmentsOptions
  extends Pick<BigSegmentSynchronizerOptions, 'streamUri' | 'baseUri' | 'outbound' | 'userAgent'> {
  readonly stores: readonly BigSegmentStore[];
  /** The key whose flags are in memory; undefined while there is none. */
  key(): string | undefined;
  /** The environment of that key, as far as LaunchDarkly said. */
  environment(): string | undefined;
  /** False: another relay keeps the stores in sync, or none does. */
  readonly synchronises: boolean;
  readonly staleThresholdMs: number;
  /** Where memberships are remembered. */
  readonly memory: MembershipMemory;
  readonly log: Log;
  onBatch(): void;
}

export function createTenantBigSegments(options: TenantBigSegmentsOptions): TenantBigSegments | undefined {
  const { stores, log, onBatch, staleThresholdMs, synchronises, memory, key: present, environment } = options;
  if (stores.length === 0) return undefined;
  const lookup = createBigSegmentLookup({
    stores,
    log,
    memory,
    environment,
    onChange: onBatch,
    statusStaleAfterMs: staleThresholdMs,
  });
  let synchronizers: BigSegmentSynchronizer[] = [];
  let started = false;
  const synchronise = (key: string | undefined) => {
    if (!started || !synchronises || key === undefined || synchronizers.length > 0) return;
    synchronizers = stores.map((store) =>
      createBigSegmentSynchronizer({
        ...options,
        sdkKey: key,
        store,
        onBatch: () => {
          void lookup.refresh().then(onBatch);
        },
      }),
    );
    for (const synchronizer of synchronizers) synchronizer.start();
  };
  return {
    load: lookup.load,
    status: lookup.status,
    start() {
      started = true;
      lookup.start();
      synchronise(present());
    },
    follow() {
      const key = present();
      if (key !== undefined) for (const synchronizer of synchronizers) synchronizer.setKey(key);
      synchronise(key);
    },
    async close() {
      lookup.close();
      await Promise.all([...synchronizers, ...stores].map((part) => part.close()));
    },
  };
}
