import type { Item, Kind } from '../../lib/flag-table/index.ts';

/** A boolean flag with all fields that official SDKs need; it is on and returns variation 0. */
export function flag(key: string, version: number, extra: Record<string, unknown> = {}): Item {
  const json = JSON.stringify({
    key,
    on: true,
    prerequisites: [],
    targets: [],
    contextTargets: [],
    rules: [],
    fallthrough: { variation: 0 },
    offVariation: 1,
    variations: [true, false],
    clientSideAvailability: { usingMobileKey: true, usingEnvironmentId: true },
    clientSide: true,
    salt: 'salt',
    trackEvents: false,
    trackEventsFallthrough: false,
    debugEventsUntilDate: null,
    version,
    deleted: false,
    ...extra,
  });
  return { kind: 'features', key, version, deleted: false, json };
}

export function segment(key: string, version: number, extra: Record<string, unknown> = {}): Item {
  const json = JSON.stringify({
    key,
    included: [],
    excluded: [],
    rules: [],
    salt: 's',
    version,
    deleted: false,
    ...extra,
  });
  return { kind: 'segments', key, version, deleted: false, json };
}

export function tombstone(kind: Kind, key: string, version: number): Item {
  return { kind, key, version, deleted: true, json: JSON.stringify({ key, version, deleted: true }) };
}
