import { createHash, randomUUID } from 'node:crypto';
import type { CloudFrontHeaders, CloudFrontRequest } from 'aws-lambda';
import type { Consent, ViewerSettings } from './config.ts';
import { cookieValue, headerValue, isSiteId, storedId } from './headers.ts';

/** The viewer of a request, as the flag sees it. */
export interface Viewer {
  /** The context's key, to which percentages are applied. Absent: the flag is not evaluated, and the default variant is served. */
  readonly key?: string;
  /** Whether the key is ours, so that it says nothing about a person. */
  readonly anonymous: boolean;
  /** The id that viewer-response stores in the cookie. */
  readonly store?: string;
}

interface Identifying extends ViewerSettings {
  readonly cookieName: string;
}

/** Returns a function that says who a request comes from. */
export function createIdentify(settings: Identifying): (request: CloudFrontRequest) => Viewer {
  const { cookieName, ids = ['cookie'], without = 'new-id', consent, epoch } = settings;
  const hasCookie = ids.includes('cookie') && without !== 'per-request';

  return ({ headers, clientIp }) => {
    // Without consent, the cookie is neither set nor read.
    const mayStore = hasCookie && (consent === undefined || isGiven(consent, headers));
    for (const from of ids) {
      if (from === 'cookie') {
        const key = mayStore ? storedId(headers, cookieName, epoch) : undefined;
        if (key !== undefined) return { key, anonymous: true };
      } else {
        const key = 'cookie' in from ? cookieValue(headers, from.cookie) : headerValue(headers, from.header);
        if (isSiteId(key)) return { key, anonymous: false };
      }
    }
    if (without === 'per-request') return { key: randomUUID(), anonymous: true };
    const address = without === 'address' ? addressId(clientIp, epoch) : undefined;
    const store = mayStore ? (address ?? randomUUID()) : undefined;
    // If the id cannot be stored, each request would get a new one.
    const key = address ?? (without === 'new-id' ? store : undefined);
    return { anonymous: true, ...(key !== undefined && { key }), ...(store !== undefined && { store }) };
  };
}

function isGiven(consent: Consent, headers: CloudFrontHeaders): boolean {
  const value = 'cookie' in consent ? cookieValue(headers, consent.cookie) : headerValue(headers, consent.header);
  if (!value || consent.includes === undefined) return Boolean(value);
  return value.includes(consent.includes) || decoded(value).includes(consent.includes);
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/**
 * A UUID (version 8, RFC 9562) from the SHA-256 of the epoch, a space and the address; undefined without an address. Of an IPv6
 * address the first 64 bits count, since devices change the others.
 */
export function addressId(address: string | undefined, epoch = ''): string | undefined {
  if (!address) return undefined;
  const hex = createHash('sha256')
    .update(`${epoch} ${networkOf(address)}`)
    .digest('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

function networkOf(address: string): string {
  if (!address.includes(':')) return address;
  const mapped = /^::ffff:([\d.]+)$/i.exec(address)?.[1];
  if (mapped) return mapped;
  const [head = '', tail] = address.toLowerCase().split('::');
  const before = head === '' ? [] : head.split(':');
  const after = tail ? tail.split(':') : [];
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - before.length - after.length);
  const groups = [...before, ...Array<string>(zeros).fill('0'), ...after];
  return groups
    .slice(0, 4)
    .map((group) => group.replace(/^0+(?=.)/, ''))
    .join(':');
}
