/**
 * Environments that look like LaunchDarkly's: flags of about 1.3 KB of JSON in the field order of its streams, with the random salts
 * and ids that make real data hard to compress. Seeded: the same call gives the same bytes.
 */
import type { Item, Kind } from '../../../lib/flag-table/index.ts';

export type Random = () => number;

/** mulberry32: small, seeded, good enough to make data. */
export function createRandom(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

const words =
  'new checkout banner search ranking price experiment dark mode beta header footer payment retry cache limit mobile promo holiday login sso audit export import batch queue worker region rollout kill switch holdout onboarding tooltip pricing plan trial invoice coupon shipping address profile avatar feed comment share notify email push digest'.split(
    ' ',
  );
const attributes = [
  'key',
  'email',
  'country',
  'plan',
  'groups',
  'appVersion',
  'os',
  'signedUpAt',
  'accountId',
  'locale',
];
const operators = [
  'in',
  'endsWith',
  'startsWith',
  'matches',
  'contains',
  'lessThan',
  'greaterThan',
  'semVerGreaterThan',
  'before',
];

const pick = <T>(random: Random, from: readonly T[]): T => from[Math.floor(random() * from.length)]!;
const hex = (random: Random, digits: number) =>
  Array.from({ length: digits }, () => Math.floor(random() * 16).toString(16)).join('');
const uuid = (random: Random) =>
  `${hex(random, 8)}-${hex(random, 4)}-4${hex(random, 3)}-a${hex(random, 3)}-${hex(random, 12)}`;
const times = <T>(count: number, make: (index: number) => T): T[] => Array.from({ length: count }, (_, i) => make(i));
const slug = (random: Random, index: number) =>
  `${times(2 + Math.floor(random() * 2), () => pick(random, words)).join('-')}-${index}`;

function clause(random: Random) {
  const op = pick(random, operators);
  return {
    contextKind: random() < 0.8 ? 'user' : 'organization',
    attribute: pick(random, attributes),
    op,
    values: times(1 + Math.floor(random() * 4), () =>
      op === 'in' ? `${pick(random, words)}-${hex(random, 6)}` : `${pick(random, words)}${Math.floor(random() * 100)}`,
    ),
    negate: random() < 0.1,
  };
}

function rollout(random: Random, variations: number) {
  const first = Math.floor(random() * 100_000);
  return {
    rollout: {
      contextKind: 'user',
      variations: times(variations, (variation) => ({
        variation,
        weight: variation === 0 ? first : variation === 1 ? 100_000 - first : 0,
      })),
      bucketBy: 'key',
    },
  };
}

/** One flag; its version and salt come from `random`. */
function generateFlag(random: Random, key: string, flagKeys: readonly string[] = []): Item {
  const boolean = random() < 0.7;
  const variations = boolean ? [true, false] : times(3, () => `${pick(random, words)}-${hex(random, 4)}`);
  const version = 1 + Math.floor(random() * 400);
  const data = {
    key,
    on: random() < 0.8,
    prerequisites:
      flagKeys.length > 0 && random() < 0.2 ? [{ key: pick(random, flagKeys), variation: 0 }] : ([] as unknown[]),
    targets: random() < 0.3 ? [{ values: times(3, () => `user-${hex(random, 8)}`), variation: 1 }] : [],
    contextTargets: [],
    rules: times(1 + Math.floor(random() * 4), () => ({
      ...(random() < 0.3
        ? rollout(random, variations.length)
        : { variation: Math.floor(random() * variations.length) }),
      id: uuid(random),
      clauses: times(1 + Math.floor(random() * 2), () => clause(random)),
      trackEvents: false,
    })),
    fallthrough: random() < 0.3 ? rollout(random, variations.length) : { variation: 0 },
    offVariation: 1,
    variations,
    clientSideAvailability: { usingMobileKey: random() < 0.3, usingEnvironmentId: random() < 0.3 },
    clientSide: false,
    salt: hex(random, 32),
    trackEvents: false,
    trackEventsFallthrough: false,
    debugEventsUntilDate: null,
    version,
    deleted: false,
  };
  return item('features', key, version, data);
}

function generateSegment(random: Random, key: string): Item {
  const version = 1 + Math.floor(random() * 40);
  const data = {
    key,
    included: times(Math.floor(random() * 40), () => `user-${hex(random, 8)}`),
    excluded: [],
    includedContexts: [],
    excludedContexts: [],
    salt: hex(random, 32),
    rules: times(Math.floor(random() * 3), () => ({ id: uuid(random), clauses: [clause(random)] })),
    version,
    generation: 1,
    deleted: false,
  };
  return item('segments', key, version, data);
}

function item(kind: Kind, key: string, version: number, data: unknown): Item {
  return { kind, key, version, deleted: false, json: JSON.stringify(data) };
}

/** `flags` flags and a tenth as many segments (at least 2), as in a `put` from LaunchDarkly. */
export function generateEnvironment(flags: number, seed = 1): Item[] {
  const random = createRandom(seed);
  const keys = times(flags, (index) => slug(random, index));
  return [
    ...times(Math.max(2, Math.floor(flags / 10)), (index) => generateSegment(random, `segment-${slug(random, index)}`)),
    ...keys.map((key) => generateFlag(random, key, keys)),
  ];
}
