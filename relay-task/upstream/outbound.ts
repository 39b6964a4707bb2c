import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Agent } from 'node:http';
import https from 'node:https';
import tls from 'node:tls';
import { RelayError } from '../errors.ts';
import type { Outbound } from '../ports.ts';
import { parseNoProxy } from './no-proxy.ts';
import { createForwardAgent, createTunnelAgent } from './proxy-agents.ts';

export interface OutboundOptions {
  /** For all connections; overrides the variables in `env`. `proxy:3128` means http. */
  readonly proxyUrl?: string | undefined;
  /** For the proxy's Basic authentication; overrides the credentials in its URL. */
  readonly user?: string | undefined;
  readonly password?: string | undefined;
  /** PEM files, trusted in addition to Node's own authorities. */
  readonly caCertFiles: readonly string[];
  /** For `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY` (upper case first) and `NODE_EXTRA_CA_CERTS`. */
  readonly env: Readonly<Record<string, string | undefined>>;
}

/**
 * Creates the agents for connections to LaunchDarkly. Throws CONFIG_INVALID, naming every invalid address and file, but
 * never a user or a password.
 */
export function createOutbound({ proxyUrl, user, password, caCertFiles, env }: OutboundOptions): Outbound {
  const problems: string[] = [];
  const secureContext = readAuthorities(caCertFiles, env, problems);
  const fromEnv = (name: string) => env[name]?.trim() || env[name.toLowerCase()]?.trim() || undefined;
  const read = (name: string, text: string | undefined) => {
    if (text === undefined) return undefined;
    const proxy = parseProxy(text);
    if (proxy === undefined) problems.push(`${name} must be an http or https URL, such as http://proxy:3128`);
    return proxy;
  };
  const own = read('the proxy URL', proxyUrl?.trim() || undefined);
  const proxies = own
    ? { 'https:': own, 'http:': own }
    : { 'https:': read('HTTPS_PROXY', fromEnv('HTTPS_PROXY')), 'http:': read('HTTP_PROXY', fromEnv('HTTP_PROXY')) };
  if (problems.length > 0) throw new RelayError('CONFIG_INVALID', problems.join('; '));
  // As in ld-relay, NO_PROXY applies only to the proxies from variables, not to a configured one.
  const spared = own ? () => false : parseNoProxy(fromEnv('NO_PROXY') ?? '');

  const direct = secureContext && new https.Agent({ secureContext });
  const { 'https:': forHttps, 'http:': forHttp } = proxies;
  const tunnel = forHttps && createTunnelAgent({ proxy: withUser(forHttps, user, password), secureContext });
  const forward = forHttp && createForwardAgent({ proxy: withUser(forHttp, user, password), secureContext });

  return {
    agentFor(url): Agent | undefined {
      if (url.protocol === 'https:') return tunnel && !spared(url) ? tunnel : direct;
      return forward && !spared(url) ? forward : undefined;
    },
  };
}

function parseProxy(text: string): URL | undefined {
  const address = /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`;
  const url = URL.canParse(address) ? new URL(address) : undefined;
  if (!url || url.hostname === '' || !['http:', 'https:'].includes(url.protocol)) return undefined;
  try {
    // Decoded again when used, where an error could not be reported.
    decodeURIComponent(url.username + url.password);
    return url;
  } catch {
    return undefined;
  }
}

function withUser(proxy: URL, user: string | undefined, password: string | undefined): URL {
  if (!user) return proxy;
  const url = new URL(proxy);
  url.username = encodeURIComponent(user);
  url.password = encodeURIComponent(password ?? '');
  return url;
}

function readAuthorities(
  files: readonly string[],
  env: OutboundOptions['env'],
  problems: string[],
): tls.SecureContext | undefined {
  if (files.length === 0) return undefined;
  const certificates = files.flatMap((file) => readCertificates(file, problems));
  // Node ignores NODE_EXTRA_CA_CERTS once `ca` is set. Node itself warns if the file cannot be read.
  const extra = env.NODE_EXTRA_CA_CERTS ? readCertificates(env.NODE_EXTRA_CA_CERTS, []) : [];
  if (problems.length > 0) return undefined;
  return tls.createSecureContext({ ca: [...tls.rootCertificates, ...extra, ...certificates] });
}

function readCertificates(file: string, problems: string[]): string[] {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    problems.push(`cannot read the CA file ${file}: ${code === 'ENOENT' ? 'file not found' : message}`);
    return [];
  }
  const certificates = text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  if (certificates.length === 0 || !certificates.every(isCertificate)) {
    problems.push(`the CA file ${file} must contain PEM certificates`);
  }
  return certificates;
}

function isCertificate(pem: string): boolean {
  try {
    return new X509Certificate(pem) !== undefined;
  } catch {
    return false;
  }
}
