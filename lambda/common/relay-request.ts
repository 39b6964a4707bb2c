import { type ClientRequest, type IncomingMessage, request as requestPlain } from 'node:http';
import { request as requestSecure } from 'node:https';
import type { PeerCertificate } from 'node:tls';

/** How a function in the relay's VPC reaches the relay. */
export interface RelayAddress {
  /** The relay's origin. */
  readonly url: string;
  /**
   * The name in the relay's certificate. Without it only the issuing authority is checked, not the name: the load balancer
   * in the VPC has an AWS host name, which our certificates cannot contain.
   */
  readonly serverName?: string | undefined;
}

export interface RelayRequest extends RelayAddress {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly sdkKey: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
}

/** A request to the relay with an SDK key, to be ended by the caller. */
export function requestRelay(
  { url, serverName, method, path, sdkKey, headers, signal }: RelayRequest,
  answered: (incoming: IncomingMessage) => void,
): ClientRequest {
  const address = new URL(path, url);
  const request = address.protocol === 'https:' ? requestSecure : requestPlain;
  const named: { servername?: string; checkServerIdentity?: (host: string, cert: PeerCertificate) => undefined } =
    serverName === undefined ? { checkServerIdentity: () => undefined } : { servername: serverName };
  const all = { ...headers, authorization: sdkKey, ...(serverName !== undefined && { host: serverName }) };
  return request(address, { method, headers: all, signal, ...named }, answered);
}
