/** What a failure of a connection to LaunchDarkly means, as one sentence for each kind of cause. */
import { isAboutRoom } from './received-limit.ts';
import type { Failure } from './status.ts';

type Cause =
  | 'key'
  | 'address'
  | 'proxy'
  | 'dns'
  | 'certificate'
  | 'tls'
  | 'unreachable'
  | 'timeout'
  | 'closed'
  | 'limited'
  | 'server'
  | 'data'
  | 'memory'
  | 'other';

const CODES: Readonly<Record<string, Cause>> = {
  ENOTFOUND: 'dns',
  EAI_AGAIN: 'dns',
  ECONNREFUSED: 'unreachable',
  EHOSTUNREACH: 'unreachable',
  ENETUNREACH: 'unreachable',
  EADDRNOTAVAIL: 'unreachable',
  ETIMEDOUT: 'timeout',
  TIMEOUT: 'timeout',
  ECONNRESET: 'closed',
  EPIPE: 'closed',
  PROXY: 'proxy',
  NO_ROOM: 'memory',
};

/** How OpenSSL names what is wrong with a certificate: https://nodejs.org/api/tls.html#x509-certificate-error-codes. */
const CERTIFICATE =
  /^(CERT_|CRL_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|INVALID_CA|INVALID_PURPOSE|PATH_LENGTH_|HOSTNAME_MISMATCH|ERR_TLS_CERT_)/;

export function causeOf({ kind, message, statusCode, code = '', refused }: Failure): Cause {
  if (code === 'PROXY') return 'proxy';
  if (statusCode === 401 || statusCode === 403) return 'key';
  if (statusCode === 429) return 'limited';
  if (statusCode !== undefined && (statusCode < 400 || refused)) return 'address';
  if (statusCode !== undefined) return 'server';
  const known = CODES[code];
  if (known) return known;
  if (CERTIFICATE.test(code)) return 'certificate';
  if (/^(EPROTO$|ERR_SSL_|ERR_TLS_)/.test(code)) return 'tls';
  if (kind === 'INVALID_DATA') return isAboutRoom(message) ? 'memory' : 'data';
  return 'other';
}

/** Begins a sentence. `key`: what LaunchDarkly rejects. */
export function failureText(cause: Cause, { statusCode }: Failure, key: string): string {
  switch (cause) {
    case 'key':
      return `LaunchDarkly rejected ${key} (${statusCode})`;
    case 'address':
      return `LaunchDarkly answered ${statusCode}, as if this were not its address`;
    case 'proxy':
      return 'The proxy does not let the relay through to LaunchDarkly';
    case 'dns':
      return 'The name of LaunchDarkly cannot be resolved (DNS)';
    case 'certificate':
      return "The TLS certificate of LaunchDarkly's address is not trusted";
    case 'tls':
      return 'No TLS connection to LaunchDarkly can be made';
    case 'unreachable':
      return 'LaunchDarkly cannot be reached';
    case 'timeout':
      return 'LaunchDarkly does not answer in time';
    case 'closed':
      return 'The connection to LaunchDarkly was closed';
    case 'limited':
      return 'LaunchDarkly limits requests (429)';
    case 'server':
      return `LaunchDarkly answered ${statusCode}`;
    case 'data':
      return 'LaunchDarkly sent something that cannot be used';
    case 'memory':
      return 'There is no memory for what LaunchDarkly sends';
    default:
      return 'The connection to LaunchDarkly failed';
  }
}
