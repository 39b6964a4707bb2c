import type { Credential } from '../ports.ts';

export interface StatedKey {
  readonly value: string;
  /** Unix ms after which it no longer opens anything. */
  readonly expiresAt?: number | undefined;
}

/** What a source says about the keys of one environment. */
export interface KeyStatement {
  /** The key with which LaunchDarkly is asked. Undefined: as before. */
  readonly sdkKey: string | undefined;
  /** A key in its grace time. Does not count beside `sdkKeys`. */
  readonly expiring?: StatedKey | undefined;
  /** Every SDK key, `sdkKey` among them. Empty: the source does not list them. */
  readonly sdkKeys: readonly StatedKey[];
  /** Undefined: as before; null: there is none any more. */
  readonly mobileKey: string | null | undefined;
  /** Every mobile key, `mobileKey` among them. Empty: the source does not list them. */
  readonly mobileKeys: readonly StatedKey[];
}

/** The keys of one environment, in force or in their grace time. */
export interface HeldKeys {
  /** With which LaunchDarkly is asked; it never expires. */
  readonly sdkKey: string | undefined;
  readonly mobileKey: string | undefined;
  /** SDK keys, `sdkKey` first, then mobile keys, `mobileKey` first. */
  readonly credentials: readonly Credential[];
}

export const NO_KEYS: HeldKeys = { sdkKey: undefined, mobileKey: undefined, credentials: [] };

/**
 * What is in force once a source has made a statement; `now` in Unix ms. A list is complete. Without one, the new key
 * replaces the old, which ends at once unless the statement gives it time, and keys that were given time earlier keep it.
 * What the last statement says about a time counts; a time that has passed is a revocation; the key in use has no end,
 * whatever was said of it before.
 */
export function rotateKeys(held: HeldKeys, statement: KeyStatement, now: number): HeldKeys {
  const sdkKey = statement.sdkKey ?? held.sdkKey;
  const { mobileKey = held.mobileKey } = statement;
  const sdkKeys = statement.sdkKeys.length > 0 ? statement.sdkKeys : [...inGrace(held), ...listOf(statement.expiring)];
  return {
    sdkKey,
    mobileKey: mobileKey ?? undefined,
    credentials: [
      ...credentialsOf('sdkKey', sdkKey, sdkKeys, now),
      // LaunchDarkly gives a mobile key no grace but by listing it.
      ...credentialsOf('mobileKey', mobileKey ?? undefined, mobileKey === null ? [] : statement.mobileKeys, now),
    ],
  };
}

/** The keys without those whose time has passed. */
export function withoutExpired({ credentials, ...held }: HeldKeys, now: number): HeldKeys {
  return { ...held, credentials: credentials.filter(({ expiresAt = now }) => expiresAt >= now) };
}

function inGrace({ credentials }: HeldKeys): StatedKey[] {
  return credentials.filter(({ kind, expiresAt }) => kind === 'sdkKey' && expiresAt !== undefined);
}

const listOf = <T>(value: T | undefined): T[] => (value === undefined ? [] : [value]);

/** The primary first, without an end; of a key that is named twice the last counts. */
function credentialsOf(
  kind: 'sdkKey' | 'mobileKey',
  primary: string | undefined,
  keys: readonly StatedKey[],
  now: number,
): Credential[] {
  const byValue = new Map<string, StatedKey>();
  if (primary !== undefined) byValue.set(primary, { value: primary });
  for (const key of keys) if (key.value !== primary) byValue.set(key.value, key);
  return [...byValue.values()]
    .filter(({ expiresAt = now }) => expiresAt >= now)
    .map(({ value, expiresAt }) => ({ kind, value, ...(expiresAt !== undefined && { expiresAt }) }));
}
