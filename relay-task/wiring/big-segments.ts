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
import type { BigSegmentsOpening, TenantBigSegments } from './storage.ts';
import { isSamePlace, type Place } from './stores.ts';

interface TenantBigSegmentsOptions
  extends BigSegmentsOpening,
    Pick<BigSegmentSynchronizerOptions, 'streamUri' | 'baseUri' | 'outbound' | 'userAgent' | 'receivedMemory'> {
  readonly place: Place;
  open(place: Place): readonly BigSegmentStore[];
  /** The key whose flags are in memory; undefined while there is none, or while these flags are not for this place. */
  key(): string | undefined;
  /** False: another relay keeps the stores in sync, or none does. */
  readonly synchronises: boolean;
  readonly staleThresholdMs: number;
  /** Where memberships are remembered. */
  readonly memory: MembershipMemory;
  readonly log: Log;
}

/** For an environment that moves several times while LaunchDarkly is unavailable. */
const MOST_FORMER_PLACES = 3;

/** Undefined: no store holds Big Segments. */
export function createTenantBigSegments(options: TenantBigSegmentsOptions): TenantBigSegments | undefined {
  const { place, former, log, onBatch, memory, key: present, environment, adopts } = options;
  const stores = options.open(place);
  if (stores.length === 0) {
    former?.known.cache.close();
    return undefined;
  }
  let formerPlaces = former?.places.filter((one) => !isSamePlace(one, place)) ?? [];
  const formerStores = formerPlaces.flatMap(options.open);
  const lookup = createBigSegmentLookup({
    stores,
    former: former && {
      ...former.known,
      stores: formerStores.map((store) => onlyOf(environment, store)),
      close() {
        // If this place was never filled, the next one needs the places before it, too.
        if (!closed) formerPlaces = [];
        for (const store of formerStores) void store.close();
      },
    },
    log,
    memory,
    environment,
    adopts,
    onChange: onBatch,
    statusStaleAfterMs: options.staleThresholdMs,
  });
  let synchronizers: BigSegmentSynchronizer[] = [];
  let started = false;
  let closed = false;
  const synchronise = (key: string | undefined) => {
    if (!started || !options.synchronises || key === undefined || synchronizers.length > 0) return;
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
    owner: lookup.owner,
    handOver: () => ({ places: [place, ...formerPlaces].slice(0, MOST_FORMER_PLACES), known: lookup.known() }),
    async close() {
      closed = true;
      lookup.close();
      await Promise.all([...synchronizers, ...stores].map((part) => part.close()));
    },
  };
}

/** Another environment may have the former place by now, so its members count only if they name this environment. */
function onlyOf(environment: () => string | undefined, store: BigSegmentStore): Pick<BigSegmentStore, 'read'> {
  return {
    async read(hashes) {
      const reading = await store.read(hashes);
      const { environment: owner } = reading.metadata;
      if (owner !== undefined && owner === environment()) return reading;
      throw new Error(`the former place is that of the environment ${owner ?? '(not named)'}`);
    },
  };
}
