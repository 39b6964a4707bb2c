import type { CookieConfig } from './config.ts';
import { DEFAULT_COOKIE_NAME, toCookieValue } from './headers.ts';

/** Returns what sets the router's cookie: the value of Set-Cookie for an id. */
export function createSetCookie(config: CookieConfig): (id: string) => string {
  const { cookieName = DEFAULT_COOKIE_NAME, cookieMaxAgeSeconds = 34_560_000, cookiePath = '/', epoch } = config;
  const { cookieDomain, cookieSecure = true, cookieHttpOnly = true, cookieSameSite = 'Lax' } = config;
  const attributes = [
    `Path=${cookiePath}`,
    `Max-Age=${cookieMaxAgeSeconds}`,
    ...(cookieDomain ? [`Domain=${cookieDomain}`] : []),
    ...(cookieSecure ? ['Secure'] : []),
    ...(cookieHttpOnly ? ['HttpOnly'] : []),
    `SameSite=${cookieSameSite}`,
  ].join('; ');
  return (id) => `${cookieName}=${toCookieValue(id, epoch)}; ${attributes}`;
}
