/** How LaunchDarkly's keys are hidden in logs, messages and `/status`. */

/** How LaunchDarkly's secret keys begin, and what they are. The only list of them; client-side IDs are not secret. */
const KEY_KINDS = {
  sdk: 'an SDK key',
  mob: 'a mobile key',
  rel: 'an auto-configuration key',
  api: 'an API access token',
} as const;

export type KeyKind = (typeof KEY_KINDS)[keyof typeof KEY_KINDS];

const PREFIX = Object.keys(KEY_KINDS).join('|');

/** Names of SSM parameters, such as `sdk-key` and `previous-sdk-key-until`, are not keys: messages name them. */
const NAMES = 'key(?:-until)?(?![0-9a-z_-])';

const KEYS = new RegExp(`\\b(${PREFIX})-(?!${NAMES})[0-9a-z]{2}[0-9a-z_-]*`, 'gi');

const BEGINS_AS_KEY = new RegExp(`^(${PREFIX})-`, 'i');

/** What a text that begins as one of LaunchDarkly's secret keys is; undefined for any other, such as a client-side ID. */
export function keyKindOf(text: string): KeyKind | undefined {
  const [, prefix] = BEGINS_AS_KEY.exec(text) ?? [];
  return prefix === undefined ? undefined : KEY_KINDS[prefix.toLowerCase() as keyof typeof KEY_KINDS];
}

/** Whether a text begins as LaunchDarkly's secret keys do. */
export function looksLikeKey(text: string): boolean {
  return keyKindOf(text) !== undefined;
}

const HOLDS_KEY = new RegExp(`\\b(${PREFIX})-[0-9a-f]{8}(?![0-9a-z])`, 'i');

/** Whether a text holds what is surely a secret key: a prefix and the beginning of a UUID. */
export function holdsKey(text: string): boolean {
  return HOLDS_KEY.test(text);
}

/** Leaves `sdk-…` of everything that looks like a key: it shows that there was one, and nothing of it. */
export function redactKeys(text: string): string {
  return text.replace(KEYS, '$1-…');
}

/** Hides keys, and the user and password of addresses. */
export function redactSecrets(text: string): string {
  return redactKeys(text).replace(/(\/\/)[^/\s]*@/g, '$1…@');
}

/** How many of the last characters tell keys apart, and how long a key has to be to spare them. */
const SHOWN = 5;
const LONG_ENOUGH = 20;

/**
 * A key as `/status` shows it. A real one looks as ld-relay shows it (`sdk-********-****-****-****-*******56666`);
 * short keys and letters outside of hex, which ld-relay shows, are hidden as well.
 */
export function obscureKey(key: string): string {
  const [prefix = ''] = /^(?:[a-z]{3}-)+/.exec(key) ?? [];
  const secret = key.slice(prefix.length);
  const shown = secret.length >= LONG_ENOUGH ? SHOWN : 0;
  return prefix + secret.slice(0, secret.length - shown).replace(/[^-]/g, '*') + secret.slice(secret.length - shown);
}
