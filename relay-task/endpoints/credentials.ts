/** Who asks, and for which environment. */
import type { IncomingHttpHeaders } from 'node:http';
import type { CredentialKind } from '../ports.ts';
import { messageReply, notYetReply, type Reply } from './reply.ts';
import type { ServedEnvironment, Services } from './services.ts';

/**
 * What a route asks for. `client`: a mobile key or a client-side ID, in the header or in the query parameter `auth`. `any`:
 * one of the three kinds, in the header or in OFREP's, `X-API-Key`.
 */
export type Asked = CredentialKind | 'client' | 'any';

export interface Selected {
  readonly environment: ServedEnvironment;
  readonly credential: string;
  readonly credentialKind: CredentialKind;
}

export interface Asking {
  readonly headers: IncomingHttpHeaders;
  readonly params: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
}

/**
 * The credential is the `Authorization` header, bare or behind `api_key` or `Bearer`; browsers, which cannot set headers on
 * streams, carry theirs in the path or the query.
 */
export function credentialOf(asked: Asked, { headers, params, query }: Asking): string | undefined {
  if (asked === 'environmentId') return params.envId;
  const named = asked === 'any' ? headers['x-api-key'] : undefined;
  const header = String(named ?? headers.authorization ?? '')
    .replace(/^(?:api_key|bearer) +/i, '')
    .trim();
  const text = header === '' && asked === 'client' ? (query.get('auth') ?? '') : header;
  return text === '' || /\s/.test(text) ? undefined : text;
}

/** RFC 9110 wants one with every 401. */
export const challenge = { 'WWW-Authenticate': 'api_key' };

const kindsOf: Readonly<Record<Asked, readonly CredentialKind[]>> = {
  sdkKey: ['sdkKey'],
  mobileKey: ['mobileKey'],
  environmentId: ['environmentId'],
  client: ['mobileKey', 'environmentId'],
  any: ['sdkKey', 'mobileKey', 'environmentId'],
};

/**
 * The environment, or the answer that there is none. What may be different in a moment is 503, never 4xx, since SDKs
 * stop for good on most 4xx.
 */
export function selectEnvironment(find: Services['find'], asked: Asked, asking: Asking): Selected | Reply {
  const credential = credentialOf(asked, asking);
  if (credential === undefined) return messageReply(401, missing[asked], challenge);
  const filter = asking.query.get('filter') ?? '';
  let withoutFilter = false;
  for (const credentialKind of kindsOf[asked]) {
    const found = find(credentialKind, credential, filter);
    if (found === 'not-yet') return notYetReply('the relay does not have its list of environments yet');
    if (found === 'unknown-filter') withoutFilter = true;
    else if (found !== 'unknown-credential') return { environment: found.environment, credential, credentialKind };
  }
  if (withoutFilter) {
    return messageReply(
      404,
      'the credential is known, but not this payload filter: check the query parameter "filter"',
    );
  }
  return asked === 'environmentId'
    ? messageReply(404, unknown.environmentId)
    : messageReply(401, unknown[asked], challenge);
}

const inHeader = 'the Authorization header must hold an SDK key or a mobile key and nothing else';
const missing: Readonly<Record<Asked, string>> = {
  sdkKey: inHeader,
  mobileKey: inHeader,
  environmentId: 'the path must hold a client-side ID',
  client: 'the Authorization header or the query parameter "auth" must hold a mobile key or a client-side ID',
  any: 'the header Authorization or X-API-Key must hold an SDK key, a mobile key or a client-side ID and nothing else',
};
const unknown: Readonly<Record<Asked, string>> = {
  sdkKey: 'the SDK key belongs to no environment of this relay',
  mobileKey: 'the mobile key belongs to no environment of this relay',
  environmentId: 'the client-side ID in the path belongs to no environment of this relay',
  client: 'the mobile key or client-side ID belongs to no environment of this relay',
  any: 'the SDK key, mobile key or client-side ID belongs to no environment of this relay',
};
