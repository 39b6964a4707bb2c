/** Which credential a request carries, and which environment it belongs to. */
import type { IncomingHttpHeaders } from 'node:http';
import type { CredentialKind } from '../ports.ts';
import { messageReply, notYetReply, type Reply } from './reply.ts';
import type { Query } from './router.ts';
import type { ServedEnvironment, Services } from './services.ts';

/**
 * The credential that a route requires. `client`: a mobile key or client-side ID, in `Authorization` or the query parameter
 * `auth`. `any`: any kind, in `Authorization` or OFREP's header `X-API-Key`.
 */
export type Asked = CredentialKind | 'client' | 'any';

export interface Selected {
  readonly environment: ServedEnvironment;
  readonly credential: string;
  readonly credentialKind: CredentialKind;
}

interface Asking {
  readonly headers: IncomingHttpHeaders;
  readonly params: Readonly<Record<string, string>>;
  readonly query: Query;
}

/**
 * The credential is in the `Authorization` header, bare or after `api_key` or `Bearer`; browsers, which cannot set headers on
 * streams, send it in the path or the query.
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

/** RFC 9110 requires a challenge with every 401. */
export const challenge = { 'WWW-Authenticate': 'api_key' };

const kindsOf: Readonly<Record<Asked, readonly CredentialKind[]>> = {
  sdkKey: ['sdkKey'],
  mobileKey: ['mobileKey'],
  environmentId: ['environmentId'],
  client: ['mobileKey', 'environmentId'],
  any: ['sdkKey', 'mobileKey', 'environmentId'],
};

type AuthRefusal = 'invalid_credential' | 'not_ready' | 'filter_not_found' | 'not_found';

/** The answer to a request without a valid credential, and why, in ld-relay's words. */
type Refused = Reply & { readonly refused: AuthRefusal };

/** The environment, or an error. A transient condition is a 503, since SDKs give up for good after most 4xx. */
export function selectEnvironment(find: Services['find'], asked: Asked, asking: Asking): Selected | Refused {
  const credential = credentialOf(asked, asking);
  if (credential === undefined) return refuse('invalid_credential', messageReply(401, missing[asked], challenge));
  const filter = asking.query.get('filter') ?? '';
  let withoutFilter = false;
  for (const credentialKind of kindsOf[asked]) {
    const found = find(credentialKind, credential, filter);
    if (found === 'not-yet') return refuse('not_ready', notYetReply(LIST_MISSING));
    if (found === 'unknown-filter') withoutFilter = true;
    else if (found !== 'unknown-credential') return { environment: found.environment, credential, credentialKind };
  }
  if (withoutFilter) {
    return refuse('filter_not_found', messageReply(404, NO_FILTER));
  }
  return asked === 'environmentId'
    ? refuse('not_found', messageReply(404, unknown.environmentId))
    : refuse('invalid_credential', messageReply(401, unknown[asked], challenge));
}

const refuse = (refused: AuthRefusal, reply: Reply): Refused => ({ ...reply, refused });

export const LIST_MISSING = 'the relay has not loaded its list of environments yet';
const NO_FILTER =
  'the credential is valid, but its environment has no such payload filter: check the query parameter "filter"';
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
