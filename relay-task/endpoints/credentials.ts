/** Who asks, and for which environment. */
import type { IncomingHttpHeaders } from 'node:http';
import type { CredentialKind } from '../ports.ts';
import { messageReply, notYetReply, type Reply } from './reply.ts';
import type { ServedEnvironment, Services } from './services.ts';

export interface Selected {
  readonly environment: ServedEnvironment;
  readonly credential: string;
}

export interface Asking {
  readonly headers: IncomingHttpHeaders;
  readonly params: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
}

/** The credential is the `Authorization` header, bare or behind `api_key` or `Bearer`; browsers carry theirs in the path. */
export function credentialOf(kind: CredentialKind, { headers, params }: Asking): string | undefined {
  if (kind === 'environmentId') return params.envId;
  const text = (headers.authorization ?? '').replace(/^(?:api_key|bearer) +/i, '').trim();
  return text === '' || /\s/.test(text) ? undefined : text;
}

/** RFC 9110 wants one with every 401. */
const challenge = { 'WWW-Authenticate': 'api_key' };

/**
 * The environment, or the answer that there is none. What may be different in a moment is 503, never 4xx, since SDKs
 * stop for good on most 4xx.
 */
export function selectEnvironment(find: Services['find'], kind: CredentialKind, asking: Asking): Selected | Reply {
  const credential = credentialOf(kind, asking);
  if (credential === undefined) {
    return messageReply(
      401,
      'the Authorization header must hold an SDK key or a mobile key and nothing else',
      challenge,
    );
  }
  const found = find(kind, credential, asking.query.get('filter') ?? '');
  if (found === 'not-yet') return notYetReply('the relay does not have its list of environments yet');
  if (found === 'unknown-filter') {
    return messageReply(
      404,
      'the credential is known, but not this payload filter: check the query parameter "filter"',
    );
  }
  if (found === 'unknown-credential') {
    return kind === 'environmentId'
      ? messageReply(404, 'the client-side ID in the path belongs to no environment of this relay')
      : messageReply(
          401,
          `the ${kind === 'sdkKey' ? 'SDK key' : 'mobile key'} belongs to no environment of this relay`,
        );
  }
  return { environment: found.environment, credential };
}
