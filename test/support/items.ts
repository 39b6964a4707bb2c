import type { Item, Kind } from '../../lib/flag-table/index.ts';

/** A complete flag as LaunchDarkly sends it. */
export function flagData(key: string, version: number, more: Record<string, unknown> = {}) {
  return {
    key,
    on: true,
    prerequisites: [],
    targets: [],
    contextTargets: [],
    rules: [],
    fallthrough: { variation: 0 },
    offVariation: 1,
    variations: [true, false],
    clientSide: false,
    salt: 'salt',
    trackEvents: false,
    trackEventsFallthrough: false,
    debugEventsUntilDate: null,
    version,
    deleted: false,
    ...more,
  };
}

/** The same as an item, which clients may see: it is on and returns variation 0. */
export function flag(key: string, version: number, extra: Record<string, unknown> = {}): Item {
  const visible = { clientSide: true, clientSideAvailability: { usingMobileKey: true, usingEnvironmentId: true } };
  return {
    kind: 'features',
    key,
    version,
    deleted: false,
    json: JSON.stringify(flagData(key, version, { ...visible, ...extra })),
  };
}

/** A complete segment as LaunchDarkly sends it. */
export function segmentData(key: string, version: number, more: Record<string, unknown> = {}) {
  return {
    key,
    included: [],
    excluded: [],
    includedContexts: [],
    excludedContexts: [],
    salt: 's',
    rules: [],
    version,
    generation: null,
    deleted: false,
    ...more,
  };
}

export function segment(key: string, version: number, extra: Record<string, unknown> = {}): Item {
  return { kind: 'segments', key, version, deleted: false, json: JSON.stringify(segmentData(key, version, extra)) };
}

/** What ld-relay adds to a flag that has only a key and a version. */
export const flagDefaults = {
  on: false,
  prerequisites: [],
  targets: [],
  contextTargets: [],
  rules: [],
  fallthrough: {},
  offVariation: null,
  variations: [],
  clientSide: false,
  salt: '',
  trackEvents: false,
  trackEventsFallthrough: false,
  debugEventsUntilDate: null,
};

/** With the fields that ld-relay gives a tombstone. */
export function tombstone(kind: Kind, key: string, version: number): Item {
  const data =
    kind === 'features'
      ? { key, ...flagDefaults, version, deleted: true }
      : { ...segmentData(key, version), salt: '', deleted: true };
  return { kind, key, version, deleted: true, json: JSON.stringify(data) };
}

/** What this relay wrote of a tombstone in earlier versions, as LaunchDarkly's Node SDK does. */
export function shortTombstone(kind: Kind, key: string, version: number): Item {
  return { kind, key, version, deleted: true, json: JSON.stringify({ key, version, deleted: true }) };
}
