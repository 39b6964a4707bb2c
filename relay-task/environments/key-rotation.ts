import type { Credential } from '../ports.ts';

export interface StatedKey {
  readonly value: string;
  /** Unix ms after which it is no longer valid. */
  readonly expiresAt?: number | undefined;
}

/** What a source states about the keys of one environment. */
export interface KeyStatement {
  /** The key to connect to LaunchDarkly with. Undefined: as before. */
  readonly sdkKey: string | undefined;
  /** A key in its grace time. Ignored when `sdkKeys` is not empty. */
  readonly expiring?: StatedKey | undefined;
  /** Every SDK key, `sdkKey` included. Empty: the source does not list them. */
  readonly sdkKeys: readonly StatedKey[];
  /** Undefined: as before; null: none any more. */
  readonly mobileKey: string | null | undefined;
  /** Every mobile key, `mobileKey` included. Empty: the source does not list them. */
  readonly mobileKeys: readonly StatedKey[];
}

/** The valid keys of one environment, those in their grace time included. */
export interface HeldKeys {
  /** The key to connect to LaunchDarkly with; it never expires. */
  readonly sdkKey: string | undefined;
  readonly mobileKey: string | undefined;
  /** SDK keys, `sdkKey` first, then mobile keys, `mobileKey` first. */
  readonly credentials: readonly Credential[];
}

export const NO_KEYS: HeldKeys = { sdkKey: undefined, mobileKey: undefined, credentials: [] };

/**
 * The keys that are valid after a statement; `now` in Unix ms. A list is complete. Without a list, the new key replaces
 * the old one, which ends at once unless the statement gives it an expiry; keys with an earlier expiry keep it. The last
 * statement about an expiry counts, an expiry in the past revokes the key, and the key in use never expires.
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
      // LaunchDarkly keeps a previous mobile key valid only by listing it.
      ...credentialsOf('mobileKey', mobileKey ?? undefined, mobileKey === null ? [] : statement.mobileKeys, now),
    ],
  };
}

/** The keys without the expired ones. */
export function withoutExpired({ credentials, ...held }: HeldKeys, now: number): HeldKeys {
  return { ...held, credentials: credentials.filter(({ expiresAt = now }) => expiresAt >= now) };
}

function inGrace({ credentials }: HeldKeys): StatedKey[] {
  return credentials.filter(({ kind, expiresAt }) => kind === 'sdkKey' && expiresAt !== undefined);
}

const listOf = <T>(value: T | undefined): T[] => (value === undefined ? [] : [value]);

/** The primary key first, without an expiry. If a key is listed twice, the last entry counts. */
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
