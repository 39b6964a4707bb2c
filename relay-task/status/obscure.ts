/** How many of the last characters help to tell keys apart, and how long a key has to be to spare them. */
const SHOWN = 5;
const LONG_ENOUGH = 20;

/**
 * A key as `/status` shows it. A real one looks as ld-relay shows it (`sdk-********-****-****-****-*******56666`);
 * short ones and letters outside of hex, which ld-relay lets through, are hidden as well.
 */
export function obscureKey(key: string): string {
  const [prefix = ''] = /^(?:[a-z]{3}-)+/.exec(key) ?? [];
  const secret = key.slice(prefix.length);
  const shown = secret.length >= LONG_ENOUGH ? SHOWN : 0;
  return prefix + secret.slice(0, secret.length - shown).replace(/[^-]/g, '*') + secret.slice(secret.length - shown);
}
