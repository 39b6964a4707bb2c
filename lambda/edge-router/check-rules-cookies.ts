/** What redirects do to the cookies of viewers whom they lead on, as browsers keep them (RFC 6265, sections 5.2 to 5.4). */
import { isMatched, type Steps } from './check-patterns.ts';
import type { Headers, Presence } from './rules.ts';

interface Kept {
  /** `false`: it is absent. Undefined: unknown. */
  readonly value: string | false | undefined;
  /** For which it was set, with those below it; without one, for the host that set it alone. */
  readonly domain?: string | undefined;
}

/** By name, cookies that answers may have changed. The others are the viewer's own. */
export type Cookies = ReadonlyMap<string, Kept>;

interface Page {
  readonly host: string | undefined;
  readonly uri: string;
}

/** The cookie that an answer to this page sets. Undefined if browsers would ignore it. */
export function cookieSet(
  headers: Headers | undefined,
  { host, uri }: Page,
): readonly [name: string, Kept] | undefined {
  const [pair = '', ...others] = headers?.['set-cookie']?.split(';') ?? [];
  const at = pair.indexOf('=');
  const name = pair.slice(0, Math.max(0, at)).trim();
  if (name === '') return undefined;
  // Of several attributes of a name, the last one counts.
  const attributes = new Map(
    others.map((one) => {
      const [key = '', ...value] = one.split('=');
      return [key.trim().toLowerCase(), value.join('=').trim()];
    }),
  );
  const domain = attributes.get('domain')?.replace(/^\./, '').toLowerCase() || undefined;
  if (domain !== undefined && host !== undefined && !isBelow(host, domain)) return undefined;
  const given = attributes.get('path');
  const path = given?.startsWith('/') ? given : uri.slice(0, uri.lastIndexOf('/')) || '/';
  // For a part of the site, beside another cookie of this name that may be there.
  return [name, { value: path === '/' ? valueKept(pair.slice(at + 1).trim(), attributes) : undefined, domain }];
}

function isBelow(host: string, domain: string): boolean {
  return host === domain || host.endsWith(`.${domain}`);
}

function valueKept(value: string, attributes: ReadonlyMap<string, string>): Kept['value'] {
  const age = attributes.get('max-age') ?? '';
  if (/^-?\d+$/.test(age)) return Number(age) > 0 ? value : false;
  const expires = attributes.get('expires');
  if (expires === undefined) return value;
  const time = Date.parse(expires);
  if (Number.isNaN(time)) return undefined;
  return time > Date.now() ? value : false;
}

/** What is known of them on another host. */
export function onHost(cookies: Cookies, host: string | undefined): Cookies {
  const isThere = ({ domain }: Kept) => domain !== undefined && (host === undefined || isBelow(host, domain));
  return new Map(
    [...cookies].map(([name, kept]) => [name, isThere(kept) ? kept : { ...kept, value: undefined }] as const),
  );
}

/** Whether a cookie that answers may have changed fulfils a rule's condition; undefined if that is unknown. */
export function isAsWanted({ value }: Kept, wanted: Presence, steps: Steps): boolean | undefined {
  if (value === undefined) return undefined;
  if (typeof wanted === 'boolean') return wanted === (value !== false);
  return value !== false && isMatched([wanted].flat(), value, steps);
}

export function areSame(one: Cookies, two: Cookies): boolean {
  return (
    one.size === two.size && [...one].every(([name, { value }]) => two.has(name) && two.get(name)?.value === value)
  );
}
